import { AntiphonError } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { eventually } from '../testing/eventually.js';
import { MapCluster } from '../testing/map-cluster.js';
import { MapStore } from '../testing/map-store.js';

function failing(times: number, error: () => Error, what: 'write' | 'apply'): MapStore['fault'] {
  let left = times;
  return (during) => {
    if (during === what && left-- > 0) throw error();
  };
}

describe('a store with troubles', () => {
  it.each(['STORE_BUSY', 'STORE_FULL'] as const)(
    '%s: writes and changes of others are tried again',
    async (code) => {
      await using cluster = await MapCluster.start();
      const [left, right] = [cluster.founder(), new MapStore()];
      const a = await cluster.replica('a', left);
      const b = await cluster.replica('b', right);
      const error = () => new AntiphonError(code, 'made up');
      left.fault = failing(3, error, 'write');
      right.fault = failing(3, error, 'apply');
      await a.transaction((tx) => tx.put('x', '1'));
      await eventually('b has it', () => right.rows.has('x'));
      await eventually('no alarm is left', () => b.status().alarms.length === 0);
      expect(b.status().counts['storeRetries']).toBe(3);
      left.fault = failing(Infinity, error, 'write');
      const late = a.transaction((tx) => tx.put('y', '1'), { timeoutMs: 100 });
      await expect(late).rejects.toMatchObject({ code, retriable: true });
    },
  );

  it('STORE_UNAVAILABLE: changes of others are held, and a write is left to its caller', async () => {
    await using cluster = await MapCluster.start();
    const [left, right] = [cluster.founder(), new MapStore()];
    const a = await cluster.replica('a', left);
    const b = await cluster.replica('b', right);
    const error = () => new AntiphonError('STORE_UNAVAILABLE', 'made up');
    left.fault = failing(1, error, 'write');
    right.fault = failing(4, error, 'apply');
    await expect(a.transaction((tx) => tx.put('x', '1'))).rejects.toMatchObject({ retriable: true });
    await a.transaction((tx) => tx.put('x', '1'));
    await eventually('b holds', () => b.status().holding?.code === 'STORE_UNAVAILABLE');
    expect(b.status().alarms).toMatchObject([{ name: 'apply' }]);
    await eventually('b has it', () => right.rows.has('x'));
    await eventually('no alarm is left', () => b.status().alarms.length === 0);
  });

  it('STORE_CORRUPT: stalls where the changes of others go in, and says what to do', async () => {
    await using cluster = await MapCluster.start();
    const [left, right] = [cluster.founder(), new MapStore()];
    const a = await cluster.replica('a', left);
    const b = await cluster.replica('b', right);
    right.fault = failing(Infinity, () => new AntiphonError('STORE_CORRUPT', 'made up'), 'apply');
    await a.transaction((tx) => tx.put('x', '1'));
    await eventually('b stalls', () => b.status().lifecycle === 'stalled');
    expect(b.status().stalled).toMatchObject({ code: 'STORE_CORRUPT' });
  });

  it('a defect restarts the actors, and nothing is lost or applied twice', async () => {
    await using cluster = await MapCluster.start();
    const [left, right] = [cluster.founder(), new MapStore()];
    const a = await cluster.replica('a', left);
    const b = await cluster.replica('b', right);
    right.fault = failing(2, () => new TypeError('a defect'), 'apply');
    left.fault = failing(1, () => new TypeError('a defect'), 'write');
    const crashed = a.transaction((tx) => tx.put('x', '1'));
    await expect(crashed).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
    for (let n = 0; n < 20; n++) await a.transaction((tx) => tx.put(`k${n}`, String(n)));
    await b.transaction((tx) => tx.put('from b', '1')).catch(() => undefined);
    await eventually('b has all', () => (right.state().vector['a'] ?? 0) === 20);
    expect(b.status().lifecycle).not.toBe('failed');
  });

  it('a defect that stays ends the replica, with its database intact', async () => {
    await using cluster = await MapCluster.start();
    const right = new MapStore();
    const a = await cluster.replica('a', cluster.founder());
    const b = await cluster.replica('b', right);
    right.fault = failing(Infinity, () => new TypeError('a defect'), 'apply');
    await a.transaction((tx) => tx.put('x', '1'));
    expect(await b.ended).toMatchObject({ code: 'INTERNAL' });
    expect(b.status().lifecycle).toBe('failed');
    await expect(b.transaction((tx) => tx.put('y', '1'))).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('an id that is used twice', () => {
  it('belongs to the process that the registry knows: another one is alarmed, one that lost it ends', async () => {
    await using cluster = await MapCluster.start();
    const a = await cluster.replica('a', cluster.founder(), { limits: { beatMs: 100 } });
    const nats = await cluster.connect();
    const { encodeBeat } = await import('@antiphon/core');
    const { registerMember } = await import('@antiphon/core');
    const say = (instance: string): void =>
      nats.bus().publish(
        `antiphon.${cluster.name}.beat.a`,
        encodeBeat({
          ...{ id: 'a', instance, startedAtMs: 1000, lifecycle: 'following', generation: 'g', seq: 0 },
          ...{
            appliedSeq: 0,
            waitsFor: {},
            waitsWhy: {},
            strangers: [],
            vector: {},
            lagMessages: 0,
            unpublished: 0,
            nowMs: 0,
          },
        }),
      );
    say('other');
    await eventually('alarmed', () => a.status().alarms.some(({ name }) => name === 'duplicate'));
    expect(a.status().lifecycle).toBe('following');
    const record = { id: 'a', joinedAtMs: 1, engine: 'map', version: '0', instance: 'other' };
    await registerMember(nats.registry(cluster.name), record);
    await eventually('it ends', () => {
      say('other');
      return a.status().lifecycle === 'closed';
    });
    expect(await a.ended).toMatchObject({ code: 'DUPLICATE_REPLICA' });
    await expect(a.transaction((tx) => tx.put('x', '1'))).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
