import { DatabaseSync } from 'node:sqlite';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterChanges } from './changes/cluster-changes.js';
import type { LoggedChange } from '@antiphon/core';
import { parseCursor } from './changes/log-changes.js';
import { anotherReplica, chooseReplica, witnessFor } from './choose-replica.js';
import { ClusterClient, type ClusterAddress } from './cluster-client.js';
import { askMembers } from './member-answers.js';

const schema = 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT); INSERT INTO orders VALUES (1, 0)';
let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.start({ schema, replicas: ['eu-1', 'eu-2', 'us-1'] });
});
afterAll(() => cluster[Symbol.asyncDispose]());

function open(over: Partial<ClusterAddress> = {}): Promise<ClusterClient> {
  return ClusterClient.open({ cluster: cluster.name, nats: { servers: [cluster.broker.url!] }, ...over });
}

describe('a client of a cluster', () => {
  it('asks the replicas that there are', async () => {
    await using client = await open();
    expect(await client.answering()).toEqual(['eu-1', 'eu-2', 'us-1']);
    const { rows } = await client
      .replica('us-1')
      .ask('query', { sql: 'SELECT id FROM orders', params: [], maxRows: 10 });
    expect(rows).toEqual([[1n]]);
    await expect(client.requireMember('eu-3')).rejects.toThrow('Did you mean');
  });

  it('says which cluster is not there, and where that was looked up', async () => {
    await using nowhere = await open({ cluster: 'nowhere', source: 'the environment' });
    await expect(nowhere.members()).rejects.toMatchObject({ code: 'NO_ACTOR' });
    await expect(nowhere.members()).rejects.toThrow('(looked up in the environment)');
    await using client = await open({ cluster: 'nowhere' });
    await expect(client.members()).rejects.toThrow(/There is no cluster nowhere at nats:[^(]*\. Check/);
  });

  it('chooses who writes, who reads, and who can tell', async () => {
    await using client = await open({ replica: 'us-1' });
    await using without = await open();
    expect((await chooseReplica(without, undefined, 'write')).id).toBe('eu-1');
    expect((await chooseReplica(client, undefined, 'read')).id).toBe('us-1');
    expect((await chooseReplica(client, undefined, 'write')).id).toBe('eu-1');
    expect((await chooseReplica(client, 'eu-2', 'write')).id).toBe('eu-2');
    expect(await witnessFor(client, 'us-1')).toBe('us-1');
    expect(await anotherReplica(client, 'eu-1')).toBe('eu-2');
  });

  it('reads where replication goes on, and says so where it goes on nowhere', async () => {
    await using client = await open();
    const editing = ['eu-1', 'eu-2', 'us-1'].map((id) => new DatabaseSync(cluster.file(id)));
    const stalled = (id: string): Promise<unknown> =>
      eventually(`${id} noticed`, () => cluster.replica(id).healthcheck().ready === false);
    try {
      editing[0]!.exec('ALTER TABLE orders ADD COLUMN extra');
      await stalled('eu-1');
      expect(await chooseReplica(client, undefined, 'read')).toMatchObject({ id: 'eu-2' });
      for (const database of editing.slice(1)) database.exec('ALTER TABLE orders ADD COLUMN extra');
      await Promise.all(['eu-2', 'us-1'].map(stalled));
      const problem = expect.stringMatching(/^eu-1 (holds|has stalled): .*orders/) as string;
      expect(await chooseReplica(client, undefined, 'read')).toMatchObject({ id: 'eu-1', problem });
    } finally {
      for (const database of editing) {
        database.exec('ALTER TABLE orders DROP COLUMN extra');
        database.close();
      }
    }
    await eventually('they go on', async () =>
      (await askMembers(client)).every(
        ({ status }) => status?.holding === undefined && status?.stalled === undefined,
      ),
    );
    expect((await chooseReplica(client, undefined, 'read')).problem).toBeUndefined();
  });

  it('follows committed changes, and goes on after any of them', async () => {
    await using client = await open();
    const ending = new AbortController();
    const [signal, problems] = [ending.signal, [] as string[]];
    const onProblem = (message: string): void => void problems.push(message);
    const common = { tables: ['ORDERS'], onProblem, signal };
    await cluster.replica('eu-1').execute([{ sql: 'INSERT INTO orders VALUES (2, 0), (3, 0)' }]);
    const seen = await take(clusterChanges(client, { from: 'beginning', ...common }), 3);
    expect(seen.map(({ key }) => key['id'])).toEqual([1n, 2n, 3n]);
    const from = parseCursor(seen[1]!.cursor);
    const [again] = await take(clusterChanges(client, { from, ...common }), 1);
    expect(again).toEqual(seen[2]);
    const none = clusterChanges(client, { from: 'now', ...common, tables: [] });
    await expect(none.next()).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const unknown = clusterChanges(client, { from: 'now', ...common, tables: ['customers'] });
    await expect(unknown.next()).rejects.toMatchObject({ code: 'UNKNOWN_TABLE' });
    const enough = AbortSignal.abort(new Error('enough'));
    const ended = clusterChanges(client, { from: 'beginning', onProblem, signal: enough });
    await expect(ended.next()).rejects.toThrow('enough');
    ending.abort();
    expect(problems).toEqual([]);
  });

  it('tells members that are away from those that answer', async () => {
    await using client = await open();
    await cluster.stopReplica('eu-2');
    const answers = await askMembers(client);
    expect(answers.map(({ id, status }) => [id, status?.lifecycle])).toEqual([
      ['eu-1', expect.any(String)],
      ['eu-2', undefined],
      ['us-1', expect.any(String)],
    ]);
    expect(await witnessFor(client, 'eu-2')).toBe('eu-1');
    await cluster.startReplica('eu-2');
  });
});

it('asks another replica where that of its address does not answer', async () => {
  const options = {
    topology: { mode: 'primary-replica', primary: 'a' },
    failover: { mode: 'manual' },
  } as const;
  await using three = await TestCluster.start({ schema, replicas: ['a', 'b', 'c'], options });
  const address = { cluster: three.name, nats: { servers: [three.broker.url!] }, replica: 'a' };
  await using client = await ClusterClient.open(address);
  expect(await chooseReplica(client, undefined, 'write')).toEqual({
    id: 'a',
    ref: expect.anything() as unknown,
    status: expect.objectContaining({ id: 'a', role: 'primary' }) as unknown,
  });
  await three.caughtUp();
  await three.killReplica('a');
  const instead = expect.stringMatching(
    /^a does not answer \(NO_ACTOR\)\. [bc] is asked instead\.$/,
  ) as string;
  for (const purpose of ['read', 'write'] as const) {
    const chosen = await chooseReplica(client, undefined, purpose);
    expect(['b', 'c']).toContain(chosen.id);
    expect(chosen).toMatchObject({ instead });
  }
  await three.replica('c').takeOver();
  expect(await chooseReplica(client, undefined, 'write')).toMatchObject({ id: 'c', instead });
  expect((await chooseReplica(client, 'a', 'write')).id).toBe('a');
  await three.stopReplica('b');
  await three.stopReplica('c');
  await expect(chooseReplica(client, undefined, 'read')).rejects.toMatchObject({ code: 'NO_ACTOR' });
});

it('shows what a removed member wrote, and all that builds on it', async () => {
  const topology = { mode: 'multi-primary' } as const;
  await using few = await TestCluster.start({ schema, replicas: ['a', 'b'], options: { topology } });
  const insert = (id: string, key: number): Promise<unknown> =>
    few.replica(id).execute([{ sql: 'INSERT INTO orders VALUES (?, 0)', params: [key] }]);
  await insert('b', 2);
  await few.caughtUp();
  await few.stopReplica('b');
  await few.replica('a').removeMember('b');
  await insert('a', 3);
  const address = { cluster: few.name, nats: { servers: [few.broker.url!] } };
  await using client = await ClusterClient.open(address);
  const problems: string[] = [];
  const onProblem = (message: string): void => void problems.push(message);
  const signal = AbortSignal.timeout(20_000);
  const seen = await take(clusterChanges(client, { from: 'beginning', onProblem, signal }), 3);
  expect(seen.map(({ key }) => key['id'])).toEqual([1n, 2n, 3n]);
  expect(problems).toEqual([]);
});

async function take(changes: AsyncGenerator<LoggedChange>, count: number): Promise<readonly LoggedChange[]> {
  const taken: LoggedChange[] = [];
  for await (const change of changes) {
    taken.push(change);
    if (taken.length === count) break;
  }
  return taken;
}
