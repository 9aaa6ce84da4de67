import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { value } from '../../test/arbitrary-batch.js';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { claimExamplesIn, fromHex, valueOf } from '../../test/wire-notation.js';
import { encodeCanonicalRow } from '../codec/canonical-row.js';
import type { Value } from '../model/value.js';
import { claimOf, fingerprintOf, isShared, type ClaimSpace } from './claims.js';

const page = readFileSync(new URL('../../../../docs/wire.md', import.meta.url), 'utf8');

const space = fc.constantFrom<ClaimSpace>('row', 'unique', 'reference');
const thing = fc.tuple(space, fc.string({ maxLength: 8 }), fc.array(value, { minLength: 1, maxLength: 3 }));

/** How many of the numbers come more than once. */
function collisions(numbers: Iterable<number>): number {
  const list = [...numbers];
  return list.length - new Set(list).size;
}

function keys(count: number, keyOf: (i: number) => readonly Value[]): number[] {
  return Array.from({ length: count }, (_, i) => fingerprintOf(claimOf('row', 't', keyOf(i), 'exclusive')));
}

/**
 * Keys as applications have them: neighbours, multiples of powers of two, and texts that differ in
 * little.
 */
const KEY_PATTERNS: Record<string, (i: number) => readonly Value[]> = {
  'integers in a row': (i) => [BigInt(i)],
  'integers with zeros at the end': (i) => [BigInt(i) << 24n],
  pairs: (i) => [BigInt(i >> 9), BigInt(i & 511)],
  'texts with a number at the end': (i) => [`customer-${i}`],
  'texts with a number in front': (i) => [`${i}-customer`],
  floats: (i) => [i / 8],
  'bytes with few bits': (i) => [new Uint8Array([1 << (i & 7), i >> 3, 0, 0, i >> 11, 0])],
};

describe('claims', () => {
  it('are what docs/wire.md says, byte for byte', () => {
    const examples = claimExamplesIn(page);
    expect(examples.length).toBeGreaterThanOrEqual(5);
    for (const { space: name, table, values, encoded, exclusive } of examples) {
      const read = values.map(valueOf);
      expect(Buffer.from(encodeCanonicalRow([name, table, ...read]))).toEqual(Buffer.from(fromHex(encoded)));
      expect(claimOf(name, table, read, 'exclusive')).toBe(exclusive);
      expect(claimOf(name, table, read, 'shared')).toBe(exclusive + 1);
    }
  });

  it('are safe integers, and say whether they are shared', () => {
    fc.assert(
      fc.property(thing, ([name, table, values]) => {
        const exclusive = claimOf(name, table, values, 'exclusive');
        const shared = claimOf(name, table, values, 'shared');
        expect(Number.isSafeInteger(shared) && exclusive >= 0).toBe(true);
        expect([isShared(exclusive), isShared(shared)]).toEqual([false, true]);
        expect(fingerprintOf(shared)).toBe(fingerprintOf(exclusive));
        expect(fingerprintOf(shared)).toBeLessThan(2 ** 52);
      }),
    );
  });

  it('are the same for the same thing, and others for others', () => {
    fc.assert(
      fc.property(thing, thing, (one, other) => {
        const same = Buffer.from(encodeCanonicalRow([one[0], one[1], ...one[2]])).equals(
          encodeCanonicalRow([other[0], other[1], ...other[2]]),
        );
        expect(claimOf(...one, 'exclusive') === claimOf(...other, 'exclusive')).toBe(same);
        expect(claimOf(...one, 'shared')).toBe(claimOf(...one, 'shared'));
      }),
      { numRuns: 500 },
    );
  });

  it('keep space, table and values apart', () => {
    const claims = [
      claimOf('row', 'a', ['b', 'c'], 'exclusive'),
      claimOf('row', 'ab', ['c'], 'exclusive'),
      claimOf('row', 'a', ['bc'], 'exclusive'),
      claimOf('row', 'a', [], 'exclusive'),
      claimOf('unique', 'a', ['b', 'c'], 'exclusive'),
      claimOf('reference', 'a', ['b', 'c'], 'exclusive'),
      claimOf('row', 'a', [5n], 'exclusive'),
      claimOf('row', 'a', [5], 'exclusive'),
      claimOf('row', 'a', ['5'], 'exclusive'),
      claimOf('row', 'a', [0n], 'exclusive'),
      claimOf('row', 'a', [0n, 0n], 'exclusive'),
    ];
    expect(collisions(claims)).toBe(0);
  });

  it('refuse what the log could not carry either, and work on after it', () => {
    const before = claimOf('row', 't', [1n], 'exclusive');
    expect(codeThrownBy(() => claimOf('row', 't', ['\uD800'], 'exclusive'))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => claimOf('row', 't', [2n ** 63n], 'exclusive'))).toBe('MALFORMED_MESSAGE');
    expect(claimOf('row', 't', [1n], 'exclusive')).toBe(before);
  });

  it.each(Object.entries(KEY_PATTERNS))('spread evenly over %s', (_, keyOf) => {
    const count = 100_000;
    const fingerprints = keys(count, keyOf);
    expect(collisions(fingerprints)).toBe(0);
    // Any 32 of the bits are as good as the whole: n^2 / 2^33 collisions are to be expected, here
    // 1.2.
    for (const shift of [0, 10, 20]) {
      const halves = fingerprints.map((each) => Math.floor(each / 2 ** shift) % 2 ** 32);
      expect(collisions(halves)).toBeLessThan(12);
    }
  });

  it('change half of their bits with any bit of the key', () => {
    const changed = new Array<number>(52).fill(0);
    let pairs = 0;
    for (let i = 0; i < 2000; i++) {
      const bytes = new Uint8Array([i, i >> 8, i * 7, i * 13, i * 31]);
      const fingerprint = BigInt(fingerprintOf(claimOf('row', 't', [bytes], 'exclusive')));
      for (let bit = 0; bit < 40; bit += 3) {
        const flipped = bytes.slice();
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const other = BigInt(fingerprintOf(claimOf('row', 't', [flipped], 'exclusive')));
        const difference = fingerprint ^ other;
        for (let at = 0; at < 52; at++)
          changed[at] = (changed[at] ?? 0) + Number((difference >> BigInt(at)) & 1n);
        pairs++;
      }
    }
    for (const count of changed) {
      expect(count / pairs).toBeGreaterThan(0.48);
      expect(count / pairs).toBeLessThan(0.52);
    }
  });
});
