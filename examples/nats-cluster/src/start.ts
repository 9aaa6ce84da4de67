/**
 * Three nats-servers that keep the log of three replicas. The one that leads the log is killed
 * while two replicas write; no write is lost, and the others go on.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError, createReplica, newId, type Replica } from '@antiphon/replica';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { connect } from 'nats';
import { Servers } from './servers.ts';

const IDS = ['eu-1', 'eu-2', 'eu-3'];
const ORDERS = 120;
const TIMEOUT_MS = 60_000;
const STREAM = 'ANTIPHON_shop';

const folder = mkdtempSync(join(tmpdir(), 'antiphon-nats-cluster-'));
const servers = await Servers.start(folder);
const replicas: Replica<SqliteTransaction>[] = [];

/** The first try may come before the servers are a cluster. */
async function replica(id: string): Promise<Replica<SqliteTransaction>> {
  for (const endMs = Date.now() + TIMEOUT_MS; ; await sleep(250)) {
    try {
      return await createReplica({
        cluster: 'shop',
        id,
        servers: servers.urls,
        streamReplicas: 3,
        store: sqlite({ file: join(folder, `${id}.db`) }),
        topology: { mode: 'multi-primary' },
        update: { mode: 'sync', acks: 'majority', minInSync: 2 },
      });
    } catch (error) {
      if (!(error instanceof AntiphonError && error.retriable) || Date.now() > endMs) throw error;
    }
  }
}

/** The server that leads the log, and on how many the log is. */
async function log(): Promise<{ readonly leader: string; readonly copies: number }> {
  const nats = await connect({ servers: servers.urls });
  try {
    const manager = await nats.jetstreamManager();
    const { cluster, config } = await manager.streams.info(STREAM);
    return { leader: cluster?.leader ?? '', copies: config.num_replicas };
  } finally {
    await nats.close();
  }
}

/** Once, also where the answer is lost with the server. */
async function order(at: Replica<SqliteTransaction>): Promise<void> {
  const id = newId();
  for (const endMs = Date.now() + TIMEOUT_MS; ; await sleep(50)) {
    try {
      await at.execute([
        { sql: 'INSERT INTO orders VALUES (?, ?) ON CONFLICT DO NOTHING', params: [id, at.id] },
      ]);
      return;
    } catch (error) {
      const code = error instanceof AntiphonError ? error.code : undefined;
      const again = error instanceof AntiphonError && (error.retriable || code === 'OUTCOME_UNKNOWN');
      if (!again || Date.now() > endMs) throw error;
    }
  }
}

async function run(): Promise<void> {
  const database = new DatabaseSync(join(folder, 'eu-1.db'));
  database.exec('CREATE TABLE orders (id TEXT PRIMARY KEY, taken_by TEXT NOT NULL)');
  database.close();
  for (const id of IDS) replicas.push(await replica(id));
  const { leader, copies } = await log();
  console.log(`Three replicas run. The log is on ${copies} servers; ${leader} leads it.`);
  let slowestMs = 0;
  let next = 0;
  const writer = async (at: Replica<SqliteTransaction>): Promise<void> => {
    while (next < ORDERS) {
      next += 1;
      if (next === ORDERS / 3) {
        await servers.kill(leader);
        console.log(`${leader} is killed.`);
      }
      const sinceMs = Date.now();
      await order(at);
      slowestMs = Math.max(slowestMs, Date.now() - sinceMs);
    }
  };
  await Promise.all(replicas.slice(0, 2).map(writer));
  const after = await log();
  console.log(`${after.leader} leads the log now. The slowest of ${ORDERS} orders took ${slowestMs} ms.`);
  servers.run(leader);
  for (const at of replicas) {
    await at.caughtUp({ timeoutMs: TIMEOUT_MS });
    const [row] = await at.query<{ n: number }>('SELECT count(*) AS n FROM orders', [], {
      integers: 'number',
    });
    if (row?.n !== ORDERS) throw new Error(`${at.id} has ${row?.n} orders of ${ORDERS}.`);
  }
  console.log(`All ${ORDERS} orders are in all three databases, once.`);
}

try {
  await run();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await Promise.all(replicas.map((one) => one.close()));
  await servers[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
}
