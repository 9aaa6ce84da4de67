import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TaggedValue } from '../model/value.js';
import { changeToJson, markerToJson, valueToJson } from './change-json.js';
import { parsePublish } from './publish-options.js';
import { escapeToken, SubjectTemplate } from './subject-template.js';

describe('a subject', () => {
  it('has what it stands for in its places', () => {
    const template = new SubjectTemplate('shop.{table}.{op}.{origin}');
    expect(template.of({ table: 'orders', op: 'insert', origin: 'eu-1' })).toBe('shop.orders.insert.eu-1');
    expect(template.wildcard).toBe('shop.*.*.*');
  });

  it('is never that of another table, and always one that NATS takes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (one, two) => {
        expect(escapeToken(one)).toMatch(/^[A-Za-z0-9_%-]+$/);
        expect(escapeToken(one) === escapeToken(two)).toBe(one === two);
      }),
    );
    expect(['a.b', 'a*', '>', '%', 'a b', 'Größe', ''].map(escapeToken)).toEqual([
      ...['a%2Eb', 'a%2A', '%3E', '%25', 'a%20b', 'Gr%C3%B6%C3%9Fe', '%'],
    ]);
  });

  it.each([
    '',
    'shop..x',
    '{table}',
    'shop.{tabel}',
    'shop.*',
    'shop.>',
    'antiphon.{table}',
    '$JS.x',
    '_INBOX.x',
  ])('is not %j', (text) => {
    expect(() => new SubjectTemplate(text)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }) as Error);
  });
});

describe('the options', () => {
  it('name a stream of their own', () => {
    expect(parsePublish('shop', { subject: 'shop.{table}' }).stream).toBe('ANTIPHON-CHANGES_shop');
    for (const stream of ['ANTIPHON_shop', 'KV_x', 'a.b', ''])
      expect(() => parsePublish('shop', { subject: 'x', stream })).toThrow(/`stream` of `publish`/);
    expect(() => parsePublish('shop', { subject: 'x', retention: { maxAgeMs: 5 } })).toThrow(
      /at least 60000/,
    );
    expect(() => parsePublish('shop', {} as never)).toThrow(/lacks `subject`/);
  });
});

describe('a value', () => {
  it.each([
    [null, 'null'],
    [7n, '7'],
    [9_007_199_254_740_991n, '9007199254740991'],
    [9_007_199_254_740_992n, '{"integer":"9007199254740992"}'],
    [-9_223_372_036_854_775_808n, '{"integer":"-9223372036854775808"}'],
    [1.5, '1.5'],
    [5, '5.0'],
    [-0, '-0.0'],
    [1e300, '1e+300'],
    [-Infinity, '{"real":"-Infinity"}'],
    ['a"\u0000\ud800', String.raw`"a\"\u0000\ud800"`],
    [new Uint8Array([0, 255]), '{"base64":"AP8="}'],
    [new TaggedValue('raw-text', new Uint8Array([255])), '{"base64":"/w==","tag":"raw-text"}'],
  ])('comes as JSON: %#', (value, json) => {
    expect(valueToJson(value)).toBe(json);
  });
});

describe('a change', () => {
  const change = {
    ...{
      id: { origin: 'a', counter: 3 },
      table: 't',
      key: { id: 1n },
      seq: 9,
      time: 5,
      cursor: 'c',
      last: true,
    },
    ...({ op: 'delete', before: { id: 1n, v: 'x' } } as const),
  };
  const head = {
    id: 'a:3',
    index: 2,
    last: true,
    origin: 'a',
    counter: 3,
    table: 't',
    op: 'delete',
    time: 5,
    seq: 9,
  };

  it('is one object', () => {
    const text = new TextDecoder().decode(changeToJson(change, 2));
    expect(JSON.parse(text)).toEqual({ ...head, key: { id: 1 }, before: { id: 1, v: 'x' } });
  });

  it('leaves a mark where it is too large', () => {
    const mark = (withKey: boolean): unknown =>
      JSON.parse(new TextDecoder().decode(markerToJson(change, 2, { bytes: 99, withKey })));
    expect(mark(true)).toEqual({ ...head, key: { id: 1 }, tooLarge: 99 });
    expect(mark(false)).toEqual({ ...head, tooLarge: 99 });
  });
});
