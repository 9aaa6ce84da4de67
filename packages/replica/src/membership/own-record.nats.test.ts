import { expect, it } from 'vitest';
import { findMember, markRemoved } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import { createKv, kvOf, put } from '../testing/kv.js';

const OPTIONS = { topology: { mode: 'multi-primary' }, limits: { beatMs: 100 } } as const;

/** Somebody deletes a key of the registry's bucket. */
async function deleteKey(cluster: ClusterFixture, key: string): Promise<void> {
  const manager = await (await cluster.nats()).connection.jetstreamManager();
  const bucket = `ANTIPHON_${cluster.cluster}`;
  await manager.streams.purge(`KV_${bucket}`, { filter: `$KV.${bucket}.${key}` });
}

it('I15: a member whose record was lost says so, writes it again, and what was quarantined comes again', async () => {
  await using cluster = await ClusterFixture.start();
  const creator = createKv(cluster, 'a');
  await cluster.replica('a', OPTIONS);
  const b = await cluster.replica('b', OPTIONS);
  await cluster.closeReplica('a');
  const registry = (await cluster.nats()).registry(cluster.cluster);
  const before = await findMember(registry, 'b');
  await deleteKey(cluster, 'member.b');
  // It has never heard of b.
  const a = await cluster.replica('a', OPTIONS);
  await put(b, 'from b', '1');
  await eventually('b says what happened', () =>
    b
      .status()
      .alarms.some(({ name, message }) => name === 'membership' && /lost the record of b/.test(message)),
  );
  await eventually('a has it', () => creator.rows.has('from b'));
  await eventually('nothing is missed', () => a.status().waitingFor.length === 0);
  expect(await findMember(registry, 'b')).toEqual(before);
  await eventually('the alarm is over', () => b.status().alarms.length === 0);
  expect(b.status().outbox.unpublished).toBe(0);
});

it.each(['member', 'former member'])(
  'I3: what a %s wrote that does not run reaches a new replica, though its record was lost',
  async (kind) => {
    await using cluster = await ClusterFixture.start();
    const creator = createKv(cluster, 'a');
    const a = await cluster.replica('a', OPTIONS);
    const b = await cluster.replica('b', OPTIONS);
    await put(b, 'from b', '1');
    await eventually('a has it', () => creator.rows.has('from b'));
    await cluster.closeReplica('b');
    const registry = (await cluster.nats()).registry(cluster.cluster);
    const record = await findMember(registry, 'b');
    if (record === undefined) throw new Error('b is no member');
    if (kind === 'former member') await markRemoved(registry, record, Date.now());
    await eventually(
      'a knows',
      () => a.status().members.some(({ id }) => id === 'b') === (kind === 'member'),
    );
    await deleteKey(cluster, 'member.b');
    const early = kvOf(cluster, 'c');
    const c = await cluster.replica('c', OPTIONS);
    await eventually('it believes the others', () => early.rows.has('from b'));
    expect(c.status()).toMatchObject({ quarantined: 0, waitingFor: [] });
    await eventually('the record is there again', async () => (await findMember(registry, 'b'))?.id === 'b');
    expect((await findMember(registry, 'b'))?.removedAtMs !== undefined).toBe(kind === 'former member');
    await cluster.closeReplica('c');
    await cluster.closeReplica('a');
    const late = kvOf(cluster, 'd');
    await cluster.replica('d', OPTIONS);
    await eventually('it is in the registry', () => late.rows.has('from b'));
  },
);

it('I15: one that was removed is no member again when its record was lost, as the log knows', async () => {
  const options = { ...OPTIONS, update: { mode: 'sync' } } as const;
  await using cluster = await ClusterFixture.start();
  createKv(cluster, 'a');
  const a = await cluster.replica('a', options);
  await cluster.replica('b', options);
  const c = await cluster.replica('c', options);
  await put(c, 'from c', '1');
  await cluster.closeReplica('c');
  await a.removeMember('c');
  await cluster.closeReplica('b');
  await cluster.closeReplica('a');
  await deleteKey(cluster, 'member.c');
  await cluster.replica('a', options);
  await cluster.replica('b', options);
  const registry = (await cluster.nats()).registry(cluster.cluster);
  await eventually('its record is there', async () => (await findMember(registry, 'c')) !== undefined);
  expect((await findMember(registry, 'c'))?.removedAtMs).toBeDefined();
});

it('a member that was removed does not write its record again', async () => {
  await using cluster = await ClusterFixture.start();
  createKv(cluster, 'a');
  await cluster.replica('a', OPTIONS);
  const b = await cluster.replica('b', OPTIONS);
  const registry = (await cluster.nats()).registry(cluster.cluster);
  const record = await findMember(registry, 'b');
  if (record === undefined) throw new Error('b is no member');
  await markRemoved(registry, record, Date.now());
  expect(await b.ended).toMatchObject({ code: 'MEMBER_REMOVED' });
  expect((await findMember(registry, 'b'))?.removedAtMs).toBeDefined();
});

it('a description of the cluster that was deleted is written again by who runs, and others can join', async () => {
  await using cluster = await ClusterFixture.start();
  createKv(cluster, 'a', { k: 'v' });
  const a = await cluster.replica('a', OPTIONS);
  await deleteKey(cluster, 'cluster');
  await eventually('a says what happened', () =>
    a.status().alarms.some(({ message }) => /lost the description of cluster/.test(message)),
  );
  const store = kvOf(cluster, 'b');
  await cluster.replica('b', OPTIONS);
  await eventually('b has the rows', () => store.rows.has('k'));
  await eventually('the alarm is over', () => a.status().alarms.length === 0);
});

it('a bucket that was deleted is made again by who runs, with everything that a joining replica needs', async () => {
  await using cluster = await ClusterFixture.start();
  const creator = createKv(cluster, 'a', { k: 'v' });
  const a = await cluster.replica('a', OPTIONS);
  const b = await cluster.replica('b', OPTIONS);
  const manager = await (await cluster.nats()).connection.jetstreamManager();
  await manager.streams.delete(`KV_ANTIPHON_${cluster.cluster}`);
  const said = new Set<string>();
  await eventually('each says that its record is lost, and one that the description is', () => {
    for (const [id, { alarms }] of [['a', a.status()] as const, ['b', b.status()] as const])
      for (const { name } of alarms) said.add(name === 'membership' ? `${name} of ${id}` : name);
    return ['registry', 'membership of a', 'membership of b'].every((name) => said.has(name));
  });
  const store = kvOf(cluster, 'c');
  await cluster.replica('c', OPTIONS);
  await eventually('c has the rows', () => store.rows.has('k'));
  await put(b, 'from b', '1');
  await eventually(
    'everybody has what b writes',
    () => creator.rows.has('from b') && store.rows.has('from b'),
  );
  const registry = (await cluster.nats()).registry(cluster.cluster);
  for (const id of ['a', 'b', 'c']) expect(await findMember(registry, id)).toMatchObject({ id });
  await eventually('the alarms are over', () => [a, b].every((one) => one.status().alarms.length === 0));
});
