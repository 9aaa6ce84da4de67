import type { LogReader } from '@antiphon/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { append, bytes, fill, Fixture, readTo, text } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';
import type { JetStreamLog } from './jetstream-log.js';
import type { LogOptions } from './log-options.js';

let fixture: Fixture;
let nats: NatsHandle;
let clusters = 0;
const problems: Error[] = [];
beforeAll(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect({ onProblem: (problem) => problems.push(problem) });
});
afterAll(() => fixture.stop());

interface Opened {
  readonly log: JetStreamLog;
  readonly stream: string;
  read(fromSeq: number, durable?: string): Promise<LogReader>;
}

async function openNew(options: LogOptions = {}): Promise<Opened> {
  const cluster = `c${(clusters += 1)}`;
  const log = nats.log(cluster, { checkIntervalMs: 200, ...options });
  const { generation } = await log.open({ create: true });
  const read = (fromSeq: number, durable?: string): Promise<LogReader> =>
    log.read({ generation, fromSeq, ...(durable === undefined ? {} : { durable }) });
  return { log, stream: `ANTIPHON_${cluster}`, read };
}

async function jetstream(operation: string, body?: object): Promise<Record<string, unknown>> {
  const data = body === undefined ? new Uint8Array(0) : bytes(JSON.stringify(body));
  const reply = await nats.connection.request(`$JS.API.${operation}`, data, { timeout: 5000 });
  return reply.json();
}

async function floorOf(stream: string, consumer: string): Promise<number> {
  return (await nats.api.consumerInfo(stream, consumer))?.ack_floor.stream_seq ?? -1;
}

const all = { maxEntries: 1000, maxBytes: 1_000_000 };

const BACKLOG = 100_000;
let backlog: Promise<Opened> | undefined;

/** A log with a backlog far over what a reader may keep; filled once. */
async function openBacklog(): Promise<Opened> {
  const opened = await openNew({ maxReadAheadBytes: 4_300_000, maxReadAheadEntries: 4000 });
  await fill(opened.log, BACKLOG, 'a', new Uint8Array(300));
  return opened;
}

describe.each([{ durable: 'replica_x' }, { durable: undefined }])(
  'reading with durable $durable',
  ({ durable }) => {
    it('I2: gives every entry once and in order, from any place, and then what comes', async () => {
      const { log, read } = await openNew();
      await fill(log, 5000);
      const reader = await read(1, durable);
      const entries = await readTo(reader, 2, 5001);
      expect(entries.map(({ data }) => text(data))).toEqual(
        Array.from({ length: 5000 }, (_, n) => `a:${n + 1}`),
      );
      expect(entries[0]).toMatchObject({ seq: 2, origin: 'writer' });
      expect(Math.abs((entries[0]?.storedAtMs ?? 0) - Date.now())).toBeLessThan(60_000);
      const next = reader.next(all);
      await append(log, { id: 'b:1' });
      expect((await next).map(({ seq }) => seq)).toEqual([5002]);
      await reader.close();
      const later = await read(4000, durable);
      expect((await readTo(later, 4000, 5002)).length).toBe(1003);
      await later.close();
    });

    it('keeps the limits of next, but gives at least one entry', async () => {
      const { log, read } = await openNew();
      await fill(log, 10, 'a', new Uint8Array(1000));
      const reader = await read(2, durable);
      await eventually(
        'the first',
        async () => (await reader.next({ maxEntries: 1, maxBytes: 1 })).length === 1,
      );
      expect((await reader.next({ maxEntries: 3, maxBytes: 100_000 })).length).toBeLessThanOrEqual(3);
      expect((await reader.next({ maxEntries: 100, maxBytes: 2500 })).length).toBeLessThanOrEqual(2);
      expect((await reader.next({ maxEntries: 100, maxBytes: 10 })).length).toBe(1);
      await reader.close();
    });

    it('I14: rejects next soon when the stream is deleted', async () => {
      const { log, stream, read } = await openNew();
      await fill(log, 10);
      const reader = await read(2, durable);
      await readTo(reader, 2, 11);
      const next = reader.next(all);
      const startMs = performance.now();
      await jetstream(`STREAM.DELETE.${stream}`);
      await expect(next).rejects.toMatchObject({ code: 'LOG_REPLACED' });
      expect(performance.now() - startMs).toBeLessThan(3000);
      await expect(reader.next(all)).rejects.toMatchObject({ code: 'LOG_REPLACED' });
      await reader.close();
    });

    it('I14: rejects next when the stream is deleted and created anew, and gives nothing of the new one', async () => {
      const { log, read, stream } = await openNew();
      await fill(log, 10);
      const reader = await read(2, durable);
      await readTo(reader, 2, 11);
      const next = reader.next(all);
      await jetstream(`STREAM.DELETE.${stream}`);
      const other = nats.log(log.cluster);
      await other.open({ create: true });
      await fill(other, 100, 'new');
      await expect(next).rejects.toMatchObject({ code: 'LOG_REPLACED' });
      await reader.close();
    });

    it('I14: rejects next when entries that it still needs are purged, goes on when it needs them no more', async () => {
      const { log, stream, read } = await openNew();
      await fill(log, 10);
      const reader = await read(2, durable);
      await readTo(reader, 2, 11);
      await jetstream(`STREAM.PURGE.${stream}`);
      await fill(log, 3, 'b');
      expect((await readTo(reader, 12, 14)).length).toBe(3);
      await reader.close();
      await expect(read(5, durable)).rejects.toMatchObject({ code: 'LOG_REPLACED', message: /begins at 12/ });
    });

    it('I14: rejects next when an entry was removed from the middle', async () => {
      const { log, stream, read } = await openNew();
      await fill(log, 20);
      await jetstream(`STREAM.MSG.DELETE.${stream}`, { seq: 10 });
      const reader = await read(2, durable);
      const entries: number[] = [];
      const reading = (async () => {
        for (;;) entries.push(...(await reader.next(all)).map(({ seq }) => seq));
      })();
      await expect(reading).rejects.toMatchObject({ code: 'LOG_REPLACED', message: /Entry 10 was removed/ });
      expect(entries).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
      await reader.close();
    });

    it('I14: does not read another generation, or beyond the end', async () => {
      const { log, read } = await openNew();
      const wrong = { generation: 'another', fromSeq: 2, ...(durable === undefined ? {} : { durable }) };
      await expect(log.read(wrong)).rejects.toMatchObject({ code: 'LOG_REPLACED' });
      await expect(read(3, durable)).rejects.toMatchObject({ code: 'LOG_REPLACED', message: /ends at 1/ });
      await expect(read(0, durable)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    });

    it('I2: goes on after the consumer was deleted', async () => {
      const { log, stream, read } = await openNew();
      await fill(log, 100);
      const reader = await read(2, durable);
      await readTo(reader, 2, 101);
      for (let round = 0; round < 3; round += 1) {
        const { consumers } = (await jetstream(`CONSUMER.NAMES.${stream}`)) as { consumers: string[] };
        for (const consumer of consumers) await jetstream(`CONSUMER.DELETE.${stream}.${consumer}`);
        await fill(log, 100, `b${round}`);
        await readTo(reader, 102 + round * 100, 201 + round * 100);
      }
      await reader.close();
    });

    it('ends a waiting next when it is closed or aborted', async () => {
      const { log, read } = await openNew();
      const reader = await read(2, durable);
      const giveUp = new AbortController();
      const next = reader.next({ ...all, signal: giveUp.signal });
      await expect(reader.next(all)).rejects.toMatchObject({ code: 'BAD_OPTION' });
      giveUp.abort();
      await expect(next).rejects.toMatchObject({ code: 'ABORTED' });
      await append(log, { id: 'a:1' });
      expect(await readTo(reader, 2, 2)).toHaveLength(1);
      const last = expect(reader.next(all)).rejects.toMatchObject({ code: 'CLOSED' });
      await reader.close();
      await reader.close();
      await last;
      await expect(reader.next(all)).rejects.toMatchObject({ code: 'CLOSED' });
      reader.ack(2);
    });

    it('I11: keeps memory bounded when the caller is slow', async () => {
      backlog ??= openBacklog();
      const { read } = await backlog;
      const reader = await read(2, durable);
      const received = nats.connection.stats().inMsgs;
      await reader.next({ maxEntries: 1, maxBytes: 1 });
      await eventually('the read-ahead to fill', () => nats.connection.stats().inMsgs - received >= 4000);
      // Twice the interval in which the guard looks: nothing more comes although there is much
      // more.
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(nats.connection.stats().inMsgs - received).toBeLessThan(4200);
      await readTo(reader, 3, BACKLOG + 1);
      await reader.close();
    });
  },
);

describe('the durable consumer', () => {
  it('shows how far the caller is, with few acknowledgements', async () => {
    const { log, stream, read } = await openNew();
    await fill(log, 3000);
    const reader = await read(2, 'replica_x');
    const sent = nats.connection.stats().outMsgs;
    for (const { seq } of await readTo(reader, 2, 3001)) if (seq <= 2500) reader.ack(seq);
    await eventually('the acknowledgement', async () => (await floorOf(stream, 'replica_x')) === 2500);
    const info = await nats.api.consumerInfo(stream, 'replica_x');
    expect(info).toMatchObject({
      num_ack_pending: 501,
      num_redelivered: 0,
      config: { durable_name: 'replica_x' },
    });
    expect(info?.config.inactive_threshold).toBeUndefined();
    expect(nats.connection.stats().outMsgs - sent).toBeLessThan(40);
    reader.ack(2600);
    await reader.close();
    await eventually('the last acknowledgement', async () => (await floorOf(stream, 'replica_x')) === 2600);
  });

  it('I1: never outranks the position: ahead, behind, or with another filter it is made anew', async () => {
    const { log, stream, read } = await openNew();
    await fill(log, 100);
    const first = await read(2, 'replica_x');
    await readTo(first, 2, 101);
    first.ack(101);
    await first.close();
    await eventually('the acknowledgement', async () => (await floorOf(stream, 'replica_x')) === 101);
    const behind = await read(50, 'replica_x');
    expect((await readTo(behind, 50, 101)).length).toBe(52);
    // Delivered, not acknowledged: it must not wait for a redelivery.
    await behind.close();
    const ahead = await read(90, 'replica_x');
    expect((await readTo(ahead, 90, 101)).length).toBe(12);
    ahead.ack(101);
    await ahead.close();
    await jetstream(`CONSUMER.DELETE.${stream}.replica_x`);
    await jetstream(`CONSUMER.CREATE.${stream}.replica_x`, {
      stream_name: stream,
      config: {
        durable_name: 'replica_x',
        ack_policy: 'explicit',
        filter_subject: `antiphon.${log.cluster}.log.nobody`,
      },
    });
    const foreign = await read(2, 'replica_x');
    expect((await readTo(foreign, 2, 101)).length).toBe(100);
    await foreign.close();
  });

  it.each([
    ['headers_only', { headers_only: true }],
    ['max_ack_pending and max_deliver', { max_ack_pending: 1, max_deliver: 1 }],
    ['max_batch', { max_batch: 1 }],
    ['max_bytes', { max_bytes: 100 }],
    ['max_expires', { max_expires: 1_000_000_000 }],
    ['a filter', { filter_subject: 'antiphon.FILTERED.log.nobody' }],
  ])('I1, I2: is made anew where somebody edits it: %s', async (what, edit) => {
    const { log, stream, read } = await openNew();
    await fill(log, 10);
    const reader = await read(2, 'replica_x');
    await readTo(reader, 2, 11);
    reader.ack(11);
    const before = problems.length;
    const editIt = async (): Promise<void> => {
      const { config } = (await nats.api.consumerInfo(stream, 'replica_x')) ?? {};
      const text = JSON.stringify({ stream_name: stream, config: { ...config, ...edit } });
      const request = JSON.parse(text.replace('FILTERED', log.cluster)) as object;
      const answer = await jetstream(`CONSUMER.DURABLE.CREATE.${stream}.replica_x`, request);
      expect(answer['error']).toBeUndefined();
    };
    await editIt();
    await fill(log, 20, 'b');
    const entries = await readTo(reader, 12, 31);
    expect(entries.map(({ data }) => text(data))).toEqual(Array.from({ length: 20 }, (_, n) => `b:${n + 1}`));
    if (what === 'headers_only')
      expect(problems.slice(before)).toContainEqual(
        expect.objectContaining({ message: expect.stringContaining('replica_x') as string }),
      );
    reader.ack(31);
    await reader.close();
    await eventually('the acknowledgement', async () => (await floorOf(stream, 'replica_x')) === 31);
    await editIt();
    const later = await read(32, 'replica_x');
    await fill(log, 5, 'c');
    expect((await readTo(later, 32, 36)).map(({ data }) => text(data))).toContain('c:5');
    await later.close();
  });

  it('is left alone however often others look at the log while entries are on their way', async () => {
    const { log, stream, read } = await openNew();
    const reader = await read(1, 'replica_x');
    let setUps = 0;
    const subscription = nats.connection.subscribe(`$JS.API.CONSUMER.INFO.${stream}.replica_x`, {
      callback: () => setUps++,
    });
    const written = { isOver: false };
    const look = async (): Promise<void> => {
      while (!written.isOver) await log.identity();
    };
    const looking = Promise.all([look(), look()]);
    const reading = readTo(reader, 2, 2001);
    for (let n = 1; n <= 2000; n++) await append(log, { id: `a:${n}` });
    expect(await reading).toHaveLength(2000);
    written.isOver = true;
    await looking;
    expect(setUps).toBe(0);
    subscription.unsubscribe();
    await reader.close();
  });

  it('is kept when it agrees', async () => {
    const { log, stream, read } = await openNew();
    await fill(log, 10);
    const reader = await read(2, 'replica_x');
    await readTo(reader, 2, 11);
    reader.ack(11);
    await reader.close();
    await eventually('the acknowledgement', async () => (await floorOf(stream, 'replica_x')) === 11);
    const { created } = (await nats.api.consumerInfo(stream, 'replica_x')) ?? {};
    const again = await read(12, 'replica_x');
    await fill(log, 5, 'b');
    await readTo(again, 12, 16);
    again.ack(16);
    await eventually('the acknowledgement', async () => (await floorOf(stream, 'replica_x')) === 16);
    expect((await nats.api.consumerInfo(stream, 'replica_x'))?.created).toBe(created);
    await again.close();
  });

  it('I2: both go on when two processes run under one id', async () => {
    const { log, read } = await openNew();
    await fill(log, 500);
    const readers = await Promise.all([read(2, 'replica_x'), read(2, 'replica_x')]);
    const reading = Promise.all(readers.map((reader) => readTo(reader, 2, 1501)));
    await fill(log, 1000, 'b');
    await reading;
    await Promise.all(readers.map((reader) => reader.close()));
  });

  it.each(['a b', 'a.b', '', '>', 'x'.repeat(81)])('refuses the name %j', async (name) => {
    const { read } = await openNew();
    await expect(read(2, name)).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('an ephemeral one is removed on close', async () => {
    const { stream, read } = await openNew();
    const reader = await read(2);
    await reader.close();
    expect(await jetstream(`CONSUMER.NAMES.${stream}`)).toMatchObject({ total: 0 });
  });
});

describe('hostile messages', () => {
  it('I15: are delivered like any other, and forged statuses and acks disturb nothing', async () => {
    const { log, read } = await openNew();
    const reader = await read(2, 'replica_x');
    const subject = `antiphon.${log.cluster}.log.`;
    const { connection } = nats;
    const { headers } = await import('nats');
    const forged = headers(409, 'Consumer Deleted');
    connection.publish(`${subject}a.b.c`, bytes('deep'));
    connection.publish(`${subject}_log`, bytes('not the identity'));
    connection.publish(`${subject}empty`);
    connection.publish(`${subject}forged`, undefined, { headers: forged });
    const sized = headers();
    sized.set('Nats-Msg-Size', '7');
    connection.publish(`${subject}sized`, undefined, { headers: sized });
    const entries = await readTo(reader, 2, 6);
    expect(entries.map(({ origin }) => origin)).toEqual(['c', '_log', 'empty', 'forged', 'sized']);
    expect((await log.identity()).lastSeq).toBe(6);
    await reader.close();
  });
});
