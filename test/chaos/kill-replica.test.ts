import { afterEach, describe, expect, it } from 'vitest';
import { checkNothingLostNothingTwice } from './checks.js';
import { ChaosCluster, pause, ROUNDS, sqlite3 } from './cluster.js';

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

const TOPOLOGIES = [
  { name: 'multi-primary', topology: { mode: 'multi-primary' }, writers: [0, 1, 2] },
  { name: 'primary-replica', topology: { mode: 'primary-replica', primary: 'a' }, writers: [0] },
];

describe.each(TOPOLOGIES)('kill -9 of a replica under load, $name', ({ topology, writers }) => {
  it('I1 I2 I3 I4: nothing is lost, nothing is applied twice, all files end equal', async () => {
    cluster = await ChaosCluster.start(['a', 'b', 'c'], topology);
    const writing = cluster.replicas.filter((_, index) => writers.includes(index));
    for (const replica of writing) replica.load();
    for (let round = 0; round < ROUNDS; round++) {
      await pause(100 + Math.random() * 400);
      const victim = cluster.at(round % 3);
      await victim.kill();
      if (round % 2 === 0 && writing.includes(victim)) {
        // Another program goes on writing while its replica is down.
        sqlite3(victim.config.file, `INSERT INTO orders VALUES ('outside-${round}', ${round})`);
      }
      await pause(Math.random() * 300);
      await victim.start();
      if (writing.includes(victim)) victim.load();
    }
    await Promise.all(writing.map((replica) => replica.idle()));
    await cluster.converged();
    const committed = checkNothingLostNothingTwice(cluster);
    expect(committed).toBeGreaterThan(50 * ROUNDS);
    expect(cluster.replicas.flatMap((replica) => replica.failures)).toEqual([]);
  });
});
