import { DatabaseSync } from 'node:sqlite';
import { checkLinearizable, checkSession, eventually, History, mergeHistories } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { pause, ROUNDS, type ChaosCluster } from './cluster.js';
import { idle, PRIMARY_REPLICA, read, startSync, TOPOLOGIES, write } from './sync-cluster.js';
import { readJournal } from './sync-journal.js';
import type { ReplicaHandle } from './replica-handle.js';
import { runSessions } from './sync-sessions.js';

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

const LOAD = { count: 2, timeoutMs: 1500, pauseMs: 5 };

async function load(replica: ReplicaHandle, writes: boolean): Promise<void> {
  await replica.ask('load', { ...LOAD, load: 'strongReads' });
  if (writes) await replica.ask('load', { ...LOAD, load: 'registerWrites' });
}

const DISASTERS = ['kill', 'stop', 'broker'] as const;

/** Operations of the processes themselves. */
function succeeded(chaos: ChaosCluster): number {
  const local = mergeHistories([readJournal(chaos).operations]);
  return local.filter(({ completion }) => completion.type === 'ok').length;
}

async function disaster(chaos: ChaosCluster, kind: (typeof DISASTERS)[number], victim: ReplicaHandle) {
  const { server } = chaos;
  if (kind === 'broker') {
    await server.kill();
    await pause(Math.random() * 2000);
    return server.restart();
  }
  if (kind === 'kill') {
    await victim.kill();
    await pause(Math.random() * 1500);
    return victim.start();
  }
  victim.pause();
  await pause(2000 + Math.random() * 2000);
  victim.resume();
}

describe.each(TOPOLOGIES)(
  'registers under kill, SIGSTOP and loss of the broker, $name',
  ({ name, topology }) => {
    it(
      'I12: strong reads are linearizable, sessions read their writes and never go back',
      { timeout: 60_000 + ROUNDS * 20_000 },
      async () => {
        cluster = await startSync({ topology, update: { acks: 'majority' } });
        const chaos = cluster;
        const writes = (replica: ReplicaHandle): boolean =>
          name === 'multi-primary' || replica === chaos.at(0);
        await Promise.all(chaos.replicas.map((replica) => load(replica, writes(replica))));
        const writers = chaos.replicas.filter(writes);
        const sessions = runSessions({ replicas: chaos.replicas, writers, count: 6 });
        for (let round = 0; round < ROUNDS; round++) {
          await pause(300 + Math.random() * 500);
          // The writer of a primary-replica cluster has its turn in each kind.
          const victim = chaos.at((round + Math.floor(round / 3)) % 3);
          const kind = DISASTERS[round % 3] ?? 'kill';
          await disaster(chaos, kind, victim);
          if (kind === 'kill') await load(victim, writes(victim));
        }
        await pause(500);
        // A busy machine needs longer until there is enough to check.
        const enough = (): boolean =>
          checkSession(sessions.soFar()).checked > 20 * ROUNDS && succeeded(chaos) > 100 * ROUNDS;
        await eventually('there is enough to check', enough, 30_000);
        const roaming = await sessions.end();
        await idle(chaos.replicas);
        await chaos.converged();
        const local = mergeHistories([readJournal(chaos).operations]);
        // Reads of sessions are no strong ones; their writes are writes like any.
        const all = mergeHistories([local, roaming.filter(({ operation }) => operation.kind === 'write')]);
        expect(checkLinearizable(all)).toEqual({ linearizable: true });
        const checked = checkSession(roaming);
        expect(checked.violations).toEqual([]);
        expect(checked.checked).toBeGreaterThan(20 * ROUNDS);
      },
    );
  },
);

describe('a replica that is behind', () => {
  it('I12: shows it to `any` reads, which the checker notices, and never to strong or session ones', async () => {
    cluster = await startSync({ topology: PRIMARY_REPLICA.topology, limits: { inSyncLagMs: 30_000 } });
    const [a, b] = [cluster.at(0), cluster.at(1)];
    const history = new History({ now: () => performance.now() });
    const sql = "SELECT value FROM registers WHERE id = 'r0'";
    // Another program holds b's write lock: b cannot apply anything.
    const lock = new DatabaseSync(b.config.file, { timeout: 5000 });
    lock.exec('BEGIN IMMEDIATE');
    const writing = history.invoke('writer', { kind: 'write', key: 'r0', value: 'new' });
    const written = await write(a, "INSERT INTO registers VALUES ('r0', 'new', 1)", [], { acks: 'majority' });
    expect(written).toMatchObject({ outcome: 'committed', acks: { by: ['a', 'c'], reached: true } });
    history.complete(writing, { type: 'ok' });
    const reading = history.invoke('reader', { kind: 'read', key: 'r0' });
    const stale = await read(b, sql);
    expect(stale.rows).toEqual([]);
    history.complete(reading, { type: 'ok', value: null });
    expect(checkLinearizable(history.records())).toMatchObject({ linearizable: false, key: 'r0' });
    for (const options of [
      { consistency: 'strong' },
      { consistency: 'session', after: written.position },
    ] as const) {
      const waited = await read(b, sql, [], { ...options, timeoutMs: 300 });
      expect(waited).toMatchObject({ outcome: 'rejected', code: 'TIMEOUT' });
    }
    lock.exec('ROLLBACK');
    lock.close();
    const fresh = await read(b, sql, [], { consistency: 'strong' });
    expect(fresh.rows).toEqual([{ value: 'new' }]);
    await eventually('any read shows it', async () => (await read(b, sql)).rows?.length === 1);
  });
});
