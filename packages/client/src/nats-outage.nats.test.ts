import { DatabaseSync } from 'node:sqlite';
import type { AntiphonError, LoggedChange } from '@antiphon/core';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { parseCursor } from './changes/log-changes.js';
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
      // Its process and its connections end in one turn of the event loop, in either order.
      await new Promise((resolve) => setTimeout(resolve, 50));
      const written = client.execute(ONE, patient);
      // What comes of it is looked at below.
      written.catch(() => undefined);
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

describe('a stream of changes', () => {
  const insert = async (from: number, to: number): Promise<void> => {
    for (let id = from; id <= to; id++)
      await cluster.replica('a').execute([{ sql: "INSERT INTO t VALUES (?, 'x')", params: [id] }]);
  };

  it('goes on over a restart of NATS', { timeout: 60_000 }, async () => {
    await start();
    await insert(1, 200);
    const problems: string[] = [];
    const onProblem = (message: string): void => void problems.push(message);
    const seen: number[] = [];
    for await (const { key } of client.changes({ from: 'beginning', onProblem })) {
      seen.push(Number(key['id']));
      if (seen.length === 1) {
        await cluster.broker.stop();
        // What the rules are is looked up again after a second.
        await new Promise((resolve) => setTimeout(resolve, 1100));
        setTimeout(() => void cluster.broker.start().then(() => insert(201, 210)), 1500);
      }
      if (seen.length === 210) break;
    }
    expect(seen).toEqual(Array.from({ length: 210 }, (_, index) => index + 1));
    expect(problems.join()).toMatch(
      /^The connection to NATS .* is down.* The changes go on when it is back\.$/,
    );
  });

  it('goes on after a change whose cursor it is given, and takes nothing else', async () => {
    await start({});
    await insert(1, 3);
    const taken: LoggedChange[] = [];
    for await (const change of client.changes({ from: 'beginning' })) if (taken.push(change) === 3) break;
    const from = taken[0]!.cursor;
    const { value } = await client.changes({ from }).next();
    expect(value).toEqual(taken[1]);
    const begun = client.changes({ from: parseCursor(from) });
    expect((await begun.next()).value).toEqual(taken[1]);
    for (const wrong of ['start', '', 5, {}, null] as never[]) {
      const error = await failure(client.changes({ from: wrong }).next());
      expect(error).toMatchObject({ code: 'BAD_OPTION', retriable: false });
      expect(error.message).toMatch(/from/);
    }
  });

  it('needs no options', async () => {
    await start({});
    const changes = client.changes();
    const next = changes.next();
    let id = 0;
    const writing = setInterval(() => void insert(++id, id).catch(() => undefined), 100);
    expect((await next).value).toMatchObject({ table: 't', op: 'insert' });
    clearInterval(writing);
    await changes.return();
  });
});

describe('a client that was closed', () => {
  const closed = { code: 'CLOSED', message: expect.stringContaining('Connect again.') as string };

  it('says so at once, whatever is asked of it', async () => {
    await start({});
    const session = client.session();
    await client.close();
    const beganMs = performance.now();
    for (const work of [
      () => client.query(COUNT),
      () => client.read(COUNT, [], { consistency: 'strong' }),
      () => client.execute(ONE),
      () => session.execute(ONE),
      () => session.query(COUNT),
      () => client.status(),
      () => client.changes().next(),
      async () => client.explain(),
    ])
      expect(await failure(work())).toMatchObject(closed);
    expect(performance.now() - beganMs).toBeLessThan(1000);
  });

  it.each([['may change', FAILOVER] as const, ['never changes', {}] as const])(
    'ends what is under way, where the primary %s',
    { timeout: 60_000 },
    async (_, options) => {
      await start(options);
      using locked = new DatabaseSync(cluster.file('a'), { timeout: 0 });
      locked.exec('BEGIN IMMEDIATE');
      const write = failure(client.execute(ONE, patient));
      const following = failure(client.changes().next());
      const slow =
        'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 30000000) SELECT count(*) FROM n';
      const read = failure(client.query(slow, [], patient));
      await eventually('they are asked', () =>
        client.explain().replicas.some(({ outstanding }) => outstanding > 0),
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
      await client.close();
      const beganMs = performance.now();
      expect(await read).toMatchObject(closed);
      expect(await following).toMatchObject(closed);
      // It was sent: that it was closed does not say that it is not written.
      expect((await write).message).toMatch(/may or may not be committed/);
      expect(performance.now() - beganMs).toBeLessThan(1000);
    },
  );

  it('ends what waits for NATS', { timeout: 60_000 }, async () => {
    await start();
    await cluster.broker.stop();
    await eventually('nobody is heard', areSilent, 10_000);
    const waiting = [client.execute(ONE, patient), client.query(COUNT, [], patient)].map(failure);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await client.close();
    const beganMs = performance.now();
    for (const error of await Promise.all(waiting)) expect(error).toMatchObject(closed);
    expect(performance.now() - beganMs).toBeLessThan(1000);
    await cluster.broker.start();
  });
});
