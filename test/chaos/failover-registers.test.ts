import { existsSync, readFileSync } from 'node:fs';
import { Random } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { pause, ROUNDS, sqlite3, type ChaosCluster } from './cluster.js';
import { epochOf, LONGEST_ELECTION_MS, primaryOf, SHORT_FAILOVER, successorOf } from './failover-cluster.js';
import { checkReigns, type ReignOperation } from './reigns.js';
import type { ReplicaHandle } from './replica-handle.js';
import { idle, PRIMARY_REPLICA, startSync } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
/** Chooses the disasters. The moments in which they come are the machine's. */
const SEED = process.env.ANTIPHON_CHAOS_SEED ?? '1';
const LOAD = { timeoutMs: 1500, pauseMs: 5 };

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

async function load(replica: ReplicaHandle): Promise<void> {
  await replica.ask('load', { ...LOAD, load: 'reads', count: 2 });
  await replica.ask('load', { ...LOAD, load: 'directWrites' });
  await replica.ask('load', { ...LOAD, load: 'sentWrites' });
}

type Disaster = (chaos: ChaosCluster, victim: ReplicaHandle, random: Random) => Promise<void>;

/** Most of them of the primary, which is the victim then. */
const DISASTERS: Readonly<Record<string, Disaster>> = {
  kill: async (chaos, victim) => {
    const before = epochOf(chaos);
    const wasPrimary = (await primaryOf(chaos.replicas)) === victim;
    await victim.kill();
    if (wasPrimary) await successorOf(victim, chaos, before);
    await victim.start();
    await load(victim);
  },
  'kill and restart at once': async (_, victim) => {
    await victim.kill();
    await victim.start();
    await load(victim);
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

interface Journal {
  readonly operations: readonly ReignOperation[];
  readonly codes: Readonly<Record<string, number>>;
}

/** Each operation as it was noted last: when it began, and again when it had ended. */
function journalOf({ replicas }: ChaosCluster): Journal {
  const last = new Map<string, ReignOperation>();
  const codes: Record<string, number> = {};
  for (const { config } of replicas) {
    if (!existsSync(config.journal)) continue;
    for (const line of readFileSync(config.journal, 'utf8').split('\n').slice(0, -1)) {
      const { operation: record, epochs, code = 'ok' } = JSON.parse(line) as Line;
      if (epochs.length === 2) codes[code] = (codes[code] ?? 0) + 1;
      last.set(`${record.process}#${record.id}`, { record, epochs });
    }
  }
  return { operations: [...last.values()], codes };
}

interface Line {
  readonly operation: ReignOperation['record'];
  readonly epochs: readonly number[];
  readonly code?: string;
}

/** By the numbers of the epochs, from 0 on. */
function primariesOf({ config }: ReplicaHandle): string[] {
  const rows = sqlite3(config.file, 'SELECT epoch, primary_replica FROM _antiphon_epochs ORDER BY epoch');
  const primaries: string[] = ['a'];
  for (const row of rows.trim().split('\n')) {
    const [epoch = '', primary = ''] = row.split('|');
    primaries[Number(epoch)] = primary;
  }
  return primaries;
}

function valuesIn({ config }: ReplicaHandle): ReadonlySet<string> {
  return new Set(sqlite3(config.file, 'SELECT id FROM done').split('\n').filter(Boolean));
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
      await Promise.all(chaos.replicas.map(load));
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
      await primaryOf(chaos.replicas);
      await pause(500);
      await idle(chaos.replicas);
      await chaos.converged();
      const { operations, codes } = journalOf(chaos);
      const ledgers = await Promise.all(
        chaos.replicas.map((replica) => replica.ask<[string, number][]>('rescuedValues')),
      );
      const primaries = primariesOf(chaos.at(0));
      const rescued = ledgers.flat();
      const report = checkReigns({ primaries, operations, written: valuesIn(chaos.at(0)), rescued });
      expect(report.faults.slice(0, 5).join('\n')).toBe('');
      if (mode === 'sync') expect(rescued).toEqual([]);
      const ok = (kind: string): number =>
        operations.filter(({ record }) => record.operation.kind === kind && record.completion.type === 'ok')
          .length;
      const seen = { ...report, epochs: primaries.length, codes, rescued: rescued.length };
      // Those of an asynchronous primary go beside the chain of what it sends, which is slow.
      expect(ok('read'), JSON.stringify(seen)).toBeGreaterThan((mode === 'sync' ? 20 : 2) * ROUNDS);
      expect(ok('write'), JSON.stringify(seen)).toBeGreaterThan(20 * ROUNDS);
    },
  );
});
