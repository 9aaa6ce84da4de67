import fc from 'fast-check';
import type { Value } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put } from '../store-harness.js';
import { differences, type KitOf } from './kit.js';

const PROPERTY_TIMEOUT_MS = 60_000;
const INTEGERS = [0n, 1n, -1n, 2n ** 31n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
const REALS = [0, 0.1, 1.5, -2.5e-308, 5e-324, 1.7976931348623157e308, Infinity, -Infinity, 2 ** 53, 1e300];
const TEXTS = [
  '',
  'text',
  'a\u0000b',
  '\u0000',
  '😀 Zürich',
  "'; DROP TABLE items; --",
  'x'.repeat(100_000),
  '\uFEFFbom',
  '5',
];
const BYTES = [
  new Uint8Array(0),
  new Uint8Array([0]),
  new Uint8Array([255, 0, 254]),
  new Uint8Array(70_000).fill(7),
];

const text = fc.string({ unit: 'binary', maxLength: 40 });
const real = fc.double({ noNaN: true }).map((value) => (Object.is(value, -0) ? 0 : value));
const row = fc.tuple(fc.option(text), fc.option(real), fc.option(fc.uint8Array({ maxLength: 40 })));

export function describeValues(kit: KitOf): void {
  describe('values', () => {
    it('come back as they were written, here and on every other replica', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      const rows: Value[][] = [
        ...INTEGERS.map((value): Value[] => [value, 'integer', null, null]),
        ...REALS.map((value, index): Value[] => [BigInt(1000 + index), 'real', value, null]),
        ...TEXTS.map((value, index): Value[] => [BigInt(2000 + index), value, null, null]),
        ...BYTES.map((value, index): Value[] => [BigInt(3000 + index), 'bytes', null, value]),
      ];
      for (const values of rows) await a.write(put('items', ...values));
      await a.publish();
      await b.receive();
      const expected = [...rows].sort((x, y) => ((x[0] as bigint) < (y[0] as bigint) ? -1 : 1));
      expect(await a.rows('items')).toEqual(expected);
      expect(await b.rows('items')).toEqual(expected);
      expect(await differences([a, b])).toEqual([]);
    });

    it('keep the sign of zero, or lose it everywhere alike', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.write(put('items', 1n, 'zero', -0, null));
      await a.publish();
      await b.receive();
      const [[, , here] = []] = await a.rows('items');
      const [[, , there] = []] = await b.rows('items');
      expect(Object.is(here, there)).toBe(true);
      expect(await differences([a, b])).toEqual([]);
    });

    it('of any kind survive, new, changed, and as keys', { timeout: PROPERTY_TIMEOUT_MS }, async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await fc.assert(
        fc.asyncProperty(fc.bigInt({ min: -5n, max: 5n }), row, text, async (id, values, key) => {
          await a.write(put('items', id, ...values), put('pairs', key, id, values[0]));
          await a.publish();
          await b.receive();
          const written = (await b.rows('items')).find(([found]) => found === id);
          expect(written).toEqual([id, ...values]);
          expect((await b.rows('pairs')).some(([left, right]) => left === key && right === id)).toBe(true);
        }),
        { numRuns: 60 },
      );
      expect(await differences([a, b])).toEqual([]);
    });
  });
}
