import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { refusedIn, vectorsIn } from '../../test/wire-notation.js';
import { MAX_HYBRID_TIME } from '../clocks/hybrid-clock.js';
import { decodeBatches, summarize } from './decode-batches.js';
import { decodeChanges } from './decode-changes.js';
import { encodeBatch } from './encode-batch.js';
import { FORMAT_VERSION, SYNC_FORMAT_VERSION } from './format.js';
import { DEFAULT_CODEC_LIMITS } from './limits.js';

const page = readFileSync(new URL('../../../../docs/wire.md', import.meta.url), 'utf8');
const vectors = vectorsIn(page);
const refused = refusedIn(page);

describe('docs/wire.md', () => {
  it('has test vectors', () => {
    expect(vectors.length).toBeGreaterThanOrEqual(8);
    expect(refused.length).toBeGreaterThanOrEqual(30);
  });

  it.each(vectors)('$name: is read as the page says', ({ data, batches }) => {
    expect(decodeBatches(data)).toStrictEqual(batches);
    expect(summarize(data)).toHaveLength(batches.length);
  });

  it.each(vectors)('$name: is written as the page says', ({ data, batches }) => {
    const written = Buffer.concat(batches.map((batch) => encodeBatch(batch)));
    expect(written.toString('hex')).toBe(Buffer.from(data).toString('hex'));
  });

  it('cuts a change across parts, and what it cuts is whole again', () => {
    const parts = vectors.flatMap(({ batches }) => batches).filter((batch) => batch.kind === 'part');
    const [first] = parts;
    expect(parts.map(({ offset, last }) => [offset, last])).toEqual([
      [0, false],
      [11, true],
    ]);
    const changes = decodeChanges(
      parts.map(({ body }) => body),
      first?.tables ?? [],
    );
    expect([...changes]).toStrictEqual([
      { op: 'insert', table: 0, row: [1n, 'one'] },
      { op: 'insert', table: 0, row: [2n, 'two'] },
    ]);
  });

  it('has test vectors of both format versions', () => {
    expect(new Set(vectors.map(({ data }) => data[1]))).toEqual(
      new Set([FORMAT_VERSION, SYNC_FORMAT_VERSION]),
    );
  });

  it.each(refused)('$why: is refused with $code', ({ data, code }) => {
    expect(codeThrownBy(() => decodeBatches(data))).toBe(code);
  });

  it('names the limits as they are', () => {
    // Formatting pads the cells of a table.
    const text = page.replaceAll(/ {2,}/g, ' ');
    for (const [name, limit] of Object.entries(DEFAULT_CODEC_LIMITS)) {
      const grouped = String(limit).replaceAll(/\B(?=(\d{3})+$)/g, ' ');
      expect(text).toContain(`| \`${name}\` | ${grouped} |`);
    }
    expect(text).toContain(`| ${String(MAX_HYBRID_TIME).replaceAll(/\B(?=(\d{3})+$)/g, ' ')} |`);
    expect(page).toContain(`format version, ${FORMAT_VERSION} or ${SYNC_FORMAT_VERSION}`);
  });
});
