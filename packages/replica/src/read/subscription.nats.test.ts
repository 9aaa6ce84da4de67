import { setTimeout as sleep } from 'node:timers/promises';
import { encodeBatch, encodeControl, encodeCursor, registerMember, writeSubscription } from '@antiphon/core';
import { streamName } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';
import type { CommittedChange } from './changes.js';
import type { Subscription } from './subscription.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE u (id INTEGER PRIMARY KEY);';
const PROMPTLY_MS = 4000;
/** Longer than any test: who takes over before has not waited for its end. */
const LONG_LEASE = { leaseMs: 600_000 } as const;

interface Ids {
  readonly ids: number[];
  readonly done: Promise<unknown>;
}

const insert = (replica: SqliteReplica, ...ids: number[]): Promise<unknown> =>
  replica.execute(ids.map((id) => ({ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, `row ${id}`] })));

async function take(subscription: Subscription<CommittedChange>, count: number): Promise<CommittedChange[]> {
  const seen: CommittedChange[] = [];
  while (seen.length < count) {
    const { done, value } = await subscription.next();
    if (done === true) throw new Error(`ended after ${seen.length}`);
    seen.push(value);
  }
  return seen;
}

const idsOf = (changes: readonly CommittedChange[]): number[] => changes.map(({ key }) => Number(key['id']));

/** Reads and acknowledges until it ends. */
function serve(subscription: Subscription<CommittedChange>): Ids {
  const ids: number[] = [];
  const reading = async (): Promise<unknown> => {
    for await (const change of subscription) {
      ids.push(Number(change.key['id']));
      void subscription.ack(change);
    }
    return 'ended';
  };
  return { ids, done: reading().catch((error: unknown) => (error as { code: string }).code) };
}

/** What a replica `ghost` would have written, which nobody knows yet. */
function ofGhost(counter: number): Uint8Array {
  const time = Date.now() * 1000;
  const changes = [{ op: 'insert' as const, table: 0, row: [BigInt(100 + counter), 'by a ghost'] }];
  return encodeBatch({
    ...{ kind: 'transactions', origin: 'ghost', firstCounter: counter, epoch: 0, time, context: {} },
    schemaVersion: 1,
    tables: [{ name: 't', columns: ['id', 'v'], key: [0] }],
    transactions: [{ counter, time, changes }],
  });
}

const REBUILT =
  'CREATE TABLE n (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t;';

async function clusterOfTwo(): Promise<
  readonly [cluster: ClusterFixture, a: SqliteReplica, b: SqliteReplica]
> {
  const cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  return [cluster, a, await cluster.replica('b')];
}

describe('a durable subscription', () => {
  it('I16: goes on after what was acknowledged, on whichever replica', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    const first = a.subscribe('mailer', LONG_LEASE);
    expect(first.epoch).toBeUndefined();
    const reading = take(first, 3);
    await eventually('it is active', () => first.epoch !== undefined);
    await insert(a, 1, 2, 3);
    const [one, two] = await reading;
    await first.ack(two!);
    await first.ack(one!);
    await first.close();
    await insert(b, 4);
    const second = b.subscribe('mailer', { ...LONG_LEASE, from: 'beginning' });
    const changes = await take(second, 2);
    expect(idsOf(changes)).toEqual([3, 4]);
    expect(changes.map(({ last }) => last)).toEqual([true, true]);
    expect(second.epoch).toBe(2);
    await second.ack(changes[1]!);
    await expect(first.ack(one!)).rejects.toMatchObject({ code: 'CLOSED' });
    await second.close();
    const third = b.subscribe('mailer', LONG_LEASE);
    const nothing = third.next();
    await eventually('it is active', () => third.epoch === 3);
    await third.close();
    expect(await nothing).toEqual({ done: true, value: undefined });
  });

  it('I16: acknowledges what was delivered, and nothing else', async () => {
    const [cluster, a] = await clusterOfTwo();
    await using _ = cluster;
    await insert(a, 1);
    await insert(a, 2);
    const subscription = a.subscribe('mailer', { from: 'beginning' });
    await expect(subscription.ack({ cursor: 'x' })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const [one] = await take(subscription, 1);
    const [, second] = await take(a.subscribe('other', { from: 'beginning' }), 2);
    await expect(subscription.ack(second!)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect(subscription.ack({ cursor: 'x' })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect(subscription.ack(undefined as never)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await subscription.ack(one!);
    await subscription.ack(one!);
    expect(idsOf(await take(subscription, 1))).toEqual([2]);
  });

  it('has one active instance; a standby takes over at once when it closes', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    const active = a.subscribe('mailer', LONG_LEASE);
    const one = serve(active);
    await eventually('it is active', () => active.epoch === 1);
    const [standby, other] = [b.subscribe('mailer', LONG_LEASE), a.subscribe('mailer', LONG_LEASE)];
    const [two, three] = [serve(standby), serve(other)];
    await insert(a, 1);
    await insert(b, 2);
    await eventually('both are seen', () => one.ids.length === 2);
    expect(a.status().subscriptions).toMatchObject([
      { name: 'mailer', state: 'active', epoch: 1 },
      { name: 'mailer', state: 'standby' },
    ]);
    await other.close();
    expect(await three.done).toBe('ended');
    await active.close();
    expect(await one.done).toBe('ended');
    await eventually('the standby is active', () => standby.epoch === 2, PROMPTLY_MS);
    await insert(a, 3);
    await eventually('it gets the rest', () => two.ids.length === 1);
    expect([two.ids, three.ids]).toEqual([[3], []]);
    expect(b.status().subscriptions).toMatchObject([{ state: 'active', epoch: 2 }]);
    expect(a.status().subscriptions).toEqual([]);
  });

  it.each<
    [string, (active: Subscription<CommittedChange>, a: SqliteReplica, end: AbortController) => unknown]
  >([
    ['its signal', (_, _a, end) => end.abort()],
    ['the close of its replica', (_, a) => a.close()],
    ['leaving its loop', (active) => active.return?.()],
  ])('lets go at once with %s, also while a change is in hand', async (_, endWith) => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _cluster = cluster;
    const end = new AbortController();
    await insert(a, 1);
    const active = a.subscribe('mailer', { ...LONG_LEASE, from: 'beginning', signal: end.signal });
    const [change] = await take(active, 1);
    const standby = b.subscribe('mailer', LONG_LEASE);
    const next = standby.next();
    endWith(active, a, end);
    // The change that was in hand and not acknowledged.
    const { value } = await next;
    expect(value).toMatchObject({ key: { id: 1n } });
    await expect(active.ack(change!)).rejects.toMatchObject({ code: 'CLOSED' });
    const after = await active.next().then(
      ({ done }) => done,
      (error: unknown) => (error as { code: string }).code,
    );
    expect(after).toBe(end.signal.aborted ? 'ABORTED' : true);
  });

  it.each(['before it begins', 'while it waits for a change'])(
    'throws the very reason of its signal, given %s',
    async (when) => {
      const [cluster, a] = await clusterOfTwo();
      await using _ = cluster;
      const end = new AbortController();
      const reason = new Error('mine');
      const subscription = a.subscribe('mailer', { ...LONG_LEASE, signal: end.signal });
      if (when === 'before it begins') end.abort(reason);
      const next = subscription.next();
      const ended = expect(next).rejects.toBe(reason);
      if (when !== 'before it begins') {
        await eventually('it is active', () => subscription.epoch !== undefined);
        end.abort(reason);
      }
      await ended;
    },
  );

  it('reads only what it is asked for, and does not stay behind for it', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    const subscription = b.subscribe('numbers', { tables: ['u'], integers: 'number', leaseMs: 1000 });
    const reading = subscription.next();
    await eventually('it is active', () => subscription.epoch !== undefined);
    for (let id = 1; id <= 20; id++) await insert(a, id);
    await eventually('its place has followed', async () => (await a.subscriptions())[0]?.lagEntries === 0);
    await a.execute([{ sql: 'INSERT INTO u VALUES (7)' }]);
    const { value } = await reading;
    expect(value).toMatchObject({ table: 'u', key: { id: 7 } });
    await sleep(1500);
    // What is delivered and not acknowledged holds it up.
    expect((await a.subscriptions())[0]?.lagEntries).toBeGreaterThan(0);
    expect(b.status().subscriptions[0]?.lagEntries).toBeGreaterThan(0);
  });

  it('is listed, and removed with all of its instances; a new one begins anew', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    const active = a.subscribe('mailer', { leaseMs: 1000 });
    const one = serve(active);
    await eventually('it is active', () => active.epoch === 1);
    const two = serve(b.subscribe('mailer'));
    await insert(a, 1);
    await eventually('it has the row', async () => (await a.subscriptions())[0]?.lagEntries === 0);
    expect(await b.subscriptions()).toMatchObject([{ name: 'mailer', epoch: 1, holder: { replica: 'a' } }]);
    await expect(a.removeSubscription('mailr')).rejects.toThrow('Did you mean "mailer"?');
    const { place } = await b.removeSubscription('mailer');
    expect(await Promise.all([one.done, two.done])).toEqual(['SUBSCRIPTION_LOST', 'SUBSCRIPTION_LOST']);
    expect(await a.subscriptions()).toEqual([]);
    await insert(a, 2);
    const again = a.subscribe('mailer', { from: place });
    expect(idsOf(await take(again, 1)).at(-1)).toBe(2);
    expect(again.epoch).toBeGreaterThan(2);
  });

  it('begins nothing on a replica that is closed, and says so', async () => {
    const [cluster, a] = await clusterOfTwo();
    await using _ = cluster;
    const open = serve(a.subscribe('mailer'));
    await eventually('it is listed', async () => (await a.subscriptions()).length === 1);
    const asked = [a.subscriptions(), a.removeSubscription('nope')].map((one) =>
      one.then(() => 'done').catch((error: unknown) => (error as { code: string }).code),
    );
    await a.close();
    expect(await open.done).toBe('ended');
    for (const code of await Promise.all(asked)) expect(['done', 'CLOSED', 'BAD_OPTION']).toContain(code);
    const closed = { code: 'CLOSED', message: expect.stringContaining('Open it again') as string };
    expect(() => a.changes()).toThrow(expect.objectContaining(closed) as Error);
    expect(() => a.subscribe('mailer')).toThrow(expect.objectContaining(closed) as Error);
    await expect(a.subscriptions()).rejects.toMatchObject(closed);
    await expect(a.removeSubscription('mailer')).rejects.toMatchObject(closed);
  });

  it('checks its name and options', async () => {
    const [cluster, a] = await clusterOfTwo();
    await using _ = cluster;
    const bad = (name: string, options?: object) => () => a.subscribe(name, options);
    for (const name of ['', 'a.b', 'ü', 'x'.repeat(64), 7 as never])
      expect(bad(name)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }) as Error);
    for (const options of [
      { form: 'now' },
      { from: 'x' },
      { leaseMs: 10 },
      { integers: 1 },
      { tables: 't' },
      { tables: [] },
    ])
      expect(bad('ok', options)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }) as Error);
    expect(bad('ok', { tables: ['nope'] })).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_TABLE' }) as Error,
    );
  });
});

describe('troubles of a durable subscription', () => {
  it('I16: NATS away is waited for, and nothing is lost or repeated', async () => {
    const [cluster, a] = await clusterOfTwo();
    await using _ = cluster;
    const subscription = a.subscribe('mailer', { leaseMs: 1000 });
    const { ids } = serve(subscription);
    await eventually('it is active', () => subscription.epoch === 1);
    await insert(a, 1);
    await eventually('it has the first', () => ids.length === 1);
    await cluster.server.kill();
    await insert(a, 2);
    await sleep(1500);
    await cluster.server.restart();
    await insert(a, 3);
    await eventually('it has the others', () => ids.length >= 3, 20_000);
    expect(ids).toEqual([1, 2, 3]);
    expect(subscription.epoch).toBe(1);
  });

  it('I16: a record that somebody deleted is written again with its place', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    const active = a.subscribe('mailer', { leaseMs: 1000 });
    const one = serve(active);
    await eventually('it is active', () => active.epoch === 1);
    const two = serve(b.subscribe('mailer', { leaseMs: 1000 }));
    await insert(a, 1);
    await eventually('it has the row', () => one.ids.length === 1);
    const nats = await cluster.nats();
    const bucket = await nats.connection.jetstream().views.kv(`ANTIPHON_${cluster.cluster}`);
    await bucket.delete('subscription.mailer');
    await eventually('it is there again', async () => (await a.subscriptions()).length === 1);
    await insert(a, 2);
    await eventually('it has both', () => one.ids.length === 2);
    await active.close();
    await insert(a, 3);
    await eventually('the standby goes on', () => two.ids.length === 1);
    expect([one.ids, two.ids]).toEqual([[1, 2], [3]]);
  });

  it('I16: what was quarantined and is applied later is delivered too, in the order of its origin', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    const { ids } = serve(b.subscribe('mailer'));
    await eventually('it is active', () => b.status().subscriptions[0]?.state === 'active');
    const log = (await cluster.nats()).log(cluster.cluster);
    await log.open({ create: false });
    for (const counter of [2, 1]) {
      await new Promise<void>((resolve) =>
        log.append({ origin: 'ghost', id: `g${counter}`, data: ofGhost(counter) }, () => resolve()),
      );
    }
    await eventually('both are quarantined', () => b.status().quarantined === 2);
    await insert(a, 1);
    await eventually('it has the one behind', () => ids.length === 1);
    const registry = (await cluster.nats()).registry(cluster.cluster);
    const record = { joinedAtMs: 1, engine: 'sqlite', version: '0', instance: 'g' };
    await registerMember(registry, { id: 'ghost', ...record });
    for (let round = 0; round < 2; round++) await b.quarantine.retry();
    await eventually('it has both', () => ids.length >= 3);
    await insert(a, 2);
    await eventually('it goes on', () => ids.length >= 4);
    expect(ids).toEqual([1, 101, 102, 2]);
  });

  it('says that the log does not hold what follows its place any more', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    await insert(a, 1);
    const subscription = a.subscribe('mailer', { from: 'beginning' });
    await take(subscription, 1);
    await subscription.close();
    for (const id of [2, 3, 4]) await insert(a, id);
    await Promise.all([a, b].map((replica) => replica.caughtUp()));
    const nats = await cluster.nats();
    const manager = await nats.connection.jetstreamManager();
    const { state } = await manager.streams.info(streamName(cluster.cluster));
    await manager.streams.purge(streamName(cluster.cluster), { seq: state.last_seq });
    const [again, error] = [a.subscribe('mailer'), { code: 'PLACE_LOST' }];
    await expect(again.next()).rejects.toMatchObject(error);
    await expect(a.subscribe('mailer').next()).rejects.toThrow(/begins at entry/);
    await a.removeSubscription('mailer');
    const anew = a.subscribe('mailer', { leaseMs: 1000 });
    const reading = anew.next();
    await eventually('it is active', () => anew.epoch !== undefined);
    await insert(a, 5);
    expect((await reading).value).toMatchObject({ key: { id: 5n } });
  });

  it('I16: an instance that was replaced gets nothing more, and its acknowledgements do not count', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    for (const id of [1, 2, 3]) await insert(a, id);
    const replaced = a.subscribe('mailer', { leaseMs: 1000, from: 'beginning' });
    const [one] = await take(replaced, 1);
    // As an instance that had taken over while this one was paused.
    const registry = (await cluster.nats()).registry(cluster.cluster);
    const entry = await registry.get('subscription.mailer');
    const [before] = await a.subscriptions();
    const { lagEntries: _lag, ...record } = before!;
    const holder = { replica: 'b', instance: 'other', leaseMs: 1000 };
    await writeSubscription(registry, { ...record, epoch: 2, holder }, entry!.revision);
    await expect(replaced.ack(one!)).rejects.toMatchObject({ code: 'SUBSCRIPTION_LOST' });
    void replaced.ack(one!);
    await expect(replaced.next()).rejects.toThrow(/an instance on b has taken over \(epoch 2\)/);
    expect(await replaced.next()).toMatchObject({ done: true });
    expect(replaced.epoch).toBeUndefined();
    expect(idsOf(await take(b.subscribe('mailer'), 3))).toEqual([1, 2, 3]);
  });

  it.each<[string, (generation: string) => string, RegExp]>([
    [
      'of another log',
      () => encodeCursor({ generation: 'other', seq: 1, vector: {}, inside: {} }),
      /another log/,
    ],
    [
      'behind what the log has lost',
      (generation) => encodeCursor({ generation, seq: 500, vector: { a: 400 }, inside: { a: 1 } }),
      /the log lost them/,
    ],
  ])('says that its place is %s', async (_, placeIn, message) => {
    const [cluster, a] = await clusterOfTwo();
    await using _cluster = cluster;
    const registry = (await cluster.nats()).registry(cluster.cluster);
    const place = placeIn(a.status().position.generation);
    const record = { name: 'mailer', place, epoch: 7, createdAtMs: 1, writtenAtMs: 1 };
    await writeSubscription(registry, record, undefined);
    await expect(a.subscribe('mailer').next()).rejects.toMatchObject({ code: 'PLACE_LOST' });
    await expect(a.subscribe('mailer').next()).rejects.toThrow(message);
    const foreign = encodeCursor({ generation: 'other', seq: 1, vector: {}, inside: {} });
    await expect(a.subscribe('new', { from: foreign }).next()).rejects.toMatchObject({ code: 'PLACE_LOST' });
    expect((await a.subscriptions()).map(({ name }) => name)).toEqual(['mailer']);
  });

  it.each([
    [
      'has a place that is none',
      encodeControl({ name: 'odd', place: 'junk', epoch: 7, createdAtMs: 1, writtenAtMs: 1 }),
    ],
    ['is not a record at all', new Uint8Array([1, 2, 3])],
  ])('one of which the record %s is named, and can be removed and begun anew', async (_, value) => {
    const [cluster, a] = await clusterOfTwo();
    await using _cluster = cluster;
    const active = a.subscribe('mailer', LONG_LEASE);
    serve(active);
    await eventually('it is active', () => active.epoch === 1);
    const registry = (await cluster.nats()).registry(cluster.cluster);
    const written = await registry.create('subscription.odd', value);
    const [mailer, odd] = await a.subscriptions();
    expect(mailer).toMatchObject({ name: 'mailer', epoch: 1 });
    expect(mailer).not.toHaveProperty('problem');
    expect(odd).toMatchObject({
      name: 'odd',
      problem: expect.stringContaining('"subscription.odd"') as string,
    });
    await expect(a.subscribe('odd').next()).rejects.toMatchObject({ code: 'MALFORMED_MESSAGE' });
    expect(await a.removeSubscription('odd')).toMatchObject({ name: 'odd' });
    expect((await a.subscriptions()).map(({ name }) => name)).toEqual(['mailer']);
    const again = a.subscribe('odd', LONG_LEASE);
    serve(again);
    await eventually('it is active', () => (again.epoch ?? 0) > (written?.revision ?? Infinity));
  });

  it('ends on a replica that stalls, so that another one goes on', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    const active = a.subscribe('mailer', LONG_LEASE);
    const one = serve(active);
    await eventually('it is active', () => active.epoch === 1);
    const standby = b.subscribe('mailer', LONG_LEASE);
    const two = serve(standby);
    cluster.sql('a', REBUILT);
    expect(await one.done).toBe('SCHEMA_DRIFT');
    await eventually('the other one is active', () => standby.epoch === 2, PROMPTLY_MS);
    await insert(b, 9);
    await eventually('it goes on', () => two.ids.includes(9));
    expect(a.status().subscriptions).toEqual([]);
  });

  it('is never taken on a replica that has stalled already', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    cluster.sql('a', REBUILT);
    await eventually('it stalls', () => a.status().lifecycle === 'stalled');
    const unable = a.subscribe('mailer', LONG_LEASE);
    const one = serve(unable);
    await eventually('it stands by', () => a.status().subscriptions.length === 1);
    await sleep(1500);
    expect(await b.subscriptions()).toEqual([]);
    const able = b.subscribe('mailer', { ...LONG_LEASE, from: 'beginning' });
    const two = serve(able);
    await eventually('the other one is active', () => able.epoch === 1, PROMPTLY_MS);
    await insert(b, 1);
    await eventually('it delivers', () => two.ids.length === 1);
    expect([one.ids, unable.epoch]).toEqual([[], undefined]);
    await a.recapture('t');
    await eventually('it goes on', () => a.status().lifecycle !== 'stalled');
    await able.close();
    await eventually('the recovered one takes over', () => unable.epoch === 2, PROMPTLY_MS);
  });

  it('goes over when its replica holds for longer than the lease, and comes back after it', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    const held = b.subscribe('mailer', { leaseMs: 1000 });
    const one = serve(held);
    await eventually('it is active', () => held.epoch === 1);
    const standby = a.subscribe('mailer', LONG_LEASE);
    const two = serve(standby);
    await insert(a, 1);
    await eventually('it delivers', () => one.ids.length === 1);
    cluster.sql('b', 'CREATE UNIQUE INDEX only_here ON t (v)');
    await insert(a, 2);
    await eventually('it holds', () => b.status().lifecycle === 'holding');
    expect(await one.done).toBe('SUBSCRIPTION_LOST');
    await expect(held.ack({ cursor: 'x' })).rejects.toThrow(/holding for more than 1000 ms/);
    await eventually('the other one goes on', () => two.ids.includes(2), PROMPTLY_MS);
    const again = b.subscribe('mailer', LONG_LEASE);
    const three = serve(again);
    await standby.close();
    await sleep(1500);
    expect(again.epoch).toBeUndefined();
    expect((await a.subscriptions())[0]?.holder).toBeUndefined();
    cluster.sql('b', 'DROP INDEX only_here');
    await eventually('it is active', () => again.epoch === 3, 10_000);
    await insert(a, 3);
    await eventually('it delivers', () => three.ids.includes(3));
    expect([one.ids, two.ids, three.ids]).toEqual([[1], [2], [3]]);
  });

  it('I16: is nobody’s after its instance has ended at whatever moment, in whatever way', async () => {
    const [cluster, a] = await clusterOfTwo();
    await using _ = cluster;
    await insert(a, 1);
    for (let round = 0; round < 60; round++) {
      const end = new AbortController();
      const options = { from: 'beginning', leaseMs: 1000, signal: end.signal } as const;
      const subscription = a.subscribe(`m${round}`, options);
      const next = subscription.next().catch(() => undefined);
      await sleep(round * 0.2);
      if (round % 3 === 0) await subscription.close();
      if (round % 3 === 1) await subscription.return?.();
      if (round % 3 === 2) end.abort();
      await next;
    }
    const isFree = async (): Promise<boolean> =>
      (await a.subscriptions()).every(({ holder }) => holder === undefined);
    await eventually('all are free', isFree, PROMPTLY_MS);
    expect(a.status().subscriptions).toEqual([]);
    const late = a.subscribe('late', { signal: AbortSignal.abort() });
    await expect(late.next()).rejects.toMatchObject({ code: 'ABORTED' });
    expect(a.status().subscriptions).toEqual([]);
  });

  it('I16: waits for a silent origin that alone may have what the place is behind', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    await insert(a, 1);
    await eventually('it has the row', () => b.status().vector['a'] === 1);
    const { generation, seq } = b.status().position;
    await cluster.server.kill();
    await eventually('it notices', () => a.status().connection !== 'connected');
    await insert(a, 2);
    await a.close();
    await cluster.server.restart();
    // As of an instance on `a`, which had more than the log has.
    const place = encodeCursor({ generation, seq: seq + 1, vector: { a: 2 }, inside: {} });
    const record = { name: 'mailer', place, epoch: 7, createdAtMs: 1, writtenAtMs: 1 };
    await writeSubscription((await cluster.nats()).registry(cluster.cluster), record, undefined);
    const standby = b.subscribe('mailer', LONG_LEASE);
    const { ids, done } = serve(standby);
    const waitsFor = (): string | undefined => b.status().subscriptions[0]?.waitsFor;
    await eventually('it says so', () => waitsFor()?.includes('Start a') === true);
    expect(waitsFor()).toContain('transaction a:2');
    await sleep(2500);
    const back = await cluster.replica('a');
    await eventually('it is active', () => standby.epoch === 8, 10_000);
    await insert(back, 3);
    await eventually('it delivers what follows', () => ids.includes(3));
    await standby.close();
    expect(await done).toBe('ended');
  });

  it('says when a trim went past a slow consumer, and that a `from` cannot be', async () => {
    const [cluster, a, b] = await clusterOfTwo();
    await using _ = cluster;
    await insert(a, 1);
    const subscription = b.subscribe('mailer', { from: 'beginning' });
    const stream = b.changes({ from: 'beginning' });
    const [first] = await take(subscription, 1);
    await stream.next();
    const large = 'x'.repeat(100_000);
    for (let id = 10; id < 200; id++)
      await a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, large] }]);
    await Promise.all([a, b].map((replica) => replica.caughtUp()));
    // A log that keeps nothing of what replicas saw last is another one.
    await sleep(1500);
    const { streams } = await (await cluster.nats()).connection.jetstreamManager();
    const { state } = await streams.info(streamName(cluster.cluster));
    await streams.purge(streamName(cluster.cluster), { seq: state.last_seq });
    const lost = { code: 'PLACE_LOST', message: expect.stringMatching(/log begins at entry/) as string };
    await expect(take(subscription, 200)).rejects.toMatchObject(lost);
    const rest = async (): Promise<void> => {
      for await (const change of stream) expect(change.last).toBe(true);
    };
    await expect(rest()).rejects.toMatchObject(lost);
    const { generation } = b.status().position;
    const ahead = encodeCursor({ generation, seq: state.last_seq + 1, vector: { b: 1e9 }, inside: {} });
    for (const from of [first!.cursor, ahead]) {
      const next = b.subscribe('new', { from }).next();
      await expect(next).rejects.toMatchObject({ code: 'PLACE_LOST' });
      await expect(next).rejects.toThrow(/does not exist yet and cannot begin at its `from`/);
      await expect(b.changes({ from }).next()).rejects.toMatchObject({ code: 'PLACE_LOST' });
    }
    expect((await a.subscriptions()).map(({ name }) => name)).toEqual(['mailer']);
  });
});
