import { Real, TaggedValue, type Value } from '@antiphon/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseWithWholeFloats } from './exact-json.js';
import { fromJsonValue, ofDatabase, toJsonTree, toJsonValue } from './json-value.js';

/** As a client sees it that sends back what it got, in its own text. */
function through(value: Value): unknown {
  const answer = JSON.stringify({ params: [toJsonValue(value)] });
  const { params } = parseWithWholeFloats(answer) as { readonly params: readonly unknown[] };
  return fromJsonValue(params[0], 'p');
}

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const bytes = fc.uint8Array().map((given) => new Uint8Array(given));

it('text, bytes, integers, floats and NULL go in again as they came out', () => {
  const floats = fc.double({ noNaN: true });
  const texts = fc.string({ unit: 'grapheme' });
  fc.assert(
    fc.property(fc.oneof(texts, bytes, int64, floats, fc.constant(null)), (value) => {
      const back = through(value);
      expect(back instanceof Real ? back.real : back).toEqual(value);
    }),
  );
});

it('a float without a fraction stays one, in the text and as a parameter', () => {
  expect(JSON.stringify([5, -0, 1e300, 0.5].map(toJsonValue))).toBe('[5.0,-0.0,1e+300,0.5]');
  expect([5, -0, 1e300].map(through)).toEqual([new Real(5), new Real(-0), new Real(1e300)]);
  expect(fromJsonValue({ real: 5 }, 'p')).toEqual(new Real(5));
  expect(through(Infinity)).toEqual(new Real(Infinity));
  expect(toJsonValue(NaN)).toBeNull();
});

it('integers are numbers where these are exact, else their digits', () => {
  fc.assert(
    fc.property(int64, (value) => {
      const isExact = Number.isSafeInteger(Number(value));
      expect(toJsonValue(value)).toEqual(isExact ? Number(value) : { integer: String(value) });
      expect(fromJsonValue({ integer: String(value) }, 'p')).toBe(value);
    }),
  );
});

it('numbers are floats in what is of a database, and counts elsewhere', () => {
  const tree = { rows: ofDatabase([{ id: 1n, price: 5 }]), seq: 7, lag: 0.5, never: Infinity };
  expect(JSON.stringify(toJsonTree(tree))).toBe(
    '{"rows":[{"id":1,"price":5.0}],"seq":7,"lag":0.5,"never":{"real":"Infinity"}}',
  );
});

it('values are found wherever they are', () => {
  const tree = { rows: [{ id: 1n, large: 2n ** 60n, of: { b: new Uint8Array([1]) } }], at: undefined };
  expect(toJsonTree(tree)).toEqual({
    rows: [{ id: 1, large: { integer: '1152921504606846976' }, of: { b: { base64: 'AQ==' } } }],
    at: undefined,
  });
});

it('what is written as a float is one among parameters only', () => {
  const text =
    '{"sql":"1.0, \\"2.0\\" 3e1","maxRows":1e1,"params":{"real":5.0,"a":[-2E0,"4.0",1.5,7],"b":{"real":6.0}}}';
  const { params, ...fields } = parseWithWholeFloats(text) as { readonly params: unknown };
  expect(fields).toEqual({ sql: '1.0, "2.0" 3e1', maxRows: 10 });
  expect(params).toEqual({ real: { real: 5 }, a: [{ real: -2 }, '4.0', 1.5, 7], b: { real: { real: 6 } } });
  expect(fromJsonValue({ real: { real: 6 } }, 'p')).toEqual(new Real(6));
});

it.each([
  [{ base64: 'AQ=' }],
  [{ base64: 'AQ==', other: 1 }],
  [{ base64: 'AQ==', integer: '1' }],
  [{ base64: 'AQ==', tag: 'raw-text' }],
  [{ base64: 7 }],
  [{ tag: 'json' }],
  [{ integer: 1 }],
  [{ integer: '1e3' }],
  [{ integer: '99999999999999999999' }],
  [{ integer: '1', real: 1 }],
  [{ real: 'much' }],
  [{ real: 'NaN' }],
  [{ real: { real: 'much' } }],
  ['\ud800'],
  ['a\udfff\ud83d'],
  [{}],
  [[1]],
  [2 ** 53],
  [Infinity],
  [undefined],
])('%j is refused, with its place', (value) => {
  expect(() => fromJsonValue(value, 'params[3]')).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  expect(() => fromJsonValue(value, 'params[3]')).toThrow(/params\[3\]/);
});

it('text that is no UTF-8 comes out with its bytes, and how to send it is said', () => {
  const value = toJsonValue(new TaggedValue('raw-text', new Uint8Array([0x61, 0xff])));
  expect(value).toEqual({ base64: 'Yf8=', tag: 'raw-text' });
  expect(() => fromJsonValue(value, 'p')).toThrow(/CAST\(\? AS TEXT\)/);
});
