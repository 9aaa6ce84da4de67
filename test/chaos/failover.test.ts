import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ChaosCluster, pause, ROUNDS, sqlite3 } from './cluster.js';
import {
  epochOf,
  ledgerOf,
  LONGEST_ELECTION_MS,
  primaryOf,
  SHORT_FAILOVER,
  successorOf,
} from './failover-cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { checkAcknowledged, checkHonest, resolveUnknown, type Verdicts } from './sync-checks.js';
import { idle, PRIMARY_REPLICA, startSync } from './sync-cluster.js';
import { countAcknowledged } from './sync-journal.js';

const { topology } = PRIMARY_REPLICA;
const failover = SHORT_FAILOVER;
/** What a replica says that is not the primary, or does not know yet whether it is. */
const REFUSED = ['NOT_WRITABLE', 'LOG_UNAVAILABLE'];

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** Own transactions that a file keeps beside its rows, by their ids. */
function rescuedIn(chaos: ChaosCluster): ReadonlySet<string> {
  const ids = chaos.replicas.flatMap((replica) => {
    const { id } = replica.config;
    const found = ledgerOf(replica).map(({ counter }) => `${id}:${counter}`);
    expect(new Set(found).size, `ids in the ledger of ${id}`).toBe(found.length);
    return found;
  });
  return new Set(ids);
}

/** What a shell writes while the primary is dead. */
function outside(round: number): string {
  return `outside-${round}.`;
}

function keeps({ config }: ReplicaHandle, round: number): boolean {
  const found = `instr(data, CAST('${outside(round)}' AS BLOB)) > 0`;
  return sqlite3(config.file, `SELECT count(*) FROM _antiphon_rescue_data WHERE ${found}`).trim() !== '0';
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
        sqlite3(victim.config.file, `INSERT INTO orders VALUES ('${outside(round)}', ${round})`);
        if (round % 3 !== 2) await successorOf(victim, chaos, before);
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
      const [orders = ''] = chaos.read('SELECT id FROM orders');
      for (let round = 0; round < ROUNDS; round++) {
        const places = [
          orders.includes(outside(round)),
          ...chaos.replicas.map((replica) => keeps(replica, round)),
        ];
        expect(places.filter(Boolean), `${outside(round)} is in one place`).toEqual([true]);
      }
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
        // Nobody else gets anything any more that has been acknowledged too early.
        const others = chaos.replicas.filter((replica) => replica !== victim);
        for (const other of others) other.pause();
        await pause(50);
        if (stopped) victim.pause();
        else await victim.kill();
        checkAcknowledged(chaos);
        for (const other of others) other.resume();
        await successorOf(victim, chaos, before);
        const acknowledged = countAcknowledged(chaos);
        await eventually(
          'writes are acknowledged again',
          () => countAcknowledged(chaos) > acknowledged + 5,
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
