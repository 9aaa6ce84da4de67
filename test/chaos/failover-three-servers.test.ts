import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pause, ROUNDS, type ChaosCluster } from './cluster.js';
import { epochOf, LONGEST_ELECTION_MS, primaryOf, SHORT_FAILOVER, successorOf } from './failover-cluster.js';
import { checkRegisters, loadRegisters } from './register-check.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync } from './sync-cluster.js';
import { PATIENCE_MS, ThreeServers } from './three-servers.js';

const { topology } = PRIMARY_REPLICA;
const START_MS = 40_000;
const STREAMS = ['ANTIPHON_chaos', 'ANTIPHON-LEASE_chaos'] as const;

/** Each of them takes a while: that of nats-server until it has leaders again. */
const LOSSES = Math.ceil(ROUNDS / 3);

let three: ThreeServers;
let cluster: ChaosCluster | undefined;
beforeEach(async () => {
  three = await ThreeServers.start();
}, PATIENCE_MS);
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await three.stop();
}, PATIENCE_MS);

/** As a supervisor does: while the streams have no leader it ends, and is started once more. */
async function startAgain(replica: ReplicaHandle): Promise<void> {
  let [isUp, why] = [false, ''];
  const start = async (): Promise<boolean> => {
    try {
      await replica.start(2 * START_MS);
      isUp = true;
    } catch (error) {
      why = String(error);
    }
    return isUp;
  };
  await eventually(`${replica.config.id} starts`, start, PATIENCE_MS).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${why}`);
  });
}

describe.each([
  { mode: 'async', update: { mode: 'async' } },
  { mode: 'sync', update: { mode: 'sync', acks: 'majority' } },
])('three servers that lose the leader of the log, $mode', ({ mode, update }) => {
  it(
    'I7 I8 I9 I12: and the primary at the same moment, or not: registers are linearizable',
    { timeout: 120_000 + LOSSES * 2 * LONGEST_ELECTION_MS },
    async () => {
      cluster = await startSync({
        ...{ topology, failover: SHORT_FAILOVER, update, servers: three.servers.urls.join(',') },
        // nats-server 2.9 takes seconds to make a consumer anew while a server is down.
        limits: { connectTimeoutMs: START_MS },
      });
      const chaos = cluster;
      await Promise.all(chaos.replicas.map(loadRegisters));
      for (let round = 0; round < LOSSES; round++) {
        const primary = await primaryOf(chaos.replicas);
        await pause(1000);
        const before = epochOf(chaos);
        // In turns: that of the log and that of the lease, with the primary or without.
        const leader = await three.leaderOf(round % 2 === 0 ? STREAMS[0] : STREAMS[1]);
        await three.servers.kill(leader);
        if (round % 3 !== 2) {
          await primary.kill();
          await successorOf(primary, chaos, before);
          await startAgain(primary);
          await loadRegisters(primary);
        }
        await pause(500);
        three.servers.run(leader);
        await three.leaderOf(STREAMS[0]);
      }
      const seen = await checkRegisters(chaos);
      if (mode === 'sync') expect(seen.rescued).toBe(0);
      expect(seen.writes, JSON.stringify(seen)).toBeGreaterThan(5 * LOSSES);
    },
  );
});
