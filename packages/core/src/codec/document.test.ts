import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TaggedValue } from '../model/value.js';
import { decodeDocument, type DocumentItem, encodeDocument, MAX_DOCUMENT_DEPTH } from './document.js';

const value = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.string({ unit: 'grapheme' }),
  fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
  fc.uint8Array().map((bytes) => new TaggedValue('raw-text', new Uint8Array(bytes))),
);
const name = fc.string().filter((text) => text !== '__proto__');
const { document } = fc.letrec<{ document: DocumentItem }>((tie) => ({
  document: fc.oneof(
    { maxDepth: 4 },
    value,
    fc.array(tie('document'), { maxLength: 5 }),
    fc.dictionary(name, tie('document'), { maxKeys: 5, noNullPrototype: true }),
  ),
}));

describe('documents', () => {
  it('come back as they were: an integer as an integer, a float as a float', () => {
    fc.assert(
      fc.property(document, (item) => {
        expect(decodeDocument(encodeDocument(item))).toEqual(item);
      }),
    );
    expect(decodeDocument(encodeDocument([5n, 5]))).toEqual([5n, 5]);
    expect([...encodeDocument({ a: 5n, b: undefined })]).toEqual([0x81, 0xa1, 0x61, 5]);
  });

  it('are what other programs write, who may use longer forms', () => {
    const item = { sql: 'SELECT ?', params: [1, 2 ** 40, -7, 1.5, true, null, new Uint8Array([1, 2])] };
    const params = [1n, 2n ** 40n, -7n, 1.5, true, null, new Uint8Array([1, 2])];
    expect(decodeDocument(encode(item))).toEqual({ sql: 'SELECT ?', params });
    expect(decodeDocument(new Uint8Array([0xd3, 0, 0, 0, 0, 0, 0, 0, 5]))).toBe(5n);
  });

  it('have no name that JavaScript takes for something else', () => {
    const read = decodeDocument(encodeDocument(JSON.parse('{"__proto__": {"admin": "yes"}}')));
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    expect(Object.keys(read as object)).toEqual(['__proto__']);
  });

  it.each<[string, readonly number[]]>([
    ['nothing', []],
    ['an end in the middle', [0x92, 1]],
    ['bytes left over', [1, 1]],
    ['a list of four thousand million', [0xdd, 0xff, 0xff, 0xff, 0xff, 1]],
    ['a map of four thousand million', [0xdf, 0xff, 0xff, 0xff, 0xff, 1]],
    ['bytes of four thousand million', [0xc6, 0xff, 0xff, 0xff, 0xff, 1]],
    ['too deep a list', [...new Array<number>(MAX_DOCUMENT_DEPTH + 1).fill(0x91), 1]],
    ['a million lists in lists', new Array<number>(1_000_000).fill(0x91)],
    ['a name twice', [0x82, 0xa1, 0x61, 1, 0xa1, 0x61, 2]],
    ['a name that is no text', [0x81, 1, 1]],
    ['NaN', [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]],
    ['an integer of 65 bits', [0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0]],
    ['an unknown ext type', [0xd4, 99, 0]],
    ['a text that is no UTF-8', [0xa1, 0xff]],
  ])('I15: refuse %s', (_, bytes) => {
    const refused = expect.objectContaining({ code: 'MALFORMED_MESSAGE' });
    expect(() => decodeDocument(new Uint8Array(bytes))).toThrow(refused);
  });

  it('I15: take no more memory than their bytes are worth', () => {
    // Each list says that it has as many entries as there are bytes left.
    const lists = Buffer.alloc(30 * 5 + 1_000_000);
    for (let at = 0; at < 30; at++) {
      lists[at * 5] = 0xdd;
      lists.writeUInt32BE(1_000_000, at * 5 + 1);
    }
    const before = process.memoryUsage().heapUsed;
    expect(() => decodeDocument(lists)).toThrow();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100_000_000);
  });
});
