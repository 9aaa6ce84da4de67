import { afterEach, describe, expect, it } from 'vitest';
import { pause, ROUNDS, type ChaosCluster } from './cluster.js';
import { eventually } from '@antiphon/testing';
import type { ReplicaHandle } from './replica-handle.js';
import { checkAcknowledged, checkHonest, resolveUnknown, type Verdicts } from './sync-checks.js';
import { idle, startSync, TOPOLOGIES } from './sync-cluster.js';
import { readJournal } from './sync-journal.js';

/** Rounds for each victim. */
const CYCLES = Math.ceil(ROUNDS / (ROUNDS >= 20 ? 1 : 3));
const VICTIMS = ['writer', 'follower', 'nats-server'] as const;
const CASES = TOPOLOGIES.flatMap((one) =>
  (['all', 'majority'] as const).map((acks) => ({
    ...one,
    acks,
    writers: one.name === 'multi-primary' ? [0, 1] : [0],
  })),
);

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

async function load(replica: ReplicaHandle): Promise<void> {
  await replica.ask('load', { load: 'entries', count: 3, timeoutMs: 1200, pauseMs: 2 });
}

/** Kills it, looks at the files at once, and brings it back. */
async function disaster(chaos: ChaosCluster, victim: ReplicaHandle | 'nats-server'): Promise<void> {
  const { server } = chaos;
  if (victim === 'nats-server') await server.kill();
  else await victim.kill();
  checkAcknowledged(chaos);
  // Sometimes longer than writes wait.
  await pause(Math.random() * 1500);
  checkAcknowledged(chaos);
  if (victim === 'nats-server') await server.restart();
  else await victim.start();
}

describe.each(CASES)(
  'kill -9 during synchronous writes, $name, acks $acks',
  ({ topology, acks, writers }) => {
    it(
      'I6 I8: what was acknowledged is in the files at once, what was rejected nowhere, unknown ones resolve',
      { timeout: 60_000 + ROUNDS * 30_000 },
      async () => {
        cluster = await startSync({ topology, update: { acks } });
        const chaos = cluster;
        const verdicts: Verdicts = new Map();
        const writing = chaos.replicas.filter((_, index) => writers.includes(index));
        await Promise.all(writing.map(load));
        for (let round = 0; round < CYCLES * VICTIMS.length; round++) {
          await pause(200 + Math.random() * 400);
          const kind = VICTIMS[round % VICTIMS.length];
          const cycle = Math.floor(round / VICTIMS.length);
          const writer = chaos.at(writers[cycle % writers.length] ?? 0);
          const victim =
            kind === 'nats-server' ? kind : kind === 'writer' ? writer : chaos.at(1 + ((cycle + 1) % 2));
          await disaster(chaos, victim);
          if (victim !== 'nats-server' && writing.includes(victim)) await load(victim);
          const before = readJournal(chaos).acknowledged.length;
          await eventually(
            'writes are acknowledged again',
            () => readJournal(chaos).acknowledged.length > before + 20,
          );
          await resolveUnknown(chaos, verdicts);
        }
        await idle(chaos.replicas);
        await resolveUnknown(chaos, verdicts);
        await chaos.converged();
        checkHonest(chaos, verdicts);
        expect(checkAcknowledged(chaos)).toBeGreaterThan(50 * CYCLES);
      },
    );
  },
);
