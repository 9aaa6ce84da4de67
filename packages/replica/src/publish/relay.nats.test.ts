import type { Log, Topology } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { eventually } from '@antiphon/testing';
import { flakyLog, type Flakiness } from '../testing/flaky-log.js';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import { createKv, kvOf, put } from '../testing/kv.js';
import { seeded } from '../testing/seeded.js';

const TOPOLOGIES: readonly Topology[] = [
  { mode: 'multi-primary' },
  { mode: 'primary-replica', primary: 'a' },
];

describe.each(TOPOLOGIES)('relay, %j', (topology) => {
  it.each([1, 2, 3])(
    'I2, I3: everything arrives once and in order over a log that loses and repeats (seed %i)',
    async (seed) => {
      await using cluster = await ClusterFixture.start();
      const flakiness: Flakiness = { lost: 0.05, silent: 0.05, refused: 0.05 };
      const [left, right] = [createKv(cluster, 'a'), kvOf(cluster, 'b')];
      const log = (real: Log) => flakyLog(real, flakiness, seeded(seed));
      const limits = { packBytes: 400, windowMessages: 16 };
      const a = await cluster.replicaWith({ log }, 'a', { topology, limits });
      const b = await cluster.replica('b', { topology });
      for (let n = 0; n < 600; n++) {
        const writes = [put(a, `k${n % 7}`, String(n))];
        if (n % 3 === 0) await Promise.all(writes);
      }
      await eventually('all of it is published', () => a.status().outbox.unpublished === 0, 20_000);
      await b.caughtUp();
      expect(b.status().vector).toEqual({ a: 600 });
      expect([...right.rows].sort()).toEqual([...left.rows].sort());
      expect(b.status()).toMatchObject({ quarantined: 0, waitingFor: [] });
    },
  );

  it('I3: goes on after a restart in the middle of it', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a');
    const right = kvOf(cluster, 'b');
    const flakiness: Flakiness = { lost: 1, silent: 0, refused: 0 };
    const log = (real: Log) => flakyLog(real, flakiness, seeded(7));
    const first = await cluster.replicaWith({ log }, 'a', { topology });
    const b = await cluster.replica('b', { topology });
    for (let n = 0; n < 100; n++) await put(first, `k${n}`, 'v');
    expect(first.status().outbox.unpublished).toBe(100);
    await first.close();
    const again = await cluster.replica('a', { topology });
    await put(again, 'last', 'v');
    await eventually('b has all', () => right.rows.size === 101);
    expect(b.status().vector).toEqual({ a: 101 });
  });

  it('sends at an interval when asked to', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a');
    const right = kvOf(cluster, 'b');
    const a = await cluster.replica('a', { topology, update: { mode: 'async', intervalMs: 100 } });
    await cluster.replica('b', { topology });
    await eventually('idle', () => a.status().outbox.unpublished === 0);
    const sent = a.status().totals['publishedMessages'] ?? 0;
    for (let n = 0; n < 50; n++) await put(a, `k${n}`, 'v');
    await eventually('b has all', () => right.rows.size === 50);
    expect((a.status().totals['publishedMessages'] ?? 0) - sent).toBeLessThan(10);
  });
});

describe('relay of a replica that appends alone', () => {
  it("I7: lets somebody else's entry be judged like on every replica, and goes on behind it", async () => {
    await using cluster = await ClusterFixture.start();
    const topology: Topology = { mode: 'primary-replica', primary: 'a' };
    createKv(cluster, 'a');
    const right = kvOf(cluster, 'b');
    const a = await cluster.replica('a', { topology });
    const b = await cluster.replica('b', { topology });
    await put(a, 'k', '1');
    await eventually('b has it', () => right.rows.get('k') === '1');
    const { log } = await cluster.ports();
    const forged = { origin: 'stranger', id: 'stranger-1', data: new Uint8Array([0xc0]) };
    const stored = await new Promise((settled) => log.append(forged, settled));
    expect(stored).toMatchObject({ type: 'stored' });
    await put(a, 'k', '2');
    await eventually('b has the next one', () => right.rows.get('k') === '2');
    await eventually('both have quarantined it', () =>
      [a, b].every((replica) => replica.status().quarantined === 1),
    );
    await eventually('all of it is published', () => a.status().outbox.unpublished === 0);
    expect(a.status().vector).toEqual(b.status().vector);
  });
});
