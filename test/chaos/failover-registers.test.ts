import { Random } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { pause, ROUNDS, type ChaosCluster } from './cluster.js';
import { epochOf, LONGEST_ELECTION_MS, primaryOf, SHORT_FAILOVER, successorOf } from './failover-cluster.js';
import { checkRegisters, loadRegisters } from './register-check.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
/** Chooses the disasters. The moments in which they come are the machine's. */
const SEED = process.env.ANTIPHON_CHAOS_SEED ?? '1';

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

type Disaster = (chaos: ChaosCluster, victim: ReplicaHandle, random: Random) => Promise<void>;

/** Most of them of the primary, which is the victim then. */
const DISASTERS: Readonly<Record<string, Disaster>> = {
  kill: async (chaos, victim) => {
    const before = epochOf(chaos);
    const wasPrimary = (await primaryOf(chaos.replicas)) === victim;
    await victim.kill();
    if (wasPrimary) await successorOf(victim, chaos, before);
    await victim.start();
    await loadRegisters(victim);
  },
  'kill, and a candidate as well': async (chaos, victim, random) => {
    await victim.kill();
    // About then somebody asks for the lease, claims, reads the claim, and takes over.
    await pause(250 + random.next() * 600);
    const others = chaos.replicas.filter((replica) => replica !== victim);
    const candidate = others[Math.floor(random.next() * others.length)] as ReplicaHandle;
    await candidate.kill();
    for (const replica of [candidate, victim]) {
      await replica.start();
      await loadRegisters(replica);
    }
  },
  'kill and restart at once': async (_, victim) => {
    await victim.kill();
    await victim.start();
    await loadRegisters(victim);
  },
  stop: async (chaos, victim, random) => {
    const before = epochOf(chaos);
    const wasPrimary = (await primaryOf(chaos.replicas)) === victim;
    victim.pause();
    if (wasPrimary) await successorOf(victim, chaos, before);
    await pause(random.next() * 1000);
    victim.resume();
  },
  'stop for less than the lease': async (_, victim, random) => {
    victim.pause();
    await pause(300 + random.next() * 1000);
    victim.resume();
  },
  switchover: async (chaos, _, random) => {
    const primary = await primaryOf(chaos.replicas);
    const others = chaos.replicas.filter((replica) => replica !== primary);
    const to = others[Math.floor(random.next() * others.length)]?.config.id;
    // It may be refused or taken back while a victim of before catches up.
    await primary.ask('switchOver', { to, timeoutMs: 3000 }).catch(() => undefined);
  },
  'silent link': async (chaos, victim, random) => {
    const before = epochOf(chaos);
    const wasPrimary = (await primaryOf(chaos.replicas)) === victim;
    chaos.linkOf(victim).silence();
    if (wasPrimary) await successorOf(victim, chaos, before);
    await pause(random.next() * 2000);
    chaos.linkOf(victim).heal();
  },
  'cut link': async (chaos, victim, random) => {
    const before = epochOf(chaos);
    const wasPrimary = (await primaryOf(chaos.replicas)) === victim;
    chaos.linkOf(victim).cut();
    if (wasPrimary) await successorOf(victim, chaos, before);
    await pause(random.next() * 2000);
    chaos.linkOf(victim).heal();
  },
  forced: async (chaos, victim) => {
    await victim.ask('takeOver').catch(() => undefined);
    await primaryOf(chaos.replicas);
  },
};

/** Each kind once, in an order by chance, then again in another one. */
function* disasters(random: Random): Generator<[string, Disaster]> {
  for (;;) {
    const left = Object.entries(DISASTERS);
    while (left.length > 0) yield* left.splice(Math.floor(random.next() * left.length), 1);
  }
}

describe.each([
  { mode: 'async', update: { mode: 'async' } },
  { mode: 'sync', update: { mode: 'sync', acks: 'majority' } },
])('registers where the primary changes, $mode', ({ mode, update }) => {
  it(
    `I8 I9 I12: strong reads are linearizable, and what was told of writes is so (seed ${SEED})`,
    { timeout: 60_000 + ROUNDS * LONGEST_ELECTION_MS },
    async () => {
      const random = new Random(`${mode} ${SEED}`);
      cluster = await startSync({ topology, failover: SHORT_FAILOVER, update, proxied: true });
      const chaos = cluster;
      await Promise.all(chaos.replicas.map(loadRegisters));
      const kinds = disasters(random);
      for (let round = 0; round < ROUNDS; round++) {
        const primary = await primaryOf(chaos.replicas);
        await pause(300 + random.next() * 500);
        const [kind, disaster] = kinds.next().value as [string, Disaster];
        const others = chaos.replicas.filter((replica) => replica !== primary);
        const other = others[Math.floor(random.next() * others.length)] as ReplicaHandle;
        const victim = kind === 'forced' || random.next() < 0.25 ? other : primary;
        await disaster(chaos, victim, random).catch((error: unknown) => {
          throw new Error(`round ${round}, ${kind} of ${victim.config.id}: ${String(error)}`);
        });
      }
      const seen = await checkRegisters(chaos);
      if (mode === 'sync') expect(seen.rescued).toBe(0);
      // Those of an asynchronous primary go beside the chain of what it sends, which is slow.
      expect(seen.reads, JSON.stringify(seen)).toBeGreaterThan((mode === 'sync' ? 10 : 1) * ROUNDS);
      expect(seen.writes, JSON.stringify(seen)).toBeGreaterThan(5 * ROUNDS);
    },
  );
});
