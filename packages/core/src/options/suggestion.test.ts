import { expect, it } from 'vitest';
import { editDistance, suggest, suggestion } from './suggestion.js';

it.each([
  ['', '', 0],
  ['a', '', 1],
  ['kitten', 'sitting', 3],
  ['tabels', 'tables', 1],
  ['abc', 'abc', 0],
])('the distance of %j and %j is %i', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

it('suggests what is close, and nothing else', () => {
  expect(suggestion('Tabels', ['cluster', 'tables'])).toBe('tables');
  expect(suggestion('xyzzy', ['cluster', 'tables'])).toBeUndefined();
  expect(suggestion('id', ['a', 'b', 'mode'])).toBeUndefined();
  expect(suggestion('eu', ['e', 'b'])).toBe('e');
  expect(suggestion('x', ['y', 'z'])).toBeUndefined();
  expect(suggestion('tcsh', ['bash', 'zsh', 'fish'])).toBeUndefined();
  expect(suggestion('bogus', ['log', 'bus'])).toBeUndefined();
  expect(suggestion('interval', ['intervalMs'])).toBe('intervalMs');
  expect(suggestion('maximumConnections', ['minimumConnection', 'maximum'])).toBe('minimumConnection');
  expect(suggest('xyzzy', ['cluster', 'id'])).toBe('Possible: cluster, id.');
});
