import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@antiphon/testing';
import { connect } from 'nats';
import { afterEach, describe, expect, it } from 'vitest';
import { pause, ROUNDS, sqlite3, type ChaosCluster } from './cluster.js';
import {
  epochOf,
  ledgerOf,
  primaryOf,
  SHORT_FAILOVER,
  untilPrimaryIs,
  writeEntry,
} from './failover-cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync, write } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
const ROWS = 'SELECT id FROM entries ORDER BY id';

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

async function start(): Promise<readonly [ChaosCluster, ReplicaHandle, readonly ReplicaHandle[]]> {
  const chaos = await startSync({ topology, failover: SHORT_FAILOVER, update: { mode: 'async' } });
  cluster = chaos;
  for (let n = 0; n < 5; n++) await writeEntry(chaos.at(0), `early-${n}`);
  await chaos.converged();
  return [chaos, chaos.at(0), [chaos.at(1), chaos.at(2)]];
}

/** What it says when it stands still. */
async function stalled(replica: ReplicaHandle): Promise<string> {
  const status = await eventually(`${replica.config.id} stands still`, async () => {
    const now = await replica.ask<{ readonly lifecycle: string }>('status');
    return now.lifecycle === 'stalled' ? now : undefined;
  });
  return JSON.stringify(status);
}

/** Everything is at all replicas, and one of them takes writes. */
async function isWhole(chaos: ChaosCluster, ids: readonly string[]): Promise<void> {
  const primary = await primaryOf(chaos.replicas);
  await untilPrimaryIs(chaos, primary.config.id);
  await writeEntry(primary, 'last');
  const all = JSON.stringify([...ids, 'last'].sort().map((id) => [id]));
  await eventually('all have everything', () => chaos.read(ROWS).every((rows) => rows === all), {
    seen: () => chaos.read(ROWS),
  });
  expect(chaos.replicas.flatMap((replica) => ledgerOf(replica))).toEqual([]);
}

const EARLY = Array.from({ length: 5 }, (_, n) => `early-${n}`);
const LATER = Array.from({ length: 5 }, (_, n) => `later-${n}`);

const DELETED = 'deleted';
const WITH_FILE = 'put back as it was before, and the file of the primary with it';
/** One of them in the ordinary run. */
const WAYS = ROUNDS >= 20 ? [DELETED, 'put back as it was before', WITH_FILE] : [WITH_FILE];

describe('the primary is dead, and NATS has lost its store', () => {
  it.each(WAYS)(
    'I14: %s: nobody takes over in another log, and all goes on once it is there again',
    async (how) => {
      const [chaos, a, others] = await start();
      const store = join(chaos.dir, 'nats');
      const { file } = a.config;
      if (how !== DELETED) {
        await chaos.server.kill();
        cpSync(store, `${store}.before`, { recursive: true });
        sqlite3(file, `.backup ${file}.before`);
        await chaos.server.restart();
        await primaryOf(chaos.replicas);
      }
      const primary = await primaryOf(chaos.replicas);
      expect(primary).toBe(a);
      for (const id of LATER) await writeEntry(a, id, { timeoutMs: 10_000 });
      await chaos.converged();
      const position = (replica: ReplicaHandle): string =>
        sqlite3(replica.config.file, 'SELECT position_seq FROM _antiphon_state');
      await eventually('the file of a says where it stands', () => position(a) === position(chaos.at(1)));
      const epoch = epochOf(chaos);
      await Promise.all([a.kill(), chaos.server.kill()]);
      renameSync(store, `${store}.newest`);
      if (how !== DELETED) renameSync(`${store}.before`, store);
      await chaos.server.restart();
      for (const replica of others) expect(await stalled(replica)).toContain('LOG_REPLACED');
      await pause(SHORT_FAILOVER.leaseMs + SHORT_FAILOVER.marginMs + 500);
      for (const replica of others) {
        expect(await stalled(replica)).toContain('LOG_REPLACED');
        const refused = await write(replica, "INSERT INTO entries (id) VALUES ('refused')", [], {
          timeoutMs: 1000,
        });
        expect(refused.outcome).not.toBe('committed');
      }
      expect(epochOf(chaos)).toBe(epoch);
      // Nor does the last primary go on in it, also where its file knows no better.
      if (how === WITH_FILE) {
        for (const end of ['-wal', '-shm']) rmSync(file + end, { force: true });
        renameSync(`${file}.before`, file);
      }
      const why = await a.start().then(() => stalled(a), String);
      expect(why).toMatch(/LOG_REPLACED|CLUSTER|LOG_/);
      expect(epochOf(chaos)).toBe(epoch);
      await chaos.server.kill();
      rmSync(store, { recursive: true });
      renameSync(`${store}.newest`, store);
      await chaos.server.restart();
      for (const replica of chaos.replicas) {
        await replica.kill();
        await replica.start();
      }
      await isWhole(chaos, [...EARLY, ...LATER]);
    },
  );

  it('I9: of the registry alone: another one takes over, and the last one finds its cluster', async () => {
    const [chaos, a] = await start();
    const operator = await connect({ servers: chaos.server.url });
    await a.kill();
    const manager = await operator.jetstreamManager();
    await manager.streams.delete('KV_ANTIPHON_chaos');
    await operator.close();
    const next = await primaryOf(chaos.replicas, epochOf(chaos));
    await writeEntry(next, 'of-the-next');
    await eventually(
      'it can start again',
      () =>
        a.start().then(
          () => true,
          () => false,
        ),
      30_000,
    );
    await isWhole(chaos, [...EARLY, 'of-the-next']);
  });
});
