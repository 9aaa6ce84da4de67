import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { POSTGRES_TABLE } from '../rows.js';
import { pgbench, type PgbenchResult } from './pgbench.js';
import { POSTGRES_USER, PostgresServer, type PostgresOptions } from './postgres-server.js';

const STANDBYS = ['standby_1', 'standby_2'];
const POLL_MS = 20;
const ATTACH_TIMEOUT_MS = 30_000;

/**
 * A commit returns once both standbys have it on disk and show it: the same promise as acks 'all'
 * with three replicas.
 */
const SETTINGS = ['fsync = on', 'synchronous_commit = remote_apply', 'wal_level = replica'];

/** A PostgreSQL primary with two synchronous standbys. */
export class PostgresSyncCluster {
  #nextId = 1;

  private constructor(
    private readonly program: string,
    private readonly servers: readonly PostgresServer[],
    private readonly clients: readonly pg.Client[],
  ) {}

  static async start(options: PostgresOptions): Promise<PostgresSyncCluster> {
    const at = (name: string, settings: readonly string[]): PostgresOptions => ({
      ...options,
      folder: join(options.folder, name),
      settings,
    });
    const servers: PostgresServer[] = [];
    try {
      const primary = await PostgresServer.create(at('primary', SETTINGS));
      servers.push(primary);
      const writer = await primary.connect();
      const clients = [writer];
      await writer.query(POSTGRES_TABLE);
      for (const name of STANDBYS) {
        // The name that it gives to its primary.
        const standby = await PostgresServer.standbyOf(primary, at(name, [`cluster_name = '${name}'`]));
        servers.push(standby);
        clients.push(await standby.connect());
      }
      await makeSynchronous(writer);
      return new PostgresSyncCluster(join(options.binaries.folder, 'pgbench'), servers, clients);
    } catch (error) {
      await Promise.all(servers.map((server) => server.stop()));
      throw error;
    }
  }

  async write(transactions: number, clients: number): Promise<PgbenchResult> {
    const [server] = this.servers;
    if (server === undefined) throw new Error('PostgreSQL has been stopped');
    const transactionsPerClient = Math.ceil(transactions / clients);
    const firstId = this.#nextId;
    this.#nextId += transactionsPerClient * clients;
    return pgbench({
      program: this.program,
      server,
      user: POSTGRES_USER,
      firstId,
      clients,
      transactionsPerClient,
    });
  }

  /** Of the primary and of both standbys. */
  async rowCounts(): Promise<readonly number[]> {
    const counts = this.clients.map((client) =>
      client.query<{ n: string }>('SELECT count(*) AS n FROM orders'),
    );
    return (await Promise.all(counts)).map(({ rows }) => Number(rows[0]?.n ?? 0));
  }

  get rowsWritten(): number {
    return this.#nextId - 1;
  }

  /** Standbys first: a primary waits for what its standbys have not received. */
  async stop(): Promise<void> {
    for (const server of Array.from(this.servers).reverse()) await server.stop();
  }
}

/** Only now that there are standbys: a primary without them would wait for ever. */
async function makeSynchronous(writer: pg.Client): Promise<void> {
  await writer.query(`ALTER SYSTEM SET synchronous_standby_names = 'FIRST 2 (${STANDBYS.join(', ')})'`);
  await writer.query('SELECT pg_reload_conf()');
  const deadline = performance.now() + ATTACH_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const { rowCount } = await writer.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'");
    if (rowCount === STANDBYS.length) return;
    await sleep(POLL_MS);
  }
  throw new Error('the PostgreSQL standbys did not become synchronous within their time limit');
}
