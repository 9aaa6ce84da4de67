import type { AppendResult, Log } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { codeOf } from '../error-code.js';
import type { LogHarness } from '../log-harness.js';
import { openedOf } from './appending.js';
import { append, fill, numbers, seqOf, text } from './use.js';
import { eventually } from '../../eventually.js';

/** What an append may expect of the newest entry of its origin: the fence of synchronous writes. */
export function describeExpectations(harness: () => LogHarness): void {
  const opened = (): Promise<Log> => openedOf(harness());
  describe('expecting the last entry of an origin', () => {
    it('I2: stores right after it only, whatever other origins append', async () => {
      const log = await opened();
      const first = seqOf(await append(log, 'a1', { expectedLastSeqOfOrigin: 0 }));
      await fill(log, numbers('n', 5), 'other');
      const refused = await append(log, 'x1', { expectedLastSeqOfOrigin: 0 });
      expect(refused).toMatchObject({ type: 'refused', lastSeqOfOrigin: first });
      expect(refused.type === 'refused' && refused.error.retriable).toBe(true);
      const second = seqOf(await append(log, 'a2', { expectedLastSeqOfOrigin: first }));
      expect(second).toBe(first + 6);
      for (const expectedLastSeqOfOrigin of [0, first, first + 5, second + 7]) {
        const result = await append(log, `y${expectedLastSeqOfOrigin}`, { expectedLastSeqOfOrigin });
        expect(result).toMatchObject({ type: 'refused', lastSeqOfOrigin: second });
      }
      expect((await log.identity()).lastSeq).toBe(second);
      expect(text((await log.lastOf('writer'))?.data)).toBe('a2');
    });

    it('I2: stores one of two that expect the same, sent without waiting, and says where it is', async () => {
      const logs = [await opened(), await opened()];
      for (let last = 0, round = 0; round < 20; round++) {
        const sent = logs.flatMap((log, index) =>
          ['x', 'y'].map((name) =>
            append(log, `${name}${index}.${round}`, { origin: '_insync', expectedLastSeqOfOrigin: last }),
          ),
        );
        const results = await Promise.all(sent);
        const stored = results.filter(({ type }) => type === 'stored');
        const refused = results.filter(({ type }) => type === 'refused');
        expect([stored.length, refused.length]).toEqual([1, 3]);
        last = seqOf(stored[0] as AppendResult);
        for (const result of refused) expect(result).toMatchObject({ lastSeqOfOrigin: last });
        expect((await logs[0]?.identity())?.lastSeq).toBe(last);
      }
    });

    it('I2: refuses one that was sent first and comes late, after its place was taken', async () => {
      const [log, rival] = [await opened(), await opened()];
      const last = seqOf(await append(log, 'a1', { expectedLastSeqOfOrigin: 0 }));
      const mend = await harness().stall();
      const impatient = await append(log, 'a2', { expectedLastSeqOfOrigin: last, timeoutMs: 50 });
      expect(impatient.type).toBe('unknown');
      const fence = append(rival, 'fence', { expectedLastSeqOfOrigin: last });
      await mend();
      const fenced = await fence;
      await eventually(
        'one of them to be stored',
        async () => ((await log.lastOf('writer'))?.seq ?? 0) > last,
      );
      // Whichever came first: the other one is not in the log, now or ever.
      const newest = await log.lastOf('writer');
      expect(text(newest?.data)).toBe(fenced.type === 'stored' ? 'fence' : 'a2');
      const again = await append(log, 'a2', { expectedLastSeqOfOrigin: last });
      expect(again).toMatchObject(
        fenced.type === 'stored'
          ? { type: 'refused', lastSeqOfOrigin: newest?.seq }
          : { type: 'stored', seq: newest?.seq, duplicate: true },
      );
      expect((await log.identity()).lastSeq).toBe(newest?.seq);
    });

    it('I3: knows an entry of its own again, also below a newer one', async () => {
      const log = await opened();
      const first = seqOf(await append(log, 'a1', { expectedLastSeqOfOrigin: 0 }));
      const again = { type: 'stored', seq: first, duplicate: true };
      expect(await append(log, 'a1', { expectedLastSeqOfOrigin: 0 })).toEqual(again);
      await append(log, 'a2', { expectedLastSeqOfOrigin: first });
      expect(await append(log, 'a1', { expectedLastSeqOfOrigin: 0 })).toEqual(again);
    });

    it('stores only when the whole log is as expected too, and says what is not', async () => {
      const log = await opened();
      const mine = seqOf(await append(log, 'a1', { expectedLastSeqOfOrigin: 0 }));
      const [end = 0] = await fill(log, ['n'], 'other');
      const both = (
        id: string,
        expectedLastSeq: number,
        expectedLastSeqOfOrigin: number,
      ): Promise<AppendResult> => append(log, id, { expectedLastSeq, expectedLastSeqOfOrigin });
      expect(await both('b1', mine, mine)).toMatchObject({
        type: 'refused',
        lastSeq: end,
        lastSeqOfOrigin: mine,
      });
      expect(await both('b2', end, end)).toMatchObject({ type: 'refused', lastSeqOfOrigin: mine });
      expect(await both('b3', end, mine)).toMatchObject({ type: 'stored', seq: end + 1 });
    });
  });
}

export function describeWrongExpectations(harness: () => LogHarness): void {
  const opened = (): Promise<Log> => openedOf(harness());
  describe('an expectation that cannot hold', () => {
    it.each([-1, 1.5, Number.NaN, 2 ** 53])('I15: refuses %d as an expectation', async (wrong) => {
      const log = await opened();
      const { lastSeq } = await log.identity();
      for (const more of [{ expectedLastSeqOfOrigin: wrong }, { expectedLastSeq: wrong }]) {
        const result = await append(log, 'wrong', more);
        expect(result.type === 'refused' ? codeOf(result.error) : result.type).toBe('BAD_OPTION');
      }
      expect((await log.identity()).lastSeq).toBe(lastSeq);
    });

    it('I7: fails a chain with its first message, although a rival put a message where the second one belongs', async () => {
      const log = await opened();
      const [end = 0] = await fill(log, ['n'], 'rival');
      const chain = [1, 2, 3].map((n) => append(log, `c${n}`, { expectedLastSeq: end - 2 + n }));
      expect((await Promise.all(chain)).map(({ type }) => type)).toEqual(['refused', 'refused', 'refused']);
      expect((await log.identity()).lastSeq).toBe(end);
    });
  });
}
