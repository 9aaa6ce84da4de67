import { isSameEntry } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { codeOf } from '../error-code.js';
import type { LogHarness } from '../log-harness.js';
import { append, fill, numbers } from './use.js';
import { eventually } from '../../eventually.js';

export function describeOpening(harness: () => LogHarness): void {
  describe('opening', () => {
    it('makes the log once, and shows the same one to everybody', async () => {
      const [one, two] = [await harness().connect(), await harness().connect()];
      const before = await one.open({ create: false }).then(() => 'opened', codeOf);
      expect(['LOG_REPLACED', 'LOG_UNAVAILABLE']).toContain(before);
      const created = await one.open({ create: true });
      expect(created.generation).toMatch(/./);
      expect(await two.open({ create: true })).toEqual(created);
      expect(await two.open({ create: false })).toEqual(created);
      expect(one.connection).toBe('connected');
    });

    it('I14: tells how far the log goes, and that it is another one', async () => {
      const log = await harness().connect();
      const created = await log.open({ create: true });
      const [, , last = 0] = await fill(log, numbers('x', 3));
      expect(await log.identity()).toEqual({ ...created, lastSeq: last });
      await harness().trim(last);
      expect(await log.identity()).toMatchObject({
        generation: created.generation,
        firstSeq: last,
      });
      await harness().recreate();
      const other = await log.identity().then(
        ({ generation }) => generation,
        (error: unknown) => codeOf(error),
      );
      expect(other).not.toBe(created.generation);
    });

    it('tells the time by the clock that entries are stored by, and leaves nothing behind in the log', async () => {
      const log = await harness().connect();
      await log.open({ create: true });
      const before = await log.timeMs();
      const [seq = 0] = await fill(log, numbers('x', 1));
      const storedAtMs = (await log.get(seq))?.storedAtMs ?? Number.NaN;
      const after = await log.timeMs();
      // Stored times may have whole milliseconds only.
      expect(storedAtMs).toBeGreaterThanOrEqual(Math.floor(before));
      expect(storedAtMs).toBeLessThanOrEqual(Math.ceil(after));
      expect((await log.identity()).lastSeq).toBe(seq);
    });

    it('I14: gives numbers twice when it lost its end, and tells the entries apart', async () => {
      const log = await harness().connect();
      const { generation } = await log.open({ create: true });
      const [first = 0] = await fill(log, numbers('kept', 3));
      const back = await harness().checkpoint();
      const reader = await log.read({ generation, fromSeq: first });
      const seqs = await fill(log, numbers('lost', 2));
      const lost = [await log.get(seqs[0] ?? 0), await log.get(seqs[1] ?? 0)];
      await back();
      // Whoever had it longer is told, whatever is asked first.
      const result = await append(log, 'after', { expectedLastSeq: seqs[1] ?? 0 });
      expect(result.type).not.toBe('stored');
      await eventually('it is noticed', () =>
        log.identity().then(
          ({ lastSeq }) => lastSeq < (seqs[1] ?? 0),
          (error: unknown) => codeOf(error) === 'LOG_REPLACED',
        ),
      );
      await reader.close();
      const other = await harness().connect();
      expect((await other.open({ create: false })).generation).toBe(generation);
      expect(await fill(other, numbers('new', 2))).toEqual(seqs);
      for (const [index, seq] of seqs.entries()) {
        const entry = await other.get(seq);
        expect(isSameEntry({ seq, attempt: `writer:new${index + 1}` }, entry ?? { seq })).toBe(true);
        expect(isSameEntry(lost[index] ?? { seq }, entry ?? { seq })).toBe(false);
      }
      expect((await other.get(first))?.attempt).toBe('writer:kept1');
    });

    it('is closed for good, also twice', async () => {
      const log = await harness().connect();
      await log.open({ create: true });
      await log.close();
      await log.close();
      expect(log.connection).toBe('closed');
      const result = await append(log, 'late');
      expect(result.type).toBe('refused');
      await expect(log.identity()).rejects.toThrow();
    });
  });
}
