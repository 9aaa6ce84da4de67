import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { value } from '../../test/arbitrary-batch.js';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { CanonicalRowEncoder, encodeCanonicalRow } from './canonical-row.js';

const row = fc.array(value, { maxLength: 6 });

describe('a canonical row', () => {
  it('differs from that of every other row', () => {
    fc.assert(
      fc.property(row, row, (a, b) => {
        const same = Buffer.compare(encodeCanonicalRow(a), encodeCanonicalRow(b)) === 0;
        let equal = true;
        try {
          expect(a).toStrictEqual(b);
        } catch {
          equal = false;
        }
        expect(same).toBe(equal);
      }),
      { numRuns: 300 },
    );
  });

  it('is written by the encoder that keeps its buffer just the same', () => {
    const encoder = new CanonicalRowEncoder();
    fc.assert(
      fc.property(fc.array(row), (rows) => {
        for (const each of rows) encoder.append(each);
        const bytes = Buffer.concat(rows.map((each) => encodeCanonicalRow(each)));
        expect(encoder.byteLength).toBe(bytes.length);
        expect(Buffer.compare(encoder.take(), bytes)).toBe(0);
        expect(encoder.byteLength).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  it('leaves nothing behind of a row that cannot be written', () => {
    const encoder = new CanonicalRowEncoder();
    encoder.append([1n]);
    expect(codeThrownBy(() => encoder.append([2n, NaN]))).toBe('MALFORMED_MESSAGE');
    expect(encoder.byteLength).toBe(2);
  });

  it('never changes: checksums of different versions are compared', () => {
    const row = [1n, -1n, 2n ** 40n, 1.5, -0, 'Zürich 🏔', null, true, new Uint8Array([0, 255])];
    const bytes =
      '99 01 ff cf0000010000000000 cb3ff8000000000000 cb8000000000000000 ac5ac3bc7269636820f09f8f94 c0 c3 c40200ff';
    expect(Buffer.from(encodeCanonicalRow(row)).toString('hex')).toBe(bytes.replaceAll(' ', ''));
  });
});
