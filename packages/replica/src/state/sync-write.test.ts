import { AntiphonError, ConflictError, systemClock, UnknownOutcomeError } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import type { WriteResult } from '../state/write-result.js';
import { SyncWrite, type SyncWriteOptions } from './sync-write.js';

const RESULT: WriteResult<unknown> = {
  outcome: 'committed',
  position: { generation: 'g', seq: 1 },
  value: undefined,
};

function write(options: Partial<SyncWriteOptions> = {}): SyncWrite {
  return new SyncWrite(() => undefined, { acks: 'all', timeoutMs: 10_000, ...options }, systemClock());
}

function ended(one: SyncWrite): Promise<unknown> {
  return one.promise.catch((error: unknown) => error);
}

const conflict = (): ConflictError =>
  new ConflictError('b:7 was committed first', { table: 't', key: [1], winner: { origin: 'b', counter: 7 } });

describe('a synchronous write', () => {
  it('rejects with ABORTED when its signal fired before the call', async () => {
    const one = write({ signal: AbortSignal.abort() });
    expect(one.settled).toBe(true);
    await expect(one.promise).rejects.toMatchObject({ name: 'AntiphonError', code: 'ABORTED' });
  });

  it('says at its deadline what is in the way, and that others were before it when nothing else is', async () => {
    const silent = new AntiphonError('TIMEOUT', 'NATS has not answered for 9 ms.');
    const behind = write({ timeoutMs: 10 });
    expect(await ended(behind)).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(/other writes were before it/),
    });
    const stuck = write({ timeoutMs: 10, inTheWay: () => silent });
    expect(await ended(stuck)).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(
        /^NATS has not answered for 9 ms\. Nothing was written within \d+ ms\.$/,
      ),
    });
  });

  it('rejects with ABORTED while it waits, and not once the log may hold it', async () => {
    const giveUp = new AbortController();
    const waiting = write({ signal: giveUp.signal });
    const published = write({ signal: giveUp.signal });
    published.published('a:1~x');
    giveUp.abort();
    await expect(waiting.promise).rejects.toMatchObject({ code: 'ABORTED' });
    expect(published.settled).toBe(false);
    published.complete(RESULT);
    await expect(published.promise).resolves.toBe(RESULT);
  });

  it('rejects with ABORTED when it turns out that the log will never hold it, and does not run again', async () => {
    const giveUp = new AbortController();
    const one = write({ signal: giveUp.signal });
    one.published('a:1~x');
    giveUp.abort();
    one.waits(conflict());
    expect(one.settled).toBe(true);
    await expect(one.promise).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it.each([
    ['nothing else', undefined],
    ['the end of a hold', 'hold'],
  ])('rejects with ConflictError at its deadline, when it waits for %s after a conflict', async (_, next) => {
    const one = write({ timeoutMs: 5 });
    one.waits(conflict());
    if (next !== undefined) one.waits();
    const error = await ended(one);
    expect(error).toBeInstanceOf(ConflictError);
    expect(error).toMatchObject({
      code: 'CONFLICT',
      outcome: 'rejected',
      retriable: true,
      details: { table: 't', key: [1], winner: { origin: 'b', counter: 7 } },
    });
  });

  it('is unknown at its deadline, and says why, when the log has it and the database does not take it', async () => {
    const one = write({ timeoutMs: 5 });
    one.published('a:1~x');
    one.held(new AntiphonError('STORE_FULL', 'The disk is full.'));
    expect(await ended(one)).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      id: 'a:1~x',
      message: expect.stringContaining('The log has the write. The disk is full.') as unknown,
    });
    const two = write();
    two.published('a:2~x');
    two.giveUp(new AntiphonError('CLOSED', 'closing'));
    expect(await ended(two)).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      message: expect.stringContaining('The replica closed before the log answered.') as unknown,
    });
  });

  it('names what keeps it waiting at its deadline, even after a conflict', async () => {
    const one = write({ timeoutMs: 5 });
    one.waits(conflict());
    one.waits(new AntiphonError('LOG_UNAVAILABLE', 'NATS does not answer'));
    await expect(one.promise).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE', retriable: true });
  });

  it('rejects with TIMEOUT when only its time was up', async () => {
    await expect(write({ timeoutMs: 5 }).promise).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  it('says what is known when its replica closes, whatever phase it is in', async () => {
    const closing = new AntiphonError('CLOSED', 'replica a is closing');
    const [waiting, published, committed] = [write(), write(), write()];
    published.published('a:1~x');
    committed.committed(() => RESULT);
    for (const one of [waiting, published, committed]) one.giveUp(closing);
    expect(await ended(waiting)).toBe(closing);
    expect(await ended(published)).toBeInstanceOf(UnknownOutcomeError);
    expect(await ended(committed)).toBe(RESULT);
  });
});
