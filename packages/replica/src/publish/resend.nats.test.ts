import { type AppendResult, decodeBatches, encodeBatch, type Registry } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { eventually } from '@antiphon/testing';
import { ClusterFixture, type SqliteReplica, type StartOptions } from '../testing/cluster-fixture.js';
import { insideOf } from '../replica/inside.js';
import { createKv, kvOf, put as putValue, type Kv } from '../testing/kv.js';

const limits = { beatMs: 50 };
const KINDS: readonly (readonly [name: string, options: StartOptions])[] = [
  ['multi-primary', { topology: { mode: 'multi-primary' }, limits }],
  ['primary-replica', { topology: { mode: 'primary-replica', primary: 'a' }, limits }],
];

/** A registry that does not show the record of a member, until it does. */
class Forgetful {
  hidden = true;

  constructor(private readonly key: string) {}

  wrap = (registry: Registry): Registry => ({
    open: () => registry.open(),
    close: () => registry.close(),
    create: (key, value) => registry.create(key, value),
    update: (key, value, revision) => registry.update(key, value, revision),
    get: (key) => (this.#hides(key) ? Promise.resolve(undefined) : registry.get(key)),
    revisions: async (key) => (this.#hides(key) ? [] : registry.revisions(key)),
    list: async (prefix) => (await registry.list(prefix)).filter(({ key }) => !this.#hides(key)),
  });

  #hides(key: string): boolean {
    return this.hidden && key === this.key;
  }
}

function published(replica: SqliteReplica): number {
  return replica.status().totals['publishedMessages'] ?? 0;
}

async function put(replica: SqliteReplica, key: string): Promise<void> {
  await putValue(replica, key, key);
}

interface Parted {
  readonly a: SqliteReplica;
  readonly b: SqliteReplica;
  readonly right: Kv;
  readonly registry: Forgetful;
}

/**
 * `b` has quarantined `x` of `a`: it did not know `a` then, and had never applied anything of it.
 */
async function parted(cluster: ClusterFixture, options: StartOptions): Promise<Parted> {
  createKv(cluster, 'a');
  const right = kvOf(cluster, 'b');
  const a = await cluster.replica('a', options);
  await (await cluster.replica('b', options)).caughtUp();
  await cluster.closeReplica('b');
  const registry = new Forgetful('member.a');
  const b = await cluster.replicaWith({ registry: registry.wrap }, 'b', options);
  await put(a, 'x');
  await eventually('it was quarantined', () => b.status().quarantined > 0);
  expect(right.rows.has('x')).toBe(false);
  return { a, b, right, registry };
}

/** `x` is neither in quarantine any more nor in the log; `y` comes after it, which the log has. */
async function loseInLog(cluster: ClusterFixture, { a, b }: Parted): Promise<void> {
  await put(a, 'y');
  await eventually('both were quarantined', () => b.status().quarantined === 2);
  const [first] = (await b.quarantine.list()).messages;
  const manager = await (await cluster.nats()).connection.jetstreamManager();
  await manager.streams.deleteMessage(`ANTIPHON_${cluster.cluster}`, first?.seq ?? 0);
  await b.quarantine.discard();
}

/** The same, and nobody keeps `x` any more: neither `a` nor the log. */
async function partedForGood(cluster: ClusterFixture, options: StartOptions): Promise<Parted> {
  const all = await parted(cluster, { ...options, limits: { ...limits, memberSilenceLimitMs: 1 } });
  await loseInLog(cluster, all);
  await eventually('pruned', () => all.a.status().outbox.messages === 0);
  return all;
}

describe.each(KINDS)('I3: a published transaction that somebody misses, %s', (_, options) => {
  it('is published again, and all after it, when a later one shows the hole', async () => {
    await using cluster = await ClusterFixture.start();
    const { a, b, right, registry } = await parted(cluster, options);
    registry.hidden = false;
    for (const key of ['y', 'z']) await put(a, key);
    await eventually('it came again', () => ['x', 'y', 'z'].every((key) => right.rows.has(key)));
    await eventually('nothing is missed', () => b.status().waitingFor.length === 0);
    await put(a, 'after');
    await eventually('and goes on', () => right.rows.has('after'));
    // Once was enough.
    const { publishedMessages } = a.status().totals;
    await new Promise((resolve) => setTimeout(resolve, 20 * limits.beatMs));
    expect(a.status().totals['publishedMessages']).toBe(publishedMessages);
    expect(a.status()).toMatchObject({ outbox: { unpublished: 0 }, alarms: [] });
  });

  it('is published again when nothing comes after it', async () => {
    await using cluster = await ClusterFixture.start();
    const { b, right, registry } = await parted(cluster, options);
    registry.hidden = false;
    await eventually('it came again', () => right.rows.has('x'));
    await eventually('nothing is missed', () => b.status().waitingFor.length === 0);
  });

  it('comes out of the log while its origin is away, also after a start', async () => {
    await using cluster = await ClusterFixture.start();
    const { right, registry } = await parted(cluster, options);
    await cluster.closeReplica('a');
    await cluster.closeReplica('b');
    registry.hidden = false;
    const b = await cluster.replicaWith({ registry: registry.wrap }, 'b', options);
    await eventually('it is here', () => right.rows.has('x'), 10_000);
    await eventually('nothing is missed', () => b.status().waitingFor.length === 0);
  });

  it('is waited for visibly while its origin is away and the log has lost it, and comes when that is back', async () => {
    await using cluster = await ClusterFixture.start();
    const all = await parted(cluster, options);
    const { b: before, right, registry } = all;
    await loseInLog(cluster, all);
    await cluster.closeReplica('a');
    registry.hidden = false;
    await eventually(
      'its origin is missed',
      () => /a does not answer\. Start it/.test(before.status().waitingFor[0]?.answer ?? ''),
      10_000,
    );
    expect(before.status().waitingFor).toMatchObject([{ origin: 'a', expected: 1 }]);
    await cluster.replica('a', options);
    await eventually('it came again', () => right.rows.has('x'), 10_000);
    await eventually('nothing is missed', () => before.status().waitingFor.length === 0);
  });

  it('is read again in the log when its origin has not kept it', async () => {
    await using cluster = await ClusterFixture.start();
    const forgetting = { ...options, limits: { ...limits, memberSilenceLimitMs: 1 } };
    const { a, b, right, registry } = await parted(cluster, forgetting);
    await eventually('pruned', () => a.status().outbox.messages === 0);
    registry.hidden = false;
    await put(a, 'y');
    await eventually('it is here', () => right.rows.has('x') && right.rows.has('y'), 10_000);
    await eventually('nothing is missed', () => b.status().waitingFor.length === 0);
    await eventually('nor quarantined', () => b.status().quarantined === 0);
    await put(a, 'after');
    await eventually('and goes on', () => right.rows.has('after'));
  });

  it('says so when neither its origin has kept it nor the log', async () => {
    await using cluster = await ClusterFixture.start();
    const { b, registry } = await partedForGood(cluster, options);
    registry.hidden = false;
    await eventually(
      'it is told',
      () => /no longer keeps a:1.*does not hold it/.test(b.status().waitingFor[0]?.answer ?? ''),
      20_000,
    );
    expect(b.status().waitingFor).toMatchObject([{ origin: 'a', expected: 1 }]);
    expect(b.status().waitingFor[0]?.answer).toContain('docs/lost-log.md');
  });

  it('says which entry may hold it, and why nobody here can read that', async () => {
    await using cluster = await ClusterFixture.start();
    const { b, registry } = await partedForGood(cluster, options);
    const log = (await cluster.nats()).log(cluster.cluster);
    await log.open({ create: false });
    const seq = await new Promise((resolve) =>
      log.append({ origin: 'a', id: 'unreadable', data: new Uint8Array([0xc1]) }, (result) =>
        resolve(result.type === 'stored' ? result.seq : result.type),
      ),
    );
    registry.hidden = false;
    await eventually(
      'it is told',
      () =>
        (b.status().waitingFor[0]?.answer ?? '').includes(
          `Entry ${String(seq)} of the log may hold it, and cannot`,
        ),
      20_000,
    );
  });
});

it.each([false, true])(
  'I3: a transaction in parts is published again whole, failover %s',
  async (failover) => {
    await using cluster = await ClusterFixture.start();
    const topology = { mode: 'primary-replica', primary: 'a' } as const;
    const options = { topology, limits, ...(failover && { failover: { mode: 'manual' } as const }) };
    createKv(cluster, 'a');
    const right = kvOf(cluster, 'b');
    const a = await cluster.replica('a', options);
    await (await cluster.replica('b', options)).caughtUp();
    await cluster.closeReplica('b');
    const numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)';
    cluster.sql('a', `${numbers} INSERT INTO kv SELECT 'k' || i, hex(randomblob(300)) FROM n`);
    await eventually('it is in the log', () => a.status().outbox.unpublished === 0 && published(a) > 5);
    const before = published(a);
    const { lastCounter } = insideOf(a).scope.store.state();
    await insideOf(a).replica.ask('resend', lastCounter);
    await eventually('all of it again', () => published(a) >= 2 * before - 2);
    await put(a, 'after');
    const b = await cluster.replica('b', options);
    await eventually('b has all', () => right.rows.size === 20_001);
    for (const replica of [a, b])
      expect(replica.status()).toMatchObject({ alarms: [], outbox: { unpublished: 0 } });
  },
);

it('what builds on a message that was quarantined comes after it, though nobody has kept either', async () => {
  await using cluster = await ClusterFixture.start();
  const forgetting = {
    topology: { mode: 'multi-primary' } as const,
    limits: { ...limits, memberSilenceLimitMs: 1 },
  };
  const creator = createKv(cluster, 'a');
  const a = await cluster.replica('a', forgetting);
  const b = await cluster.replica('b', forgetting);
  await put(b, 'of b');
  await eventually('a has it', () => creator.rows.has('of b'));
  await put(a, 'of a, after it');
  await b.caughtUp();
  await eventually('pruned', () => [a, b].every((one) => one.status().outbox.messages === 0));
  // Nobody is there to tell that b was a member.
  for (const id of ['a', 'b']) await cluster.closeReplica(id);
  const registry = new Forgetful('member.b');
  const store = kvOf(cluster, 'c');
  const c = await cluster.replicaWith({ registry: registry.wrap }, 'c', forgetting);
  await eventually('it waits', () => c.status().waitingFor.some(({ origin }) => origin === 'a'));
  expect(store.rows.size).toBe(0);
  registry.hidden = false;
  await eventually(
    'both are here',
    () => ['of b', 'of a, after it'].every((key) => store.rows.has(key)),
    20_000,
  );
  await eventually('nothing is missed', () => c.status().waitingFor.length + c.status().quarantined === 0);
});

/**
 * An entry of `origin`, `ahead` transactions after its newest one, made from that one: what is left
 * of a number that was given once more after a loss of power.
 */
async function appendEarly(cluster: ClusterFixture, origin: string, ahead: number): Promise<void> {
  const { log } = await cluster.ports();
  await log.open({ create: false });
  const newest = await log.lastOf(origin);
  const [batch] = newest === undefined ? [] : decodeBatches(newest.data);
  if (batch?.kind !== 'transactions') throw new Error(`${origin} has written nothing`);
  const [transaction] = batch.transactions;
  const [change] = transaction?.changes ?? [];
  if (transaction === undefined || change === undefined) throw new Error('it is empty');
  const counter = transaction.counter + ahead;
  const row = change.row.map(() => 'early');
  const early = {
    ...batch,
    firstCounter: counter,
    transactions: [{ ...transaction, counter, changes: [{ ...change, row }] }],
  };
  const result = await new Promise<AppendResult>((settled) =>
    log.append({ origin, id: 'early', data: encodeBatch(early) }, settled),
  );
  if (result.type !== 'stored') throw result.error;
}

it('I2: what stands before its predecessor in the log stays dropped when the log is read again', async () => {
  await using cluster = await ClusterFixture.start();
  const options = { topology: { mode: 'multi-primary' } as const, limits };
  const creator = createKv(cluster, 'a');
  const a = await cluster.replica('a', options);
  const b = await cluster.replica('b', options);
  await put(a, 'first');
  await a.caughtUp();
  await eventually('it is published', () => a.status().outbox.unpublished === 0);
  await appendEarly(cluster, 'a', 2);
  await put(a, 'second');
  await put(b, 'of b');
  await eventually('a has it', () => creator.rows.has('of b'));
  await put(a, 'third, after it');
  await b.caughtUp();
  // Nobody is there to tell that b was a member, nor to publish anything again.
  for (const id of ['a', 'b']) await cluster.closeReplica(id);
  const registry = new Forgetful('member.b');
  const store = kvOf(cluster, 'c');
  const c = await cluster.replicaWith({ registry: registry.wrap }, 'c', options);
  const answer = (): string => c.status().waitingFor[0]?.answer ?? '';
  const isRead = (): boolean => store.rows.has('early') || / Entry \d+ of the log /.test(answer());
  await eventually('the log was read again', isRead, 10_000);
  expect([...store.rows.keys()].sort()).toEqual(['first', 'second']);
  registry.hidden = false;
  await eventually(
    'nothing is missed',
    () => c.status().waitingFor.length + c.status().quarantined === 0,
    20_000,
  );
  expect([...store.rows.keys()].sort()).toEqual([...creator.rows.keys()].sort());
});
