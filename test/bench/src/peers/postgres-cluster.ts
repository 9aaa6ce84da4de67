import { join } from 'node:path';
import type pg from 'pg';
import { POSTGRES_TABLE, POSTGRES_TYPES, type BenchRow } from '../rows.js';
import { PostgresServer, type PostgresOptions } from './postgres-server.js';

export type PostgresReplication = 'streaming' | 'logical';

const ROWS_PER_STATEMENT = 1000;
const POLL_MS = 2;
const CATCH_UP_TIMEOUT_MS = 300_000;

const placeholders = POSTGRES_TYPES.map((type, index) => `$${index + 1}::${type}[]`).join(', ');
const INSERT = { name: 'bulk', text: `INSERT INTO orders SELECT * FROM unnest(${placeholders})` };

/** A PostgreSQL primary with two standbys, by one of its two ways of replication. */
export class PostgresCluster {
  private constructor(
    private readonly servers: readonly PostgresServer[],
    private readonly writer: pg.Client,
    private readonly readers: readonly pg.Client[],
  ) {}

  static async start(replication: PostgresReplication, options: PostgresOptions): Promise<PostgresCluster> {
    const at = (name: string): PostgresOptions => ({
      ...options,
      folder: join(options.folder, `${replication}-${name}`),
    });
    const servers: PostgresServer[] = [];
    try {
      const primary = await PostgresServer.create(at('primary'));
      servers.push(primary);
      const writer = await primary.connect();
      await writer.query(POSTGRES_TABLE);
      if (replication === 'logical') await writer.query('CREATE PUBLICATION bench FOR ALL TABLES');
      const readers: pg.Client[] = [];
      for (const name of ['standby-1', 'standby-2']) {
        const standby =
          replication === 'streaming'
            ? await PostgresServer.standbyOf(primary, at(name))
            : await PostgresServer.create(at(name));
        servers.push(standby);
        const reader = await standby.connect();
        if (replication === 'logical') await subscribe(reader, primary, name.replace('-', '_'));
        readers.push(reader);
      }
      return new PostgresCluster(servers, writer, readers);
    } catch (error) {
      await Promise.all(servers.map((server) => server.stop()));
      throw error;
    }
  }

  get version(): Promise<string> {
    return this.writer
      .query<{ server_version: string }>('SHOW server_version')
      .then(({ rows }) => rows[0]?.server_version ?? '?');
  }

  /** Inserts the rows; resolves to the seconds until both standbys show the last of them. */
  async load(rows: readonly BenchRow[]): Promise<number> {
    const last = rows.at(-1)?.[0] ?? 0;
    const started = performance.now();
    for (let from = 0; from < rows.length; from += ROWS_PER_STATEMENT) {
      await this.writer.query({ ...INSERT, values: columnsOf(rows.slice(from, from + ROWS_PER_STATEMENT)) });
    }
    await Promise.all(this.readers.map((reader) => visible(reader, last)));
    return (performance.now() - started) / 1000;
  }

  async rowCounts(): Promise<readonly number[]> {
    const counts = this.readers.map((reader) =>
      reader.query<{ n: string }>('SELECT count(*) AS n FROM orders'),
    );
    return (await Promise.all(counts)).map(({ rows }) => Number(rows[0]?.n ?? 0));
  }

  /** Standbys first: a primary waits for what its standbys have not received. */
  async stop(): Promise<void> {
    for (const server of Array.from(this.servers).reverse()) await server.stop();
  }
}

async function subscribe(reader: pg.Client, primary: PostgresServer, slot: string): Promise<void> {
  await reader.query(POSTGRES_TABLE);
  const options = `create_slot = true, slot_name = '${slot}', copy_data = false, synchronous_commit = 'off'`;
  await reader.query(
    `CREATE SUBSCRIPTION bench CONNECTION '${primary.conninfo}' PUBLICATION bench WITH (${options})`,
  );
}

function columnsOf(rows: readonly BenchRow[]): unknown[][] {
  return POSTGRES_TYPES.map((_, column) => rows.map((row) => row[column]));
}

/** Both ways apply transactions in commit order: when the last row is visible, all are. */
async function visible(reader: pg.Client, id: number): Promise<void> {
  const deadline = performance.now() + CATCH_UP_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const { rowCount } = await reader.query({
      name: 'visible',
      text: 'SELECT 1 FROM orders WHERE id = $1',
      values: [id],
    });
    if (rowCount === 1) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error('a PostgreSQL standby did not catch up within its time limit');
}
