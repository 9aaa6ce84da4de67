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
  expect(suggest('xyzzy', ['cluster', 'id'])).toBe('Possible: cluster, id.');
});
