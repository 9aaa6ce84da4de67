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

  it('is not settled by its signal, its deadline or a close once its function runs, until its group is decided', async () => {
    const giveUp = new AbortController();
    const closing = new AntiphonError('CLOSED', 'closing');
    const running = (): SyncWrite => {
      const one = write({ signal: giveUp.signal, timeoutMs: 5 });
      one.run(undefined);
      return one;
    };
    const [sent, local, undone, acknowledged] = [running(), running(), running(), running()];
    giveUp.abort();
    expect(acknowledged.settled).toBe(false);
    acknowledged.published('a:2~x');
    acknowledged.complete(RESULT);
    await expect(acknowledged.promise).resolves.toBe(RESULT);
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const one of [sent, local, undone]) one.giveUp(closing);
    for (const one of [sent, local, undone]) expect(one).toMatchObject({ settled: false, expired: true });
    sent.published('a:1~x');
    local.committed(() => RESULT);
    undone.undone();
    expect(await ended(sent)).toMatchObject({ code: 'OUTCOME_UNKNOWN', id: 'a:1~x' });
    expect(await ended(local)).toBe(RESULT);
    expect(await ended(undone)).toMatchObject({ code: 'TIMEOUT' });
  });

  it('is told of a close when its group is undone with it', async () => {
    const closing = new AntiphonError('CLOSED', 'closing');
    const one = write();
    one.run(undefined);
    one.giveUp(closing);
    one.undone();
    expect(await ended(one)).toBe(closing);
  });

  it.each(['abort', 'close'] as const)('does not run any more after %s', async (by) => {
    const giveUp = new AbortController();
    let runs = 0;
    const options = { acks: 'all', timeoutMs: 10_000, signal: giveUp.signal } as const;
    const before = new SyncWrite(() => runs++, options, systemClock());
    const between = new SyncWrite(() => runs++, options, systemClock());
    between.run(undefined);
    const closing = new AntiphonError('CLOSED', 'closing');
    if (by === 'abort') giveUp.abort();
    else for (const one of [before, between]) one.giveUp(closing);
    // Its group was undone because of another one, and is tried again.
    for (const one of [before, between]) expect(() => one.run(undefined)).toThrow(/does not run/);
    expect(runs).toBe(1);
    for (const one of [before, between])
      await expect(one.promise).rejects.toMatchObject({ code: by === 'abort' ? 'ABORTED' : 'CLOSED' });
  });

  it('waits as before when its group is undone for another reason', async () => {
    const giveUp = new AbortController();
    const one = write({ signal: giveUp.signal });
    one.waits(conflict());
    one.run(undefined);
    one.undone();
    expect(one.settled).toBe(false);
    giveUp.abort();
    await expect(one.promise).rejects.toMatchObject({ code: 'ABORTED' });
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
