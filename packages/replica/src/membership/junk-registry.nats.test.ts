import {
  CLUSTER_KEY,
  encodeControl,
  findClusterDocument,
  findMember,
  readSubscription,
} from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { IN_SYNC_KEY } from '../sync/in-sync-set.js';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import { createKv, kvOf, put } from '../testing/kv.js';

const OPTIONS = { topology: { mode: 'multi-primary' }, limits: { beatMs: 100 } } as const;
/** As many revisions as the registry keeps of a key. */
const HISTORY = 5;

/** Somebody has an answer of JetStream delivered to a key of the registry. */
async function junk(cluster: ClusterFixture, key: string, times = 1): Promise<number> {
  const { connection } = await cluster.nats();
  const manager = await connection.jetstreamManager();
  const bucket = `ANTIPHON_${cluster.cluster}`;
  const lastSeq = async (): Promise<number> => (await manager.streams.info(`KV_${bucket}`)).state.last_seq;
  const before = await lastSeq();
  for (let n = 0; n < times; n += 1)
    connection.publish(`$JS.API.STREAM.INFO.KV_${bucket}`, '', { reply: `$KV.${bucket}.${key}` });
  await eventually('the junk is there', async () => (await lastSeq()) >= before + times);
  return before + times;
}

it('a description that is none is passed over at a start, is reported, and is written again', async () => {
  await using cluster = await ClusterFixture.start();
  createKv(cluster, 'a', { k: 'v' });
  await cluster.replica('a', OPTIONS);
  await cluster.closeReplica('a');
  const revision = await junk(cluster, 'cluster');
  const registry = (await cluster.nats()).registry(cluster.cluster);
  expect(await findClusterDocument(registry)).toMatchObject({
    revision,
    passedOver: { code: 'MALFORMED_MESSAGE' },
  });
  const a = await cluster.replica('a', OPTIONS);
  await eventually('a says what is wrong', () =>
    a
      .status()
      .alarms.some(
        ({ name, message }) => name === 'registry' && message.startsWith(`Revision ${revision} of`),
      ),
  );
  await eventually(
    'it is written again',
    async () => (await findClusterDocument(registry))?.passedOver === undefined,
  );
  await eventually('the alarm is over', () => a.status().alarms.length === 0);
  const store = kvOf(cluster, 'b');
  await cluster.replica('b', OPTIONS);
  await eventually('b has the rows', () => store.rows.has('k'));
});

it('where nothing readable is left of the description, a replica starts from the copy in its database', async () => {
  await using cluster = await ClusterFixture.start();
  createKv(cluster, 'a', { k: 'v' });
  await cluster.replica('a', OPTIONS);
  await cluster.closeReplica('a');
  await junk(cluster, 'cluster', HISTORY);
  const registry = (await cluster.nats()).registry(cluster.cluster);
  await expect(findClusterDocument(registry)).rejects.toMatchObject({
    code: 'MALFORMED_MESSAGE',
    message: expect.stringMatching(/key "cluster".*Start a replica that has been one/) as string,
  });
  createKv(cluster, 'b');
  await expect(cluster.replica('b', OPTIONS)).rejects.toMatchObject({ code: 'MALFORMED_MESSAGE' });
  const a = await cluster.replica('a', OPTIONS);
  await put(a, 'k2', 'v');
  await eventually(
    'it is written again',
    async () => (await findClusterDocument(registry).catch(() => undefined)) !== undefined,
  );
  const store = kvOf(cluster, 'c');
  await cluster.replica('c', OPTIONS);
  await eventually('c has the rows', () => store.rows.has('k2'));
});

it('a description of a later format is an alarm of those that run, and is left as it is', async () => {
  await using cluster = await ClusterFixture.start();
  createKv(cluster, 'a', { k: 'v' });
  const a = await cluster.replica('a', OPTIONS);
  const registry = (await cluster.nats()).registry(cluster.cluster);
  const before = await registry.get(CLUSTER_KEY);
  if (before === undefined) throw new Error('there is no description');
  const later = encodeControl({ format: 99, cluster: cluster.cluster });
  const written = await registry.update(CLUSTER_KEY, later, before.revision);
  if (written === undefined) throw new Error('somebody else has written it');
  const told = await eventually('a says that it could not start again', () =>
    a.status().alarms.find(({ name }) => name === 'registry'),
  );
  expect(told.message).toMatch(
    /is of a later version of Antiphon\. The cluster's description has format 99.* cannot start again once it ends/,
  );
  await put(a, 'k2', 'v');
  expect((await registry.get(CLUSTER_KEY))?.revision).toBe(written.revision);
  await registry.update(CLUSTER_KEY, before.value, written.revision);
  await eventually('the alarm is over', () => a.status().alarms.length === 0);
});

it('junk in the place of any other key stops nothing, and is written over', async () => {
  const options = { ...OPTIONS, update: { mode: 'sync' } } as const;
  await using cluster = await ClusterFixture.start();
  createKv(cluster, 'a');
  const store = kvOf(cluster, 'b');
  const a = await cluster.replica('a', options);
  await cluster.replica('b', options);
  const mailer = a.subscribe('mailer', { tables: ['kv'], from: 'beginning' });
  await put(a, 'k1', 'v');
  for await (const change of mailer) {
    await mailer.ack(change);
    break;
  }
  await mailer.close();
  await cluster.closeReplica('b');
  const registry = (await cluster.nats()).registry(cluster.cluster);
  const before = await readSubscription(registry, 'mailer');
  for (const key of ['member.a', 'member.b', IN_SYNC_KEY, 'subscription.mailer']) await junk(cluster, key);
  // Passed over for the revision before.
  expect((await readSubscription(registry, 'mailer'))?.record).toEqual(before?.record);
  await cluster.closeReplica('a');
  const again = await cluster.replica('a', options);
  await cluster.replica('b', options);
  await put(again, 'k2', 'v', { acks: 1 });
  await eventually('b has the rows', () => store.rows.has('k2'));
  for (const id of ['a', 'b'])
    await eventually(
      `the record of ${id} is there`,
      async () => (await findMember(registry, id)) !== undefined,
    );
  await using later = again.subscribe('mailer', { tables: ['kv'] });
  for await (const change of later) {
    expect(change.after).toMatchObject({ k: 'k2' });
    break;
  }
});
