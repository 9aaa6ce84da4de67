import { DatabaseSync } from 'node:sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ChaosCluster, pause, ROUNDS, sqlite3 } from './cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { checkAcknowledged, checkHonest, resolveUnknown, type Verdicts } from './sync-checks.js';
import { idle, PRIMARY_REPLICA, startSync } from './sync-cluster.js';
import { readJournal } from './sync-journal.js';

const { topology } = PRIMARY_REPLICA;
/** Short, so that a round does not take long. */
const failover = { leaseMs: 1500, renewMs: 300, marginMs: 200, probeMs: 50, goneMs: 300 };
/** Primaries that fail too often are replaced later and later, by up to a minute. */
const LONGEST_ELECTION_MS = 90_000;
/** What a replica says that is not the primary, or does not know yet whether it is. */
const REFUSED = ['NOT_WRITABLE', 'LOG_UNAVAILABLE'];

interface Status {
  readonly id: string;
  readonly role: string;
  readonly epoch: { readonly number: number; readonly primary: string };
}

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

async function statuses(replicas: readonly ReplicaHandle[]): Promise<Status[]> {
  const running = replicas.filter((replica) => replica.running);
  const all = await Promise.all(running.map((replica) => ask(replica)));
  return all.filter((status) => status !== undefined);
}

async function ask(replica: ReplicaHandle): Promise<Status | undefined> {
  if (replica.config.program !== undefined) return replica.ask<Status>('status').catch(() => undefined);
  const answer = await replica.status(2000).catch(() => undefined);
  return answer?.status as Status | undefined;
}

async function primaryOf(replicas: readonly ReplicaHandle[], after = -1): Promise<ReplicaHandle> {
  const id = await eventually(
    'there is a primary',
    async () => {
      const all = await statuses(replicas);
      // One that was stopped does not know yet that it is not any more.
      const newest = Math.max(...all.map(({ epoch }) => epoch.number));
      return all.find(({ role, epoch }) => role === 'primary' && epoch.number === newest && newest > after)
        ?.id;
    },
    LONGEST_ELECTION_MS,
  ).catch(async (error: unknown) => {
    const said = JSON.stringify(await statuses(replicas), null, 1);
    throw new Error(`${String(error)}\n${said.slice(0, 8000)}`);
  });
  return replicas.find(({ config }) => config.id === id) as ReplicaHandle;
}

function epochOf(chaos: ChaosCluster): number {
  return Math.max(
    ...chaos.replicas.map(({ config }) =>
      Number(sqlite3(config.file, 'SELECT coalesce(max(epoch), 0) FROM _antiphon_epochs')),
    ),
  );
}

/** Own transactions that a file keeps beside its rows, by their ids. */
function rescuedIn(chaos: ChaosCluster): ReadonlySet<string> {
  const ids = chaos.replicas.flatMap(({ config }) => {
    const database = new DatabaseSync(config.file, { readOnly: true, timeout: 5000 });
    try {
      const rows = database.prepare('SELECT counter FROM _antiphon_rescue').all() as { counter: number }[];
      const found = rows.map(({ counter }) => `${config.id}:${counter}`);
      expect(new Set(found).size, `ids in the ledger of ${config.id}`).toBe(found.length);
      return found;
    } finally {
      database.close();
    }
  });
  return new Set(ids);
}

describe('kill -9 of the primary under load, async', () => {
  it(
    'I3 I9 I4: another one takes over; what was committed is in the cluster or in the ledger, in none twice',
    { timeout: 60_000 + ROUNDS * LONGEST_ELECTION_MS },
    async () => {
      cluster = await ChaosCluster.start(['a', 'b', 'c'], topology, { replica: { failover } });
      const chaos = cluster;
      for (const replica of chaos.replicas) replica.load();
      for (let round = 0; round < ROUNDS; round++) {
        const victim = await primaryOf(chaos.replicas);
        await pause(300 + Math.random() * 500);
        const before = epochOf(chaos);
        await victim.kill();
        // The file of a dead primary still takes them.
        sqlite3(victim.config.file, `INSERT INTO orders VALUES ('outside-${round}', ${round})`);
        if (round % 3 !== 2) await primaryOf(chaos.replicas, before);
        await pause(Math.random() * 500);
        await victim.start();
        victim.load();
      }
      await Promise.all(chaos.replicas.map((replica) => replica.idle()));
      await chaos.converged();
      const rescued = rescuedIn(chaos);
      const { committed, mayBeDeleted } = chaos.journal();
      const [rows = '[]'] = chaos.read('SELECT id FROM entries ORDER BY id');
      const present = new Set((JSON.parse(rows) as [string][]).map(([id]) => id));
      const lost = committed.filter(
        ({ id, origin, counter }) =>
          !mayBeDeleted.has(id) && !present.has(id) && !rescued.has(`${origin}:${counter}`),
      );
      expect(lost, 'committed, and neither in the cluster nor in the ledger').toEqual([]);
      const both = committed.filter(
        ({ id, origin, counter }) => present.has(id) && rescued.has(`${origin}:${counter}`),
      );
      expect(both, 'in the cluster and in the ledger').toEqual([]);
      expect(committed.length).toBeGreaterThan(20 * ROUNDS);
      const failures = chaos.replicas.flatMap((replica) => replica.failures);
      expect(failures.filter(({ code }) => !REFUSED.includes(String(code)))).toEqual([]);
    },
  );
});

describe('kill -9 and SIGSTOP of the primary under load, sync', () => {
  it(
    'I6 I8 I9: acknowledged writes are on the required disks and stay; unknown ones resolve',
    { timeout: 60_000 + ROUNDS * LONGEST_ELECTION_MS },
    async () => {
      cluster = await startSync({ topology, failover, update: { acks: 'majority' } });
      const chaos = cluster;
      const verdicts: Verdicts = new Map();
      const load = (replica: ReplicaHandle): Promise<unknown> =>
        replica.ask('load', { load: 'entries', count: 3, timeoutMs: 1500, pauseMs: 5 });
      await Promise.all(chaos.replicas.map(load));
      for (let round = 0; round < ROUNDS; round++) {
        const victim = await primaryOf(chaos.replicas);
        await pause(300 + Math.random() * 500);
        const before = epochOf(chaos);
        const stopped = round % 2 === 1;
        if (stopped) victim.pause();
        else await victim.kill();
        checkAcknowledged(chaos);
        await primaryOf(
          chaos.replicas.filter((replica) => replica !== victim),
          before,
        );
        const acknowledged = readJournal(chaos).acknowledged.length;
        await eventually(
          'writes are acknowledged again',
          () => readJournal(chaos).acknowledged.length > acknowledged + 5,
          20_000,
        );
        if (stopped) victim.resume();
        else {
          await victim.start();
          await load(victim);
        }
        checkAcknowledged(chaos);
      }
      await idle(chaos.replicas);
      await resolveUnknown(chaos, verdicts);
      await chaos.converged();
      checkHonest(chaos, verdicts);
      expect(checkAcknowledged(chaos)).toBeGreaterThan(10 * ROUNDS);
    },
  );
});
