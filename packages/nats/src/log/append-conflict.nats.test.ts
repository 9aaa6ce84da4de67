import type { AppendResult } from '@antiphon/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats, type NatsHandle } from '../connection/nats-handle.js';
import { ApiError } from '../jetstream/api-error.js';
import { append, fill, Fixture, text } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';
import { ServerCluster } from '../testing/server-cluster.js';
import { explainConflict } from './append-conflict.js';
import type { JetStreamLog } from './jetstream-log.js';
import { LogGuard } from './log-guard.js';

const CLUSTER_START_MS = 30_000;

describe('an append that was refused for its expectation', () => {
  let fixture: Fixture;
  let nats: NatsHandle;
  beforeAll(async () => {
    fixture = await Fixture.start();
    nats = await fixture.connect();
  });
  afterAll(() => fixture.stop());

  it('I3: is known again after the dedupe window, also below a newer entry', async () => {
    const log = nats.log('forgetful', { dedupeWindowMs: 100 });
    await log.open({ create: true });
    const first = { id: 'a:1', expectedLastSeqOfOrigin: 0 };
    expect(await append(log, first)).toEqual({ type: 'stored', seq: 2, duplicate: false });
    await append(log, { id: 'other', origin: 'other' });
    await eventually('the window to end', async () => {
      // Forgotten by the server: an append without expectation is stored a second time.
      const copy = await append(log, { id: 'other', origin: 'other' });
      return copy.type === 'stored' && !copy.duplicate;
    });
    const again = { type: 'stored', seq: 2, duplicate: true };
    expect(await append(log, first)).toEqual(again);
    expect(await append(log, { id: 'a:2', expectedLastSeqOfOrigin: 2 })).toMatchObject({ duplicate: false });
    expect(await append(log, first)).toEqual(again);
    expect(await append(log, { id: 'a:3', expectedLastSeqOfOrigin: 0 })).toMatchObject({
      type: 'refused',
      lastSeqOfOrigin: (await log.lastOf('writer'))?.seq,
    });
  });

  it('I14: says so when the entry that it lost its place to was taken out of the log', async () => {
    const log = nats.log('robbed');
    await log.open({ create: true });
    await append(log, { id: 'a:1', expectedLastSeqOfOrigin: 0 });
    await append(log, { id: 'a:2', expectedLastSeqOfOrigin: 2 });
    await append(log, { id: 'other', origin: 'other' });
    const reply = await nats.connection.request(
      '$JS.API.STREAM.MSG.DELETE.ANTIPHON_robbed',
      new TextEncoder().encode(JSON.stringify({ seq: 3 })),
    );
    expect(reply.json()).toMatchObject({ success: true });
    const lastSeqOfOrigin = (await log.lastOf('writer'))?.seq ?? 0;
    expect(await append(log, { id: 'a:3', expectedLastSeqOfOrigin: lastSeqOfOrigin })).toMatchObject({
      type: 'refused',
      error: { code: 'LOG_REFUSED', message: expect.stringMatching(/no longer holds it/) },
      lastSeqOfOrigin,
    });
  });

  it('I3: is unknown when the log cannot be read', async () => {
    const log = nats.log('silent');
    await log.open({ create: true });
    await fill(log, 1);
    const connection = await fixture.connect();
    const watch = { state: 'connected', on: () => () => undefined } as never;
    const { api, requester } = nats;
    const guard = new LogGuard({ api, requester, watch, cluster: 'silent', checkIntervalMs: 60_000 });
    const pending = {
      ...{ id: 'b:1', subject: 'antiphon.silent.log.writer', place: undefined, floor: 0 },
      ...{ expectedLastSeq: undefined, expectedLastSeqOfOrigin: 0 },
    };
    const deps = { api: connection.api, guard, cluster: 'silent' };
    // Newer servers don't say what the last sequence is.
    const constant = new ApiError('the publish', {
      code: 400,
      err_code: 10164,
      description: 'wrong last sequence',
    });
    const inTime = { ...pending, deadlineMs: performance.now() + 5000 };
    expect(constant.wrongLast).toBe(true);
    expect(await explainConflict(constant, inTime, deps)).toMatchObject({
      type: 'refused',
      lastSeqOfOrigin: 2,
    });
    await fixture.server.pause();
    try {
      const late = { ...pending, deadlineMs: performance.now() + 200 };
      expect(await explainConflict(constant, late, deps)).toMatchObject({
        type: 'unknown',
        error: { code: 'LOG_UNAVAILABLE' },
      });
    } finally {
      fixture.server.resume();
    }
  });
});

describe('a replicated stream', () => {
  it(
    'I2: stores exactly one of several that expect the same last entry of an origin',
    async () => {
      const servers = await ServerCluster.start();
      const handles: NatsHandle[] = [];
      try {
        const logs: JetStreamLog[] = [];
        for (const url of servers.urls) {
          await eventually(
            'a server to start',
            () =>
              connectNats({ servers: url }).then(
                (handle) => handles.push(handle) > 0,
                () => false,
              ),
            CLUSTER_START_MS,
          );
        }
        for (const handle of handles) {
          const log = handle.log('shop', { replicas: 3 });
          const opens = (): Promise<boolean> =>
            log.open({ create: true }).then(
              () => true,
              () => false,
            );
          await eventually('the cluster to form', opens, CLUSTER_START_MS);
          logs.push(log);
        }
        await race(logs);
      } finally {
        await Promise.all(handles.map((handle) => handle.close()));
        await servers.stop();
      }
    },
    3 * CLUSTER_START_MS,
  );
});

async function race(logs: readonly JetStreamLog[]): Promise<void> {
  const rounds = 30;
  for (let round = 0, last = 0; round < rounds; round += 1) {
    const sent = logs.flatMap((log, index) =>
      ['x', 'y'].map((name) =>
        append(log, { id: `${name}${index}.${round}`, origin: '_insync', expectedLastSeqOfOrigin: last }),
      ),
    );
    const results = await Promise.all(sent);
    const stored = results.filter((result) => result.type === 'stored');
    expect(results.map(({ type }) => type).filter((type) => type === 'refused')).toHaveLength(5);
    expect(stored).toHaveLength(1);
    last = storedSeq(stored[0]);
    const newest = await logs[round % logs.length]?.lastOf('_insync');
    expect(newest?.seq).toBe(last);
    expect(text(newest?.data)).toMatch(new RegExp(`\\.${round}$`));
  }
}

function storedSeq(result: AppendResult | undefined): number {
  return result?.type === 'stored' ? result.seq : 0;
}
