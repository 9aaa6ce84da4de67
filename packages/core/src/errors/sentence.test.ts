import { expect, it } from 'vitest';
import { sentence, withoutStop } from './sentence.js';

it.each([
  ['disk I/O error', 'disk I/O error.'],
  ['The disk is full.', 'The disk is full.'],
  ['Start it again;', 'Start it again.'],
  ['Did you mean "id"?', 'Did you mean "id"?'],
  ['The line ended.\n', 'The line ended.'],
])('ends %j with one full stop', (text, expected) => {
  expect(sentence(text)).toBe(expected);
});

it('takes the full stop away', () => {
  expect(withoutStop('The disk is full. ')).toBe('The disk is full');
  expect(withoutStop('the disk is full')).toBe('the disk is full');
});
