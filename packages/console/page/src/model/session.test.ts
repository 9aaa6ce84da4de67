import { expect, it } from 'vitest';
import { advanced } from './session.js';

const at = (seq: number, vector?: Record<string, number>, generation = 'g') => ({
  ...{ generation, seq },
  ...(vector && { vector }),
});

it('a session never goes back, whichever replica answers', () => {
  expect(advanced(undefined, at(3))).toEqual(at(3));
  expect(advanced(at(7, { a: 2, b: 9 }), at(5, { a: 4 }))).toEqual(at(7, { a: 4, b: 9 }));
  expect(advanced(at(5, { a: 1 }), at(8))).toEqual(at(8, { a: 1 }));
});

it('another log begins it anew', () => {
  expect(advanced(at(7, { a: 2 }), at(1, { a: 1 }, 'h'))).toEqual(at(1, { a: 1 }, 'h'));
});
