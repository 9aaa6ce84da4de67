import { DatabaseSync } from 'node:sqlite';
import type { AntiphonError } from '@antiphon/core';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import type { Client } from './client.js';
import { connect } from './connect.js';

const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)';
const topology = { mode: 'primary-replica', primary: 'a' } as const;
const FAILOVER = { failover: { mode: 'manual' }, update: { mode: 'sync' } };
const SILENCE_MS = 300;
const ONE = [{ sql: "INSERT INTO t VALUES (1, 'x')" }];
const COUNT = 'SELECT count(*) AS n FROM t';
const patient = { timeoutMs: 30_000 };

let cluster: TestCluster;
let client: Client;

afterEach(async () => {
  await client.close();
  await cluster[Symbol.asyncDispose]();
});

async function start(options: object = FAILOVER): Promise<void> {
  cluster = await TestCluster.start({
    ...{ schema, replicas: ['a', 'b', 'c'] },
    options: { topology, limits: { beatMs: 100 }, ...options },
  });
  const balance = { silenceMs: SILENCE_MS };
  client = await connect({ cluster: cluster.name, servers: cluster.broker.url!, balance });
}

const areSilent = (): boolean => client.explain().despite !== undefined;

async function rows(): Promise<readonly unknown[]> {
  return client.query(COUNT, [], { consistency: 'strong', integers: 'number', ...patient });
}

const failure = (work: Promise<unknown>): Promise<AntiphonError> =>
  work.then(
    () => Promise.reject(new Error('It did not fail.')),
    (error: unknown) => error as AntiphonError,
  );

describe('a write while NATS is away', () => {
  it.each([['may change', FAILOVER] as const, ['never changes', {}] as const])(
    'I10: is written once NATS is back, where the primary %s',
    { timeout: 60_000 },
    async (_, options) => {
      await start(options);
      await cluster.broker.stop();
      const written = client.execute(ONE, patient);
      await eventually('nobody is heard', areSilent, 10_000);
      // Long enough to ask everybody whom there is to ask.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await cluster.broker.start();
      expect(await written).toMatchObject({ outcome: 'committed', value: [1] });
      expect(await rows()).toEqual([{ n: 1 }]);
    },
  );

  it('I10: that was sent before is written once', { timeout: 60_000 }, async () => {
    await start();
    using locked = new DatabaseSync(cluster.file('a'), { timeout: 0 });
    locked.exec('BEGIN IMMEDIATE');
    const written = client.execute(ONE, patient);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await cluster.broker.stop();
    await eventually('nobody is heard', areSilent, 10_000);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await cluster.broker.start();
    await new Promise((resolve) => setTimeout(resolve, 500));
    locked.exec('COMMIT');
    expect(await written).toMatchObject({ outcome: 'committed', value: [1] });
    expect(await rows()).toEqual([{ n: 1 }]);
  });

  it.each([['may change', FAILOVER] as const, ['never changes', {}] as const])(
    'I10: that was not sent in time was certainly not written, where the primary %s',
    { timeout: 60_000 },
    async (_, options) => {
      await start(options);
      await cluster.broker.stop();
      await eventually('nobody is heard', areSilent, 10_000);
      const error = await failure(client.execute(ONE, { timeoutMs: 1500 }));
      expect(error).toMatchObject({ code: 'LOG_UNAVAILABLE', retriable: true });
      expect(error.message).toContain('Nothing was written.');
      const ending = new AbortController();
      const ended = failure(client.execute(ONE, { ...patient, signal: ending.signal }));
      setTimeout(() => ending.abort(), 300);
      expect(await ended).toMatchObject({ code: 'ABORTED' });
      await cluster.broker.start();
      expect(await rows()).toEqual([{ n: 0 }]);
    },
  );

  it('I10: whose signal has ended is not sent', async () => {
    await start();
    const signal = AbortSignal.abort();
    expect(await failure(client.execute(ONE, { signal }))).toMatchObject({ code: 'ABORTED' });
    expect(await rows()).toEqual([{ n: 0 }]);
  });
});
