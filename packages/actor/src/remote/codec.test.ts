import { decode, encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { msgpackCodec } from './codec.js';

describe('the codec', () => {
  it('carries plain values unchanged (property)', () => {
    const integer = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    const key = fc.string({ maxLength: 8 }).filter((name) => name !== '__proto__');
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.constant(null),
        fc.boolean(),
        fc.double({ noNaN: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
        fc.integer(),
        integer,
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.array(tie('value'), { maxLength: 20 }),
        fc.dictionary(key, tie('value'), { maxKeys: 20, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(value, (original) => {
        expect(msgpackCodec.decode(msgpackCodec.encode(original))).toEqual(original);
      }),
      { numRuns: 500 },
    );
  });

  it('carries long strings, bytes, arrays and maps', () => {
    for (const size of [31, 32, 255, 256, 65_535, 65_536]) {
      for (const value of ['x'.repeat(size), new Uint8Array(size), new Array<number>(size).fill(7)]) {
        expect(msgpackCodec.decode(msgpackCodec.encode(value))).toEqual(value);
      }
    }
    const map = Object.fromEntries(Array.from({ length: 70_000 }, (_, index) => [`k${index}`, index]));
    expect(msgpackCodec.decode(msgpackCodec.encode(map))).toEqual(map);
  });

  it('takes undefined for no bytes at all, and leaves undefined fields out', () => {
    expect(msgpackCodec.encode(undefined)).toHaveLength(0);
    expect(msgpackCodec.decode(new Uint8Array(0))).toBeUndefined();
    expect(msgpackCodec.decode(msgpackCodec.encode({ a: undefined, b: 1 }))).toEqual({ b: 1 });
  });

  it('refuses every truncation and every extension of a message', () => {
    const data = msgpackCodec.encode({
      sql: 'x'.repeat(300),
      params: [1, -1, 1.5, 2n ** 60n, null, new Uint8Array(9), [[]]],
      t: new Date(1.5),
    });
    expect(() => msgpackCodec.decode(data)).not.toThrow();
    for (let length = 1; length < data.length; length++) {
      expect(() => msgpackCodec.decode(data.subarray(0, length))).toThrow('not valid MessagePack');
    }
    expect(() => msgpackCodec.decode(new Uint8Array([...data, 0xc0]))).toThrow('something follows its end');
  });

  it('accepts what the decoder accepts, but for depth and trailing bytes (property)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (data) => {
        let accepted: unknown;
        try {
          accepted = decode(data, { useBigInt64: true });
        } catch {
          expect(() => msgpackCodec.decode(data)).toThrow();
          return;
        }
        expect(msgpackCodec.decode(data)).toEqual(accepted);
      }),
      { numRuns: 5000 },
    );
  });

  it('does not allocate what a hostile header claims', () => {
    const claims = [
      [0xdd, 0xff, 0xff, 0xff, 0xff], // An array of 4 294 967 295 values.
      [0xdf, 0xff, 0xff, 0xff, 0xff],
      [0xc6, 0xff, 0xff, 0xff, 0xff],
      [0xdb, 0xff, 0xff, 0xff, 0xff],
      [0xc9, 0xff, 0xff, 0xff, 0xff],
    ];
    for (const claim of claims) {
      expect(() => msgpackCodec.decode(new Uint8Array(claim))).toThrow('claims more than it holds');
    }
    // 300 000 nested headers, each claiming 65 535 values: 150 GB if each were allocated.
    const nested = new Uint8Array(900_000);
    for (let at = 0; at < nested.length; at += 3) nested.set([0xdc, 0xff, 0xff], at);
    const before = process.memoryUsage().heapUsed;
    expect(() => msgpackCodec.decode(nested)).toThrow('not valid MessagePack');
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(50e6);
  });

  it('refuses deep nesting, which would overflow the stack of whoever walks it', () => {
    expect(() => msgpackCodec.decode(new Uint8Array(100_000).fill(0x91))).toThrow();
    let value: unknown = 1;
    for (let depth = 0; depth < 60; depth++) value = [value];
    expect(msgpackCodec.decode(encode(value))).toEqual(value);
    for (let depth = 0; depth < 10; depth++) value = [value];
    expect(() => msgpackCodec.decode(encode(value))).toThrow('nested deeper than 64');
  });
});
