import type { AppendResult } from '@antiphon/core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { append, bytes, fill, Fixture, text } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';
import type { JetStreamLog } from './jetstream-log.js';
import type { LogOptions } from './log-options.js';

let fixture: Fixture;
let nats: NatsHandle;
let clusters = 0;
beforeAll(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect();
});
afterAll(() => fixture.stop());
afterEach(async () => {
  if (fixture.server.state === 'paused') fixture.server.resume();
  if (fixture.server.state === 'stopped') await fixture.server.restart();
  await eventually('the connection', () => nats.status === 'connected');
});

async function openNew(options: LogOptions = {}): Promise<JetStreamLog> {
  const log = nats.log(`c${(clusters += 1)}`, options);
  await log.open({ create: true });
  return log;
}

describe('append', () => {
  it('stores the entries of one origin in the order of the calls', async () => {
    const log = await openNew();
    const results = await Promise.all([1, 2, 3, 4].map((n) => append(log, { id: `a:${n}` })));
    expect(results).toEqual([2, 3, 4, 5].map((seq) => ({ type: 'stored', seq, duplicate: false })));
    expect((await log.get(3))?.origin).toBe('writer');
    expect(text((await log.get(3))?.data)).toBe('a:2');
  });

  it('I3: settles exactly once and never inside the call', async () => {
    const log = await openNew({ maxPendingAppends: 10 });
    const settled: AppendResult[][] = [];
    for (let n = 0; n < 20; n += 1) {
      const results: AppendResult[] = [];
      settled.push(results);
      log.append({ origin: n === 5 ? '_Bad' : 'w', id: `a:${n}`, data: bytes(n) }, (result) =>
        results.push(result),
      );
      expect(results).toEqual([]);
    }
    await eventually('all answers', () => settled.every(({ length }) => length === 1));
    const types = settled
      .flat()
      .map((result) => (result.type === 'refused' ? result.error.code : result.type));
    expect(types.filter((type) => type === 'stored')).toHaveLength(10);
    expect(types.filter((type) => type === 'OVERLOADED')).toHaveLength(9);
    expect(types[5]).toBe('BAD_OPTION');
  });

  it('survives a callback that throws', async () => {
    const log = await openNew();
    const before = nats.problemCount;
    log.append({ origin: 'w', id: 'a:1', data: bytes(1) }, () => {
      throw new Error('a mistake in the callback');
    });
    await eventually('the report', () => nats.problemCount > before);
    expect(await append(log, { id: 'a:2' })).toMatchObject({ type: 'stored', seq: 3 });
  });

  it('tells a repetition that the log remembers', async () => {
    const log = await openNew();
    expect(await append(log, { id: 'a:1' })).toEqual({ type: 'stored', seq: 2, duplicate: false });
    expect(await append(log, { id: 'a:1' })).toEqual({ type: 'stored', seq: 2, duplicate: true });
    expect((await log.identity()).lastSeq).toBe(2);
  });

  it.each(['_log', '_X', '', 'a.b', 'a b', '>', '*', 'a\r\nPUB x 1\r\nz', 'é', 'x'.repeat(64)])(
    'I15: refuses the origin %j',
    async (origin) => {
      const log = await openNew();
      expect(await append(log, { id: 'a:1', origin })).toMatchObject({
        type: 'refused',
        error: { code: 'BAD_OPTION' },
      });
      await expect(log.lastOf(origin)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    },
  );

  it.each(['', 'a b', 'a\r\nNats-Rollup: all', 'x'.repeat(257), 'é'])(
    'I15: refuses the id %j',
    async (id) => {
      const log = await openNew();
      expect(await append(log, { id })).toMatchObject({ type: 'refused', error: { code: 'BAD_OPTION' } });
    },
  );

  it('I15: takes entries up to its limit and refuses larger ones', async () => {
    const log = await openNew({ maxMessageBytes: 1000 });
    expect(log.maxMessageBytes).toBe(1000);
    const id = 'x'.repeat(256);
    expect(await append(log, { id, data: new Uint8Array(1000) })).toMatchObject({ type: 'stored' });
    const large = { type: 'refused', error: { code: 'MESSAGE_TOO_LARGE' } };
    expect(await append(log, { id: 'a:2', data: new Uint8Array(1001) })).toMatchObject(large);
    const other = nats.log(log.cluster, { maxMessageBytes: 2000 });
    // Not opened, so it doesn't know the stream's limit: the log itself says no.
    expect(await append(other, { id: 'a:3', data: new Uint8Array(1900) })).toMatchObject({ type: 'stored' });
    expect(await append(nats.log(log.cluster), { id: 'a:4', data: new Uint8Array(9000) })).toMatchObject(
      large,
    );
  });

  it('refuses when the log is full, and keeps what it has', async () => {
    const log = await openNew({ maxLogBytes: 10_000 });
    const results = await Promise.all(
      [1, 2, 3, 4].map((n) => append(log, { id: `a:${n}`, data: new Uint8Array(3000) })),
    );
    expect(results.at(-1)).toMatchObject({
      type: 'refused',
      error: {
        code: 'LOG_REFUSED',
        retriable: true,
        message: expect.stringMatching(/Raise max_bytes of its/),
      },
    });
    expect((await log.identity()).firstSeq).toBe(1);
  });
});

it('append names the limit that the server itself has reached', async () => {
  const small = await Fixture.start({ maxFileStore: 200_000 });
  try {
    const log = (await small.connect()).log('small');
    await log.open({ create: true });
    let result: AppendResult = { type: 'stored', seq: 1, duplicate: false };
    for (let n = 0; result.type === 'stored' && n < 20; n++)
      result = await append(log, { id: `a:${n}`, data: new Uint8Array(20_000) });
    expect(result).toMatchObject({
      type: 'refused',
      error: { code: 'LOG_REFUSED', retriable: true, message: expect.stringMatching(/max_file_store/) },
    });
  } finally {
    await small.stop();
  }
});

describe('append with an expected last sequence', () => {
  it('refuses when somebody else has appended, and says where the log ends', async () => {
    const log = await openNew();
    expect(await append(log, { id: 'a:1', expectedLastSeq: 1 })).toMatchObject({ type: 'stored', seq: 2 });
    expect(await append(log, { id: 'b:1', expectedLastSeq: 1 })).toMatchObject({
      type: 'refused',
      lastSeq: 2,
      error: { code: 'LOG_REFUSED', retriable: true },
    });
    expect(await append(log, { id: 'b:1', expectedLastSeq: 7 })).toMatchObject({
      type: 'refused',
      lastSeq: 2,
    });
  });

  it('I3: knows its own entry again after the dedupe window', async () => {
    const log = await openNew({ dedupeWindowMs: 100 });
    await append(log, { id: 'a:1', expectedLastSeq: 1 });
    await fill(log, 3, 'b');
    await eventually('the window to end', async () => {
      const again = await append(log, { id: 'a:1', expectedLastSeq: 1 });
      expect(again).toEqual({ type: 'stored', seq: 2, duplicate: true });
      // Forgotten by the server: an append without expectation is stored a second time.
      const copy = await append(log, { id: 'b:1' });
      return copy.type === 'stored' && !copy.duplicate;
    });
    expect(await append(log, { id: 'a:1', expectedLastSeq: 1 })).toEqual({
      type: 'stored',
      seq: 2,
      duplicate: true,
    });
  });

  it('I2: refuses a chain from its first broken link on, although later links find the number they expect', async () => {
    const log = await openNew();
    const chain = [1, 2, 3].map((seq) => append(log, { id: `a:${seq}`, expectedLastSeq: seq }));
    expect((await Promise.all(chain)).map(({ type }) => type)).toEqual(['stored', 'stored', 'stored']);
    await append(log, { id: 'intruder', origin: 'other' });
    const broken = [4, 5, 6].map((seq) => append(log, { id: `a:${seq}`, expectedLastSeq: seq }));
    expect((await Promise.all(broken)).map(({ type }) => type)).toEqual(['refused', 'refused', 'refused']);
  });
});

describe('lastOf and get', () => {
  it('give the newest entry of an origin, and any by number', async () => {
    const log = await openNew();
    await fill(log, 3);
    await append(log, { id: 'b:1', origin: 'other' });
    const last = await log.lastOf('writer');
    expect(last).toMatchObject({ seq: 4, origin: 'writer' });
    expect(text(last?.data)).toBe('a:3');
    expect(Math.abs((last?.storedAtMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(await log.lastOf('nobody')).toBeUndefined();
    expect(await log.get(5)).toMatchObject({ seq: 5, origin: 'other' });
    expect(await log.get(6)).toBeUndefined();
    await expect(log.get(0)).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });
});

describe('append without a server', () => {
  it('I3: settles what is under way as unknown when the connection is lost, at once', async () => {
    const log = await openNew();
    await fixture.server.pause();
    const startMs = performance.now();
    const unanswered = Promise.all([1, 2, 3].map((n) => append(log, { id: `a:${n}` })));
    await fixture.server.kill();
    const results = await unanswered;
    expect(performance.now() - startMs).toBeLessThan(2000);
    expect(results.map(({ type }) => type)).toEqual(['unknown', 'unknown', 'unknown']);
    await eventually('the client to notice', () => log.connection === 'disconnected');
    // Nothing is kept for later: the caller sends it again, in order.
    expect(await append(log, { id: 'a:4' })).toMatchObject({
      type: 'refused',
      error: { code: 'LOG_UNAVAILABLE', retriable: true },
    });
    await expect(log.identity()).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await expect(log.lastOf('writer')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await fixture.server.restart();
    await eventually('the reconnect', () => log.connection === 'connected', 3000);
    expect((await log.identity()).lastSeq).toBe(1);
  });

  it('I3: is unknown after its time limit although it is stored, which the log then tells', async () => {
    const log = await openNew({ appendTimeoutMs: 300 });
    await append(log, { id: 'a:1', expectedLastSeq: 1 });
    await fixture.server.pause();
    expect(await append(log, { id: 'a:2', expectedLastSeq: 2 })).toMatchObject({
      type: 'unknown',
      error: { code: 'TIMEOUT' },
    });
    fixture.server.resume();
    await eventually('the late entry', async () => (await log.identity()).lastSeq === 3);
    expect(await append(log, { id: 'a:2', expectedLastSeq: 2 })).toEqual({
      type: 'stored',
      seq: 3,
      duplicate: true,
    });
    expect(text((await log.lastOf('writer'))?.data)).toBe('a:2');
  });

  it('refuses after it was closed', async () => {
    const log = await openNew();
    await log.close();
    await log.close();
    expect(log.connection).toBe('closed');
    expect(await append(log, { id: 'a:1' })).toMatchObject({ type: 'refused', error: { code: 'CLOSED' } });
    await expect(log.identity()).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
