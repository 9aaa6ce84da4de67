import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { append, fill, Fixture } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';
import { Follower } from '../testing/follower.js';
import { Writer } from '../testing/writer.js';
import type { JetStreamLog } from './jetstream-log.js';

let fixture: Fixture;
let nats: NatsHandle;
let log: JetStreamLog;
let generation: string;
beforeEach(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect();
  log = nats.log('shop');
  ({ generation } = await log.open({ create: true }));
});
afterEach(() => fixture.stop());

async function follow(durable?: string): Promise<Follower> {
  const options = { generation, fromSeq: 2, ...(durable === undefined ? {} : { durable }) };
  return new Follower(await log.read(options));
}

describe('kill -9 of the server', () => {
  it(
    'I2: readers go on without loss or repetition within 3 s of its return, again and again',
    { timeout: 60_000 },
    async () => {
      const followers = [await follow('replica_a'), await follow('replica_b'), await follow()];
      const writers = [new Writer(log, 'x'), new Writer(log, 'y'), new Writer(log, 'z')];
      for (let round = 0; round < 6; round += 1) {
        const before = writers.map(({ ids }) => ids.length);
        await eventually('the writers', () =>
          writers.every(({ ids }, n) => ids.length > (before[n] ?? 0) + 20),
        );
        await fixture.server.kill();
        // Sometimes long enough for the client to have tried in vain.
        await new Promise((resolve) => setTimeout(resolve, round * 150));
        await fixture.server.restart();
        const backMs = performance.now();
        const last = followers.map(({ entries }) => entries.length);
        await eventually(
          'the readers to go on',
          () => followers.every(({ entries }, n) => entries.length > (last[n] ?? 0)),
          3000,
        );
        expect(performance.now() - backMs).toBeLessThan(3000);
      }
      await Promise.all(writers.map((writer) => writer.stop()));
      const { lastSeq } = await log.identity();
      await eventually('all readers to be at the end', () =>
        followers.every((follower) => follower.lastSeq === lastSeq),
      );
      expect(followers.map(({ failure }) => failure)).toEqual([undefined, undefined, undefined]);
      const stored = followers[0]!.ids;
      for (const { ids } of writers) {
        const mine = stored.filter((id) => id.startsWith(ids[0]!.slice(0, 2)));
        // A lost answer is followed by a second try: the dedupe window makes one entry of both.
        expect(mine.slice(0, ids.length)).toEqual(ids);
      }
      for (const other of followers.slice(1)) expect(other.ids).toEqual(stored);
    },
  );

  it('I3: every append settles, and what the log acknowledged is there', { timeout: 60_000 }, async () => {
    const stored: string[] = [];
    let waiting = 0;
    let sent = 0;
    for (let round = 0; round < 3; round += 1) {
      let killed = false;
      const flood = (async () => {
        while (!killed) {
          for (let n = 0; n < 200; n += 1) {
            const id = `a:${(sent += 1)}`;
            waiting += 1;
            void append(log, { id }).then((result) => {
              waiting -= 1;
              if (result.type === 'stored') stored.push(id);
            });
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      const before = stored.length;
      await eventually('the flood', () => stored.length > before + 5000);
      await fixture.server.kill();
      killed = true;
      await flood;
      await eventually('every append to settle', () => waiting === 0, 2000);
      await fixture.server.restart();
      await eventually('the reconnect', () => nats.status === 'connected', 3000);
    }
    const follower = await follow();
    const { lastSeq } = await log.identity();
    await eventually('the end of the log', () => follower.lastSeq === lastSeq, 20_000);
    const inLog = new Set(follower.ids);
    expect(stored.filter((id) => !inLog.has(id))).toEqual([]);
  });

  it('I14: a server that comes back with less than it had acknowledged is noticed', async () => {
    await fill(log, 50);
    const { storeDir } = fixture.server;
    await fixture.server.stop();
    cpSync(join(storeDir, 'jetstream'), join(storeDir, 'older'), { recursive: true });
    await fixture.server.restart();
    await eventually('the reconnect', () => nats.status === 'connected', 3000);
    await fill(log, 50, 'b');
    const follower = await follow('replica_a');
    await eventually('the entries', () => follower.lastSeq === 101);
    await fixture.server.kill();
    // As after a power cut that took what was not fsynced, or a restored disk.
    rmSync(join(storeDir, 'jetstream'), { recursive: true });
    renameSync(join(storeDir, 'older'), join(storeDir, 'jetstream'));
    await fixture.server.restart();
    await eventually('the notice', () => follower.failure !== undefined, 3000);
    expect(follower.failure).toMatchObject({
      code: 'LOG_REPLACED',
      message: /ends at entry 51\. It had 101/,
    });
    await expect(log.identity()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
    expect(await append(log, { id: 'c:1' })).toMatchObject({
      type: 'refused',
      error: { code: 'LOG_REPLACED' },
    });
  });
});

describe('SIGSTOP of the server', () => {
  it(
    'I2: for 10 s, then all goes on within 3 s without loss or repetition',
    { timeout: 60_000 },
    async () => {
      const followers = [await follow('replica_a'), await follow()];
      const writer = new Writer(log, 'x');
      await eventually('the writer', () => writer.ids.length > 50);
      await fixture.server.pause();
      await eventually('the client to notice', () => log.connection === 'disconnected', 5000);
      await new Promise((resolve) => setTimeout(resolve, 7000));
      fixture.server.resume();
      const before = followers.map(({ entries }) => entries.length);
      await eventually(
        'the readers',
        () => followers.every(({ entries }, n) => entries.length > (before[n] ?? 0)),
        3000,
      );
      await writer.stop();
      const { lastSeq } = await log.identity();
      await eventually('the end of the log', () =>
        followers.every((follower) => follower.lastSeq === lastSeq),
      );
      const stored = followers[0]!.ids;
      expect(stored.slice(0, writer.ids.length)).toEqual(writer.ids);
    },
  );
});

describe('closing', () => {
  it.each(['running', 'killed', 'paused'] as const)(
    'takes at most two seconds with a server that is %s',
    async (state) => {
      const follower = await follow('replica_a');
      const waiting = append(log, { id: 'a:1' });
      if (state === 'killed') await fixture.server.kill();
      if (state === 'paused') await fixture.server.pause();
      const startMs = performance.now();
      await nats.close();
      expect(performance.now() - startMs).toBeLessThan(2000);
      await nats.close();
      expect(['stored', 'unknown']).toContain((await waiting).type);
      await eventually('the reader to end', () => follower.failure !== undefined);
      expect(follower.failure).toMatchObject({ code: 'CLOSED' });
      expect(log.connection).toBe('closed');
      expect(nats.status).toBe('closed');
      if (state === 'paused') fixture.server.resume();
    },
  );
});
