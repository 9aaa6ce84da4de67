import { remoteRef } from '@antiphon/actor';
import { mailboxPrefix, type Candidacy } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import type { MailboxProtocol } from '../internal.js';
import { ClusterFixture, count } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const options = {
  topology: { mode: 'primary-replica', primary: 'a' },
  failover: { mode: 'manual' },
} as const;
const sync = { ...options, update: { mode: 'sync', acks: 'all' } } as const;

async function asking(): Promise<(id: string) => Promise<Candidacy>> {
  const bus = (await fixture.nats()).bus();
  return (id) =>
    remoteRef<MailboxProtocol>(bus, mailboxPrefix(fixture.cluster, id)).ask('candidacy', undefined, {
      timeoutMs: 5000,
    });
}

it('a follower says how far it is, whom it follows and how gladly it would take over', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const a = await fixture.replica('a', options);
  const b = await fixture.replica('b', { ...options, failoverPriority: 7 });
  await fixture.replica('c', { ...options, failoverPriority: 0 });
  for (let n = 1; n <= 3; n++) await a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [n, 'x'] }]);
  await eventually('b has them', async () => (await count(b, 't')) === 3);
  const ask = await asking();
  await eventually('b heard a', async () => (await ask('b')).heardPrimaryMsAgo !== undefined);
  const { seq } = b.status().position;
  expect(await ask('b')).toEqual({
    ...{ id: 'b', instance: b.status().instance, epoch: 1, primary: 'a', seq, lastSeq: seq, inSync: false },
    ...{ eligible: true, priority: 7, lagMs: 0, lastCounter: 0 },
    heardPrimaryMsAgo: expect.any(Number) as number,
  });
  expect(await ask('c')).toMatchObject({ eligible: false, why: 'its priority is 0', priority: 0 });
  expect(await ask('a')).toMatchObject({ eligible: true, priority: 100, lastCounter: 3 });
});

it('a follower that is not what the primary wrote is none', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const a = await fixture.replica('a', options);
  const b = await fixture.replica('b', options);
  await fixture.replica('c', options);
  const ask = await asking();
  expect(await ask('b')).toMatchObject({ eligible: true });
  fixture.sql('c', 'ALTER TABLE t ADD COLUMN more TEXT');
  await a.execute([{ sql: `INSERT INTO t VALUES (1, 'x')` }]);
  await eventually('c holds', async () => !(await ask('c')).eligible);
  expect((await ask('c')).why).toMatch(/^replication has stopped: .*more/);
  const log = (await fixture.nats()).log('shop');
  await log.open({ create: false });
  const [data, append] = [new Uint8Array([7]), log.append.bind(log)];
  await new Promise<void>((resolve) => append({ origin: 'nobody', id: 'g1', data }, () => resolve()));
  await eventually('b has quarantined it', () => b.status().quarantined === 1);
  expect(await ask('b')).toMatchObject({ eligible: true });
  await new Promise<void>((resolve) => append({ origin: 'a', id: 'g2', data }, () => resolve()));
  await eventually('b has quarantined it', () => b.status().quarantined === 2);
  expect(await ask('b')).toMatchObject({ eligible: false, why: '1 transaction is missing' });
  // Its origin has never given that number to a transaction.
  await eventually('b is one again', async () => (await ask('b')).eligible);
});

it('members say whether they are in sync', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const a = await fixture.replica('a', sync);
  await fixture.replica('b', sync);
  await eventually('b is in sync', () => a.status().sync?.inSync.includes('b'));
  const ask = await asking();
  await eventually('b knows', async () => (await ask('b')).inSync);
});

it('where nobody can take over, each says so', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  await fixture.replica('a');
  const why = 'the cluster was created without failover';
  const answer = await (await asking())('a');
  expect(answer).toMatchObject({ eligible: false, why, epoch: 0 });
  expect(answer.primary).toBeUndefined();
});

it('a priority that is none is BAD_OPTION', async () => {
  fixture = await ClusterFixture.start();
  for (const failoverPriority of [-1, 1.5, 1001, '5' as unknown as number])
    await expect(fixture.replica('a', { failoverPriority })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringMatching(/`failoverPriority`.*a whole number from 0 to 1000/) as string,
    });
});
