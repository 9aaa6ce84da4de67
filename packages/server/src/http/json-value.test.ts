import { TaggedValue, type Value } from '@antiphon/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fromJsonValue, toJsonTree, toJsonValue } from './json-value.js';

const through = (value: Value): unknown => JSON.parse(JSON.stringify(toJsonValue(value)));
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

it('text, bytes, fractions and NULL come back as they were', () => {
  const bytes = fc.uint8Array().map((given) => new Uint8Array(given));
  const fractions = fc.double({ noNaN: true }).filter((given) => !Number.isInteger(given));
  fc.assert(
    fc.property(fc.oneof(fc.string(), bytes, fractions, fc.constant(null)), (value) => {
      expect(fromJsonValue(through(value), 'p')).toEqual(value);
    }),
  );
});

it('integers are numbers where these are exact, else their digits', () => {
  fc.assert(
    fc.property(int64, (value) => {
      const written = through(value);
      expect(BigInt(written as number | string)).toBe(value);
      expect(typeof written).toBe(Number.isSafeInteger(Number(value)) ? 'number' : 'string');
      const given = typeof written === 'number' ? written : { integer: written };
      expect(fromJsonValue(given, 'p')).toBe(value);
    }),
  );
});

it('text that is no UTF-8 keeps its bytes', () => {
  const value = new TaggedValue('raw-text', new Uint8Array([0x61, 0xff]));
  expect(fromJsonValue(through(value), 'p')).toEqual(value);
});

it('values are found wherever they are', () => {
  const tree = { rows: [{ id: 1n, large: 2n ** 60n, of: { b: new Uint8Array([1]) } }], at: undefined };
  expect(toJsonTree(tree)).toEqual({
    rows: [{ id: 1, large: '1152921504606846976', of: { b: { base64: 'AQ==' } } }],
    at: undefined,
  });
});

it.each([
  [{ base64: 'AQ=' }],
  [{ base64: 'AQ==', other: 1 }],
  [{ base64: 'AQ==', integer: '1' }],
  [{ base64: 'AQ==', tag: 'unknown' }],
  [{ tag: 'json' }],
  [{ integer: 1 }],
  [{ integer: '1e3' }],
  [{ integer: '99999999999999999999' }],
  [{ real: 'much' }],
  ['\ud800'],
  ['a\udfff\ud83d'],
  [{}],
  [[1]],
  [2 ** 53],
  [undefined],
])('%j is refused, with its place', (value) => {
  expect(() => fromJsonValue(value, 'params[3]')).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  expect(() => fromJsonValue(value, 'params[3]')).toThrow(/params\[3\]/);
});
