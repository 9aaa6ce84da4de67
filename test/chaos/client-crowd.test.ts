import { checkLinearizable, Random, type OperationRecord } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { pause, sqlite3, type ChaosCluster } from './cluster.js';
import { Crowd, type CrowdReport } from './crowd.js';
import { epochOf, LONGEST_ELECTION_MS, primaryOf, SHORT_FAILOVER, successorOf } from './failover-cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync } from './sync-cluster.js';

/** A share in the ordinary run; `npm run test:crowd` has 200 for a minute. */
const APPS = Number(process.env.ANTIPHON_CROWD_APPS ?? 40);
const SECONDS = Number(process.env.ANTIPHON_CROWD_SECONDS ?? 6);
/** Chooses the disasters, and what each application does. The moments are the machine's. */
const SEED = process.env.ANTIPHON_CHAOS_SEED ?? '1';
/** So that the applications together ask for as much as a small machine can answer. */
const CALLS_PER_SECOND = 500;
const CALM_MS = { least: 300, spread: 700 };

let cluster: ChaosCluster | undefined;
let crowd: Crowd | undefined;
afterEach(async () => {
  crowd?.[Symbol.dispose]();
  await cluster?.close();
  [crowd, cluster] = [undefined, undefined];
});

/** One replica at a time is away: the two others can always serve. */
type Disaster = (chaos: ChaosCluster, victim: ReplicaHandle, random: Random) => Promise<void>;

const DISASTERS: Readonly<Record<string, Disaster>> = {
  kill: async (_, victim, random) => {
    await victim.kill();
    await pause(random.next() * 500);
    await victim.start();
  },
  restart: async (_, victim) => {
    await victim.close();
    await victim.start();
  },
  drain: async (_, victim, random) => {
    await victim.ask('drain');
    await pause(random.next() * 1000);
    await victim.ask('resumeReads');
  },
  stop: async (_, victim, random) => {
    victim.pause();
    await pause(random.next() * 1000);
    victim.resume();
  },
  failover: async (chaos) => {
    const victim = await primaryOf(chaos.replicas);
    const before = epochOf(chaos);
    await victim.kill();
    await successorOf(victim, chaos, before);
    await victim.start();
  },
  switchover: async (chaos, _, random) => {
    const primary = await primaryOf(chaos.replicas);
    const to = drawn(
      chaos.replicas.filter((replica) => replica !== primary),
      random,
    );
    // It may be refused or taken back while a victim of before catches up.
    await primary.ask('switchOver', { to: to.config.id, timeoutMs: 3000 }).catch(() => undefined);
  },
};

/** Each kind once, in an order by chance, then again in another one. */
function* disasters(random: Random): Generator<[string, Disaster]> {
  for (;;) {
    const left = Object.entries(DISASTERS);
    while (left.length > 0) yield* left.splice(Math.floor(random.next() * left.length), 1);
  }
}

function drawn(replicas: readonly ReplicaHandle[], random: Random): ReplicaHandle {
  return replicas[Math.floor(random.next() * replicas.length)] as ReplicaHandle;
}

async function makeTrouble(chaos: ChaosCluster, random: Random): Promise<readonly string[]> {
  const met: string[] = [];
  const untilMs = performance.now() + SECONDS * 1000;
  for (const [kind, disaster] of disasters(random)) {
    await pause(CALM_MS.least + random.next() * CALM_MS.spread);
    if (performance.now() > untilMs) return met;
    const victim = drawn(chaos.replicas, random);
    met.push(`${kind} of ${victim.config.id}`);
    await disaster(chaos, victim, random).catch((error: unknown) => {
      throw new Error(`${met.join(', ')}: ${String(error)}`);
    });
  }
  return met;
}

/** What the files hold in the end, against what the applications were told. */
async function check(chaos: ChaosCluster, report: CrowdReport, loses: boolean): Promise<void> {
  const [file] = chaos.replicas;
  const rows = sqlite3(file?.config.file ?? '', 'SELECT id FROM done').split('\n');
  const written = new Set(rows);
  const ledgers = await Promise.all(
    chaos.replicas.map((replica) => replica.ask<[string, number][]>('rescuedValues')),
  );
  const rescued = new Set(ledgers.flat().map(([value]) => value));
  if (!loses) expect([...rescued], 'undone in a synchronous cluster').toEqual([]);
  const lost = report.acknowledged.filter((id) => !written.has(id) && !rescued.has(id));
  expect(lost, 'acknowledged, and neither there nor in a ledger').toEqual([]);
  const undead = report.failed.filter((id) => written.has(id));
  expect(undead, 'failed for certain, and there').toEqual([]);
  const counters = `SELECT id, value, (SELECT count(*) FROM done WHERE counter = counters.id) AS done
    FROM counters WHERE value <> done`;
  expect(sqlite3(file?.config.file ?? '', counters), 'counters that are not exact').toBe('');
  const result = checkLinearizable(report.records.filter((record) => isInLog(record, written, rescued)));
  const why = result.linearizable === false ? result.explanation : '';
  expect(why, 'registers').toBe('');
}

/** An asynchronous primary shows what it alone has, until it is undone: that is no part of it. */
function isInLog(
  { operation, completion }: OperationRecord,
  written: ReadonlySet<string>,
  rescued: ReadonlySet<string>,
): boolean {
  if (completion.type === 'failed') return false;
  if (operation.kind === 'write') return written.has(String(operation.value));
  return completion.type !== 'ok' || !rescued.has(String(completion.value));
}

describe.each([
  { mode: 'async', update: { mode: 'async' }, loses: true },
  { mode: 'sync', update: { mode: 'sync', acks: 'majority' }, loses: false },
])('many applications while replicas come and go, $mode', ({ mode, update, loses }) => {
  it(
    `I8 I9 I12: no wrong answer, and no error that is not said to pass (${APPS} of them, seed ${SEED})`,
    { timeout: 120_000 + SECONDS * 1000 + LONGEST_ELECTION_MS },
    async () => {
      const random = new Random(`${mode} ${SEED}`);
      cluster = await startSync({ ...PRIMARY_REPLICA, failover: SHORT_FAILOVER, update });
      crowd = new Crowd({
        ...{ cluster: 'chaos', servers: cluster.server.url, apps: APPS, seed: `${mode} ${SEED}`, loses },
        pauseMs: (APPS * 1000) / CALLS_PER_SECOND,
      });
      const met = await makeTrouble(cluster, random);
      const report = await crowd.end();
      const { acknowledged, faults, done, errors, slowestReadMs } = report;
      const seen = JSON.stringify({ met, done, errors, slowestReadMs, acknowledged: acknowledged.length });
      if (SECONDS > 10) console.log(seen);
      expect(faults.slice(0, 5), seen).toEqual([]);
      // Two replicas are always there: whoever takes any of them gets an answer.
      expect(
        Object.keys(errors).filter((error) => error.startsWith('read ')),
        seen,
      ).toEqual([]);
      await primaryOf(cluster.replicas);
      await cluster.converged();
      await check(cluster, report, loses);
      expect(acknowledged.length, seen).toBeGreaterThan(2 * SECONDS);
      expect(done['read'], seen).toBeGreaterThan(2 * SECONDS);
    },
  );
});
