import { Real, TaggedValue } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { databaseValue, keyToText, parseParams, toJson, valueToText } from './json.js';

describe('toJson', () => {
  it.each([
    [9223372036854775807n, '9223372036854775807'],
    [5, '5.0'],
    [-0, '-0.0'],
    [1e300, '1e+300'],
    [Number.POSITIVE_INFINITY, '1e999'],
    [Number.NEGATIVE_INFINITY, '-1e999'],
    ['a "quoted"\n\u0000', '"a \\"quoted\\"\\n\\u0000"'],
    [new Uint8Array([0, 255]), '{"base64":"AP8="}'],
    [new TaggedValue('raw-text', new Uint8Array([255])), '{"tag":"raw-text","base64":"/w=="}'],
    [null, 'null'],
  ])('writes the database value %s exactly', (value, json) => {
    expect(toJson([databaseValue(value)])).toBe(`[${json}]`);
  });

  it('writes what is not of a database as JSON.stringify does', () => {
    const value = { a: [1, 'x', true, null], b: undefined, c: { d: 1.5 } };
    expect(toJson(value)).toBe(JSON.stringify(value));
  });
});

describe('parseParams', () => {
  it('keeps integers and floats apart, to 64 bits', () => {
    expect(parseParams('[5, 5.0, -9223372036854775808, 1e3, "5", "a\\"1", true, null]')).toEqual([
      5n,
      new Real(5),
      -9223372036854775808n,
      new Real(1000),
      '5',
      'a"1',
      1n,
      null,
    ]);
  });

  it('takes names and bytes', () => {
    expect(parseParams('{"id": 1, "blob": {"base64": "AP8="}}')).toEqual({
      id: 1n,
      blob: new Uint8Array([0, 255]),
    });
  });

  it.each([
    '',
    '5',
    '[1,]',
    '[9223372036854775808]',
    '[[1]]',
    '[{"x": 1}]',
    '[{"base64": "!!"}]',
    '[{"base64": 5}]',
    '[{"base64": "AP8"}]',
    '"text"',
    '[01]',
  ])('refuses %j', (text) => {
    expect(() => parseParams(text)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }) as Error);
  });
});

it('keyToText quotes text that could be taken for something else, or not be seen', () => {
  const keys = ['a', 'two words', '7', 'größe', '', 'NULL', ' x', 'a, b', 'a/b', 'a\0b', 'a\u009bb', "x'01'"];
  expect([null, new Uint8Array(0), ...keys].map(keyToText)).toEqual([
    ...['NULL', "x''", 'a', 'two words', '7', 'größe', '""', '"NULL"', '" x"', '"a, b"', '"a/b"'],
    ...['"a\\u0000b"', '"a\\u009bb"', `"x'01'"`],
  ]);
});

it('valueToText shows text as it is and bytes as SQL', () => {
  expect([null, 'x', 1n, 1, new Uint8Array([1])].map(valueToText)).toEqual([
    'NULL',
    'x',
    '1',
    '1.0',
    "x'01'",
  ]);
});
