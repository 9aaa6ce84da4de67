import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { checkNothingLostNothingTwice } from './checks.js';
import { ChaosCluster, pause, ROUNDS } from './cluster.js';

/**
 * How long the outage of the third test lasts: 60 s with `npm run test:chaos`, shorter in the
 * ordinary run.
 */
const OUTAGE_MS = ROUNDS >= 20 ? 60_000 : 8_000;

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

function committed(): number {
  return cluster?.journal().committed.length ?? 0;
}

describe('nats-server fails under load from all replicas', () => {
  it('I2 I3 I4: kill -9 and restart, again and again', async () => {
    cluster = await ChaosCluster.start(['a', 'b', 'c'], { mode: 'multi-primary' });
    for (const replica of cluster.replicas) replica.load();
    for (let round = 0; round < ROUNDS; round++) {
      await pause(200 + Math.random() * 500);
      await cluster.server.kill();
      await pause(Math.random() * 500);
      await cluster.server.restart();
    }
    await Promise.all(cluster.replicas.map((replica) => replica.idle()));
    await cluster.converged();
    expect(checkNothingLostNothingTwice(cluster)).toBeGreaterThan(50 * ROUNDS);
    expect(cluster.replicas.flatMap((replica) => replica.failures)).toEqual([]);
  });

  it('I3 I11: writes go on without any nats-server, memory stays, propagation resumes within 3 s', async () => {
    cluster = await ChaosCluster.start(['a', 'b', 'c'], { mode: 'multi-primary' });
    for (const replica of cluster.replicas) replica.load(2, 2);
    await pause(1000);
    await cluster.server.kill();
    await pause(1000);
    const before = await Promise.all(
      cluster.replicas.map(async (replica) => (await replica.status()).rssBytes),
    );
    const committedBefore = committed();
    await pause(OUTAGE_MS);
    expect(committed()).toBeGreaterThan(committedBefore + OUTAGE_MS / 20);
    const after = await Promise.all(
      cluster.replicas.map(async (replica) => (await replica.status()).rssBytes),
    );
    await Promise.all(cluster.replicas.map((replica) => replica.idle()));

    const applied = (): string[] => cluster?.read('SELECT count(*) FROM entries') ?? [];
    const atReturn = applied();
    await cluster.server.restart();
    const arrived = (): boolean => applied().some((count, index) => count !== atReturn[index]);
    await eventually('the first change arrives', arrived, 3_000);
    await cluster.converged();
    checkNothingLostNothingTwice(cluster);
    after.forEach((bytes, index) => {
      expect(bytes - (before[index] ?? 0), 'growth of memory during the outage').toBeLessThan(
        60 * 1024 * 1024,
      );
    });
  });
});

describe.each(['replica', 'nats-server'])('SIGSTOP of a %s under load', (which) => {
  it('I2 I3 I4: it stops for 10 s and goes on', async () => {
    cluster = await ChaosCluster.start(['a', 'b', 'c'], { mode: 'multi-primary' });
    for (const replica of cluster.replicas) replica.load();
    await pause(500);
    if (which === 'replica') cluster.at(1).pause();
    else await cluster.server.pause();
    await pause(10_000);
    if (which === 'replica') cluster.at(1).resume();
    else cluster.server.resume();
    await pause(500);
    await Promise.all(cluster.replicas.map((replica) => replica.idle()));
    await cluster.converged();
    expect(checkNothingLostNothingTwice(cluster)).toBeGreaterThan(100);
  });
});
