import { describe, expect, it } from 'vitest';
import { codeOf } from '../error-code.js';
import type { LogHarness } from '../log-harness.js';
import { append, fill, numbers } from './use.js';

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
