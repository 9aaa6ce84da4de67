import { DatabaseSync } from 'node:sqlite';
import { UnknownOutcomeError } from '@antiphon/core';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ChosenReplica } from './choose-replica.js';
import { ClusterClient } from './cluster-client.js';
import { type ClusterExecuteOptions, executeInCluster } from './execute-in-cluster.js';

const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)';
const ONE = [{ sql: "INSERT INTO t VALUES (1, 'one')" }];
const TIMEOUT_MS = 20_000;

let cluster: TestCluster;
let client: ClusterClient;
const locks: DatabaseSync[] = [];
const asked: ChosenReplica[] = [];

beforeEach(async () => {
  const topology = { mode: 'primary-replica', primary: 'a' } as const;
  cluster = await TestCluster.start({
    ...{ schema, replicas: ['a', 'b', 'c'] },
    options: { topology, failover: { mode: 'manual' }, update: { mode: 'sync' } },
  });
  client = await ClusterClient.open({ cluster: cluster.name, nats: { servers: [cluster.broker.url!] } });
});

afterEach(async () => {
  unlock();
  asked.length = 0;
  await client.close();
  await cluster[Symbol.asyncDispose]();
});

/** Writes there wait until it ends. */
function lock(id: string): void {
  const database = new DatabaseSync(cluster.file(id), { timeout: 0 });
  locks.push(database);
  database.exec('BEGIN IMMEDIATE');
}

function unlock(): void {
  for (const database of locks.splice(0)) database.close();
}

const execute = (options: Partial<ClusterExecuteOptions> = {}): ReturnType<typeof executeInCluster> =>
  executeInCluster(client, ONE, {
    timeoutMs: TIMEOUT_MS,
    onAsk: (replica) => void asked.push(replica),
    ...options,
  });

const untilAsked = (count: number): Promise<unknown> =>
  eventually(`${count} were asked`, () => asked.length >= count);
const ids = (): readonly string[] => asked.map(({ id }) => id);

async function rows(): Promise<number> {
  const { rows: all } = await client
    .replica('c')
    .ask('query', { sql: 'SELECT count(*) FROM t', params: [], maxRows: 10 });
  return Number(all[0]?.[0]);
}

it('I10: a write whose primary is gone is asked of another replica, and is written once', async () => {
  lock('a');
  const beganMs = performance.now();
  const executed = execute();
  await untilAsked(1);
  await cluster.killReplica('a');
  await untilAsked(2);
  await cluster.replica('b').takeOver();
  const { result, replica, requestId } = await executed;
  expect(performance.now() - beganMs).toBeLessThan(TIMEOUT_MS / 2);
  expect(result).toMatchObject({ outcome: 'committed', value: [1] });
  expect(result).not.toHaveProperty('repeated');
  expect(ids()).toEqual(['a', replica]);
  expect(asked[1]?.instead).toBe(`a does not answer any more. ${replica} is asked under the same id.`);
  expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
  expect(await rows()).toBe(1);
  expect((await execute({ requestId: requestId! })).result).toMatchObject({ repeated: true, value: [1] });
  expect(await rows()).toBe(1);
});

it('I10: one that was named is the only one that is asked, and its end is noticed', async () => {
  lock('a');
  const executed = execute({ replica: 'a', requestId: 'order-1' }).catch((error: unknown) => error);
  await untilAsked(1);
  await cluster.killReplica('a');
  const error = await executed;
  expect(error).toBeInstanceOf(UnknownOutcomeError);
  expect(error).toMatchObject({ id: 'order-1', message: expect.stringMatching(/^a is gone/) as string });
  expect(ids()).toEqual(['a']);
});

it('I10: what the primary refuses is its answer, and nobody else is asked', async () => {
  await execute();
  await expect(execute()).rejects.toMatchObject({ code: 'CONSTRAINT' });
  expect(ids()).toEqual(['a', 'a']);
});

it('I10: a request that can never be certain in time ends with its id', async () => {
  for (const id of ['a', 'b', 'c']) lock(id);
  const executed = execute({ timeoutMs: 3000 }).catch((error: unknown) => error);
  await untilAsked(1);
  for (const id of ['a', 'b', 'c']) await cluster.killReplica(id);
  const error = await executed;
  expect(error).toBeInstanceOf(UnknownOutcomeError);
  expect(String(error)).toMatch(/No replica gave a certain answer within \d+ ms\. The write may or may not/);
});
