import { setTimeout as sleep } from 'node:timers/promises';
import {
  ChangeEncoder,
  decodeCursor,
  encodeCursor,
  encodePart,
  registerMember,
  writeSubscription,
  type BatchHeader,
} from '@antiphon/core';
import { streamName } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';
import type { Subscription } from './subscription.js';
import type { CommittedChange } from './changes.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE u (id INTEGER PRIMARY KEY);';

const insert = (replica: SqliteReplica, id: number): Promise<unknown> =>
  replica.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, 'x'] }]);

async function take(changes: AsyncIterator<CommittedChange>, count: number): Promise<CommittedChange[]> {
  const seen: CommittedChange[] = [];
  while (seen.length < count) {
    const { done, value } = await changes.next();
    if (done === true) throw new Error(`ended after ${seen.length}`);
    seen.push(value);
  }
  return seen;
}

const idsOf = (changes: readonly CommittedChange[]): number[] => changes.map(({ key }) => Number(key['id']));

/** Reads and acknowledges until it ends. */
function serve(subscription: Subscription<CommittedChange>): {
  readonly ids: number[];
  done: Promise<unknown>;
} {
  const ids: number[] = [];
  const reading = async (): Promise<void> => {
    for await (const change of subscription) {
      ids.push(Number(change.key['id']));
      void subscription.ack(change);
    }
  };
  return { ids, done: reading() };
}

/** What a replica `big` would publish: one transaction of 20 rows, in parts. */
function partsOfBig(): Uint8Array[] {
  const encoder = new ChangeEncoder();
  for (let id = 0; id < 20; id++) encoder.insert(0, [BigInt(1000 + id), 'x'.repeat(20)]);
  const tables = [{ name: 't', columns: ['id', 'v'], key: [0] }];
  const header: BatchHeader = {
    ...{ origin: 'big', firstCounter: 1, epoch: 0, time: Date.now() * 1000, context: {} },
    ...{ schemaVersion: 1, tables },
  };
  const bodies: Uint8Array[] = [];
  while (encoder.byteLength > 0) bodies.push(encoder.take(200));
  return bodies.map((body, index) => encodePart(header, index * 200, index === bodies.length - 1, body));
}

/** `big` is a member from then on. */
async function publisherOfBig(cluster: ClusterFixture): Promise<(...data: Uint8Array[]) => Promise<void>> {
  const nats = await cluster.nats();
  const record = { id: 'big', joinedAtMs: 1, engine: 'sqlite', version: '0', instance: 'b' };
  await registerMember(nats.registry(cluster.cluster), record);
  const log = nats.log(cluster.cluster);
  await log.open({ create: false });
  let sent = 0;
  return async (...parts) => {
    for (const data of parts)
      await new Promise((settled) => log.append({ origin: 'big', id: `big-${sent++}`, data }, settled));
  };
}

/** A log that takes nothing more; returns how to make room. */
async function fill(cluster: ClusterFixture): Promise<() => Promise<unknown>> {
  const { streams } = await (await cluster.nats()).connection.jetstreamManager();
  const name = streamName(cluster.cluster);
  const { config, state } = await streams.info(name);
  await streams.update(name, { ...config, max_msgs: state.messages, discard: 'new' as never });
  return () => streams.update(name, config);
}

it('I16: a new subscription waits for what its replica has committed and the log does not have', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  await insert(a, 1);
  await a.caughtUp();
  const makeRoom = await fill(cluster);
  await insert(a, 2);
  const subscription = a.subscribe('mailer', { leaseMs: 1000 });
  const [changes, reading] = [a.changes(), take(subscription, 1)];
  await sleep(1500);
  // Its counter may be given again, should this database be put back to an earlier state.
  expect(await a.subscriptions()).toEqual([]);
  await makeRoom();
  await eventually('it is active', () => subscription.epoch !== undefined, 20_000);
  await insert(a, 3);
  expect(idsOf(await reading)).toEqual([3]);
  expect(idsOf(await take(changes, 1))).toEqual([3]);
});

it('I16: says that the log lost the entry behind which a place is', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  const first = a.subscribe('mailer', { from: 'beginning' });
  await insert(a, 1);
  await insert(a, 2);
  const [one] = await take(first, 1);
  await first.ack(one!);
  await first.close();
  const [info] = await a.subscriptions();
  const { lagEntries: _, ...record } = info!;
  const place = decodeCursor(record.place);
  // As after a cut: another entry has this number, and another transaction that counter.
  const other = encodeCursor({
    ...place,
    entry: { ...place.entry!, storedAtMs: place.entry!.storedAtMs - 1 },
  });
  const registry = (await cluster.nats()).registry(cluster.cluster);
  const revision = (await registry.get('subscription.mailer'))!.revision;
  await writeSubscription(registry, { ...record, place: other }, revision);
  await expect(a.subscribe('mailer').next()).rejects.toMatchObject({ code: 'PLACE_LOST' });
  await expect(a.subscribe('mailer').next()).rejects.toThrow(/Subscription mailer .* which the log lost/);
  await expect(a.changes({ from: other }).next()).rejects.toThrow(
    /cannot go on at this cursor.*the log lost/,
  );
  const ahead = encodeCursor({ ...place, seq: 900, entry: { seq: 899, storedAtMs: 1 } });
  await expect(a.changes({ from: ahead }).next()).rejects.toThrow(/the log ends at entry/);
  expect(idsOf(await take(a.changes({ from: record.place }), 1))).toEqual([2]);
});

it('keeps nothing of a big transaction in which no table is wanted', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a', { limits: { changeFeedBytes: 1024 * 1024 } });
  const changes = a.changes({ tables: ['u'] });
  const [ofT, subscription] = [a.changes({ tables: ['t'] }), a.subscribe('mailer', { tables: ['u'] })];
  const reading = take(subscription, 1);
  await eventually('it is active', () => subscription.epoch !== undefined);
  const rows = 'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000)';
  await a.execute([{ sql: `${rows} INSERT INTO t SELECT x, hex(randomblob(500)) FROM c` }]);
  await a.execute([{ sql: 'INSERT INTO u VALUES (7)' }]);
  expect(idsOf(await take(changes, 1))).toEqual([7]);
  expect(idsOf(await reading)).toEqual([7]);
  await expect(take(ofT, 1)).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
});

it('I16: parts that wait for their last one hold up no lag, and are delivered after a takeover', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const [a, publish] = [await cluster.replica('a'), await publisherOfBig(cluster)];
  const subscription = a.subscribe('mailer', { leaseMs: 1000 });
  const { ids, done } = serve(subscription);
  await eventually('it is active', () => subscription.epoch !== undefined);
  const [part, ...others] = partsOfBig();
  await publish(part!);
  for (let id = 1; id <= 10; id++) await insert(a, id);
  await eventually('it has all', () => ids.length === 10);
  await eventually('nothing is left', async () => (await a.subscriptions())[0]?.lagEntries === 0);
  await subscription.close();
  await done;
  const next = a.subscribe('mailer');
  await publish(...others);
  expect(idsOf(await take(next, 20))).toEqual(Array.from({ length: 20 }, (_, id) => 1000 + id));
});

it('I16: parts that nobody finishes may be trimmed, and of a removed member are not read again', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const [a, publish] = [await cluster.replica('a'), await publisherOfBig(cluster)];
  const subscription = a.subscribe('mailer', { leaseMs: 1000 });
  const { ids, done } = serve(subscription);
  await eventually('it is active', () => subscription.epoch !== undefined);
  await publish(partsOfBig()[0]!);
  await insert(a, 1);
  await eventually('its place holds the part', async () => {
    const [info] = await a.subscriptions();
    return info?.lagEntries === 0 && ids.length === 1 && decodeCursor(info.place).openSeq !== undefined;
  });
  await subscription.close();
  await done;
  const { streams } = await (await cluster.nats()).connection.jetstreamManager();
  const name = streamName(cluster.cluster);
  await streams.purge(name, { seq: (await streams.info(name)).state.last_seq });
  const next = a.subscribe('mailer', { leaseMs: 1000 });
  const more = serve(next);
  await insert(a, 2);
  await eventually('it goes on', () => more.ids.length === 1);
  await a.removeMember('big', { force: true });
  await publish(partsOfBig()[0]!);
  await insert(a, 3);
  await eventually('its place holds nothing', async () => {
    const [info] = await a.subscriptions();
    return info?.lagEntries === 0 && more.ids.length === 2 && decodeCursor(info.place).openSeq === undefined;
  });
});
