import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pause, sqlite3, type ChaosCluster } from './cluster.js';
import { epochOf, primaryOf, SHORT_FAILOVER } from './failover-cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync, type Settled, type SyncStart } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
const { leaseMs } = SHORT_FAILOVER;
/** The lease runs out several times. */
const LONG_MS = 3 * leaseMs;
/** A server waits 10 s for a client that reads nothing. */
const DEAF_MS = 12_000;
/** Rows that are counted one by one: some seconds. */
const LONG_STATEMENT = `INSERT INTO counters SELECT 100, count(*) FROM (
  WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000) SELECT i FROM n)`;

let cluster: ChaosCluster;
let primary: ReplicaHandle;
let epoch: number;
const options = { timeoutMs: 60_000 };

async function start(update: SyncStart['update'], limits: SyncStart['limits'] = {}): Promise<void> {
  cluster = await startSync({ topology, failover: SHORT_FAILOVER, ...(update && { update }), limits });
  primary = await primaryOf(cluster.replicas);
  epoch = epochOf(cluster);
}

afterEach(() => cluster.close());

function keepThread(entry: string, forMs: number): Promise<Settled> {
  return primary.ask('transaction', { named: 'keepThread', entry, forMs, options });
}

/** In all files alike, one number. */
function count(sql: string): number[] {
  return cluster.replicas.map(({ config }) => Number(sqlite3(config.file, `SELECT count(*) FROM ${sql}`)));
}

function expectNothingRescued(): void {
  expect(count('_antiphon_rescue')).toEqual([0, 0, 0]);
}

async function expectNoTakeover(): Promise<void> {
  // Who wanted to take over would do it by then.
  await pause(leaseMs);
  expect(await primaryOf(cluster.replicas)).toBe(primary);
  expect(epochOf(cluster)).toBe(epoch);
  await cluster.converged();
  expectNothingRescued();
}

describe.each([
  { mode: 'async', update: { mode: 'async' } },
  { mode: 'sync', update: { mode: 'sync', acks: 'majority' } },
])('a write that takes longer than the lease, $mode,', ({ update }) => {
  describe('within its limit', () => {
    beforeEach(() => start(update));

    it('I6: leaves its primary the primary, whoever called it', { timeout: 120_000 }, async () => {
      const follower = cluster.replicas.find((replica) => replica !== primary);
      const statements = [{ sql: LONG_STATEMENT }];
      const forwarded = await follower?.ask<Settled>('write', { statements, options });
      expect(forwarded).toMatchObject({ outcome: 'committed' });
      expect(forwarded?.tookMs).toBeGreaterThan(leaseMs);
      expect(await keepThread('kept', LONG_MS)).toMatchObject({ outcome: 'committed' });
      await expectNoTakeover();
      expect(count('counters WHERE id = 100')).toEqual([1, 1, 1]);
      expect(count("entries WHERE id = 'kept'")).toEqual([1, 1, 1]);
    });

    it('I7: is no excuse for a process that is stopped, and is undone', { timeout: 120_000 }, async () => {
      const writing = keepThread('stopped', LONG_MS);
      await pause(leaseMs / 2);
      primary.pause();
      const others = cluster.replicas.filter((replica) => replica !== primary);
      await primaryOf(others, epoch);
      primary.resume();
      expect(await writing).toMatchObject({ outcome: 'rejected' });
      await cluster.converged();
      expectNothingRescued();
      expect(count("entries WHERE id = 'stopped'")).toEqual([0, 0, 0]);
    });

    it('I7: is no excuse for a thread that hangs elsewhere', { timeout: 120_000 }, async () => {
      const hanging = primary.ask('hang', { forMs: LONG_MS });
      const others = cluster.replicas.filter((replica) => replica !== primary);
      await primaryOf(others, epoch, LONG_MS);
      await hanging;
      await cluster.converged();
    });
  });

  it(
    'I7: beyond its limit, costs its primary the role, and nothing is written',
    { timeout: 120_000 },
    async () => {
      await start(update, { blockedMs: 1000 });
      const before = keepThread('before', 300);
      // All of them in one group, which runs again without the one that fails.
      const [, writing] = [keepThread('short', 1), keepThread('late', LONG_MS), keepThread('short too', 1)];
      const others = cluster.replicas.filter((replica) => replica !== primary);
      await primaryOf(others, epoch, LONG_MS + 1000);
      expect(await before).toMatchObject({ outcome: 'committed' });
      expect(await writing).toMatchObject({ outcome: 'rejected', code: 'TIMEOUT' });
      await pause(LONG_MS);
      await cluster.converged();
      expect(epochOf(cluster)).toBe(epoch + 1);
      expect(count("entries WHERE id = 'late'")).toEqual([0, 0, 0]);
    },
  );

  it(
    'I7: beyond its limit, costs one primary the role, also called elsewhere',
    { timeout: 120_000 },
    async () => {
      await start(update, { blockedMs: 1000 });
      const follower = cluster.replicas.find((replica) => replica !== primary);
      const statements = [{ sql: LONG_STATEMENT.replace('20000000', '40000000') }];
      const answer = await follower?.ask<Settled>('write', { statements, options });
      // Who hears it in time knows that nothing was written.
      expect(['TIMEOUT', 'OUTCOME_UNKNOWN']).toContain(answer?.code);
      // Who wanted to take over once more would have done so.
      await pause(LONG_MS + leaseMs);
      await cluster.converged();
      expect(epochOf(cluster)).toBeLessThanOrEqual(epoch + 1);
      expectNothingRescued();
      expect(count('counters WHERE id = 100')).toEqual([0, 0, 0]);
    },
  );
});

it(
  'I6: a write for which NATS drops the connection of its primary runs once',
  { timeout: 120_000 },
  async () => {
    await start({ mode: 'sync', acks: 'majority' });
    const writing = keepThread('deaf', DEAF_MS);
    await pause(500);
    const payload = 'x'.repeat(400_000);
    const others = cluster.replicas.filter((replica) => replica !== primary);
    // More than the sockets take while nobody reads.
    const forwarded = Array.from({ length: 30 }, (_, n) => {
      const statements = [{ sql: 'INSERT INTO entries VALUES (?, ?)', params: [`large ${n}`, payload] }];
      return (others[n % 2] as ReplicaHandle).ask<Settled>('write', { statements, options });
    });
    expect(await writing).toMatchObject({ outcome: 'committed', value: 1 });
    for (const settled of await Promise.all(forwarded))
      expect(settled).toMatchObject({ outcome: 'committed' });
    await expectNoTakeover();
    expect(count('entries')).toEqual([31, 31, 31]);
  },
);
