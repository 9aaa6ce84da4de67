import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError } from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import { describe, expect, it } from 'vitest';
import { eventually } from '@antiphon/testing';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';
import { faultyStore, type FaultyStore } from '../testing/faulty-store.js';
import { createKv, kvOf, put, type Kv } from '../testing/kv.js';

interface Pair {
  readonly a: SqliteReplica;
  readonly b: SqliteReplica;
  /** The stores of both. */
  readonly left: FaultyStore;
  readonly right: FaultyStore;
  /** The files of both. */
  readonly kvs: readonly [Kv, Kv];
}

async function pair(cluster: ClusterFixture, { busyTimeoutMs = 5000 } = {}): Promise<Pair> {
  const kvs = [createKv(cluster, 'a'), kvOf(cluster, 'b')] as const;
  const onFile = ({ file }: Kv): FaultyStore => faultyStore(sqlite({ file, busyTimeoutMs }));
  const [left, right] = [onFile(kvs[0]), onFile(kvs[1])];
  const a = await cluster.replica('a', { store: left.store });
  return { a, b: await cluster.replica('b', { store: right.store }), left, right, kvs };
}

function failing(times: number, error: () => Error, what: 'write' | 'apply'): FaultyStore['fault'] {
  let left = times;
  return (during) => {
    if (during === what && left-- > 0) throw error();
  };
}

describe('a store with troubles', () => {
  it('STORE_BUSY: writes and changes of others are tried again', async () => {
    await using cluster = await ClusterFixture.start();
    // SQLite waits for a lock without giving way, and it is this process that has to end the lock.
    const { a, b, kvs } = await pair(cluster, { busyTimeoutMs: 5 });
    const [left, right] = kvs;
    const lockOfB = right.lock();
    const lockOfA = left.lock();
    const write = put(a, 'x', '1');
    expect(await Promise.race([write, sleep(100, 'it waits')])).toBe('it waits');
    const late = put(a, 'y', '1', { timeoutMs: 2000 });
    await expect(late).rejects.toMatchObject({ code: 'STORE_BUSY', retriable: true });
    lockOfA[Symbol.dispose]();
    await write;
    await eventually('b tries again', () => (b.status().counts['storeRetries'] ?? 0) >= 3);
    expect(right.rows.has('x')).toBe(false);
    lockOfB[Symbol.dispose]();
    await eventually('b has it', () => right.rows.has('x'));
    await eventually('no alarm is left', () => b.status().alarms.length === 0);
  });

  it('STORE_FULL: writes and changes of others are tried again', async () => {
    await using cluster = await ClusterFixture.start();
    const { a, b, left, right, kvs } = await pair(cluster);
    const error = () => new AntiphonError('STORE_FULL', 'made up');
    left.fault = failing(3, error, 'write');
    right.fault = failing(3, error, 'apply');
    await put(a, 'x', '1');
    await eventually('b has it', () => kvs[1].rows.has('x'));
    await eventually('no alarm is left', () => b.status().alarms.length === 0);
    expect(b.status().counts['storeRetries']).toBe(3);
    left.fault = failing(Infinity, error, 'write');
    const late = put(a, 'y', '1', { timeoutMs: 500 });
    await expect(late).rejects.toMatchObject({ code: 'STORE_FULL', retriable: true });
  });

  it('STORE_UNAVAILABLE: changes of others are held, and a write is left to its caller', async () => {
    await using cluster = await ClusterFixture.start();
    const { a, b, left, right, kvs } = await pair(cluster);
    const error = () => new AntiphonError('STORE_UNAVAILABLE', 'made up');
    left.fault = failing(1, error, 'write');
    right.fault = failing(4, error, 'apply');
    await expect(put(a, 'x', '1')).rejects.toMatchObject({ retriable: true });
    await put(a, 'x', '1');
    await eventually('b holds', () => b.status().holding?.code === 'STORE_UNAVAILABLE');
    expect(b.status().alarms).toMatchObject([{ name: 'apply' }]);
    await eventually('b has it', () => kvs[1].rows.has('x'));
    await eventually('no alarm is left', () => b.status().alarms.length === 0);
  });

  it('STORE_CORRUPT: stalls where the changes of others go in, and says what to do', async () => {
    await using cluster = await ClusterFixture.start();
    const { a, b, right } = await pair(cluster);
    right.fault = failing(Infinity, () => new AntiphonError('STORE_CORRUPT', 'made up'), 'apply');
    await put(a, 'x', '1');
    await eventually('b stalls', () => b.status().lifecycle === 'stalled');
    expect(b.status().stalled).toMatchObject({ code: 'STORE_CORRUPT' });
  });

  it('a defect restarts the actors, and nothing is lost or applied twice', async () => {
    await using cluster = await ClusterFixture.start();
    const { a, b, left, right } = await pair(cluster);
    right.fault = failing(2, () => new TypeError('a defect'), 'apply');
    left.fault = failing(1, () => new TypeError('a defect'), 'write');
    const crashed = put(a, 'x', '1');
    await expect(crashed).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
    for (let n = 0; n < 20; n++) await put(a, `k${n}`, String(n));
    await put(b, 'from b', '1').catch(() => undefined);
    await eventually('b has all', () => (b.status().vector['a'] ?? 0) === 20);
    expect(b.status().lifecycle).not.toBe('failed');
  });

  it('a defect that stays ends the replica, with its database intact', async () => {
    await using cluster = await ClusterFixture.start();
    const { a, b, right } = await pair(cluster);
    right.fault = failing(Infinity, () => new TypeError('a defect'), 'apply');
    await put(a, 'x', '1');
    expect(await b.ended).toMatchObject({ code: 'INTERNAL' });
    expect(b.status().lifecycle).toBe('failed');
    await expect(put(b, 'y', '1')).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('an id that is used twice', () => {
  it('belongs to the process that the registry knows: another one is alarmed, one that lost it ends', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a');
    const a = await cluster.replica('a', { limits: { beatMs: 100 } });
    const nats = await cluster.nats();
    const { encodeBeat, registerMember } = await import('@antiphon/core');
    const say = (instance: string): void =>
      nats.bus().publish(
        `antiphon.${cluster.cluster}.beat.a`,
        encodeBeat({
          ...{ id: 'a', instance, startedAtMs: 1000, lifecycle: 'following', generation: 'g', seq: 0 },
          ...{
            appliedSeq: 0,
            waitsFor: {},
            waitsWhy: {},
            strangers: [],
            vector: {},
            lagEntries: 0,
            lagMs: 0,
            unpublished: 0,
            nowMs: 0,
            reads: { weight: 1, isDrained: false },
          },
        }),
      );
    say('other');
    await eventually('alarmed', () => a.status().alarms.some(({ name }) => name === 'duplicate'));
    expect(a.status().lifecycle).toBe('following');
    const record = { id: 'a', joinedAtMs: 1, engine: 'sqlite', version: '0', instance: 'other' };
    await registerMember(nats.registry(cluster.cluster), record);
    await eventually('it ends', () => {
      say('other');
      return a.status().lifecycle === 'closed';
    });
    expect(await a.ended).toMatchObject({ code: 'DUPLICATE_REPLICA' });
    await expect(put(a, 'x', '1')).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
