import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { WriteOptions } from '../write/write-options.js';
import type { WriteResult } from '../state/write-result.js';
import type { ClusterFixture, SqliteReplica } from './cluster-fixture.js';

/** Another program, or a replica in this process, may be committing. */
const BUSY_MS = 5000;

/** The table `kv` of texts in the file of a replica, seen by another program. */
export class Kv {
  constructor(readonly file: string) {}

  /** As of now; empty before the replica has made the table. */
  get rows(): ReadonlyMap<string, string> {
    if (!existsSync(this.file)) return new Map();
    return this.#opened((db) => {
      if (db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'kv'").get() === undefined) return new Map();
      const rows = db.prepare('SELECT k, v FROM kv ORDER BY k').all();
      return new Map(rows.map(({ k, v }) => [String(k), String(v)]));
    });
  }

  /**
   * The database takes no row with this value from now on: the index cannot hold it, for it is no
   * JSON. An index, because nobody compares indexes with what the cluster has agreed on.
   */
  refuse(value: string): void {
    this.#exec(`CREATE INDEX refused ON kv (json(v)) WHERE v = '${value}'`);
  }

  accept(): void {
    this.#exec('DROP INDEX refused');
  }

  /** Behind the triggers, which take it for a change of another replica that is being applied. */
  putUncaptured(key: string, value: string): void {
    this.#exec(
      `BEGIN IMMEDIATE; UPDATE _antiphon_state SET applying = 1; INSERT INTO kv VALUES ('${key}', '${value}');` +
        'UPDATE _antiphon_state SET applying = 0; COMMIT',
    );
  }

  /** Holds the write lock of the database, as a long transaction of another program does. */
  lock(): Disposable {
    const db = new DatabaseSync(this.file, { timeout: BUSY_MS });
    db.exec('BEGIN IMMEDIATE');
    return { [Symbol.dispose]: () => db.close() };
  }

  #exec(sql: string): void {
    this.#opened((db) => db.exec(sql));
  }

  #opened<T>(use: (db: DatabaseSync) => T): T {
    const db = new DatabaseSync(this.file, { timeout: BUSY_MS });
    try {
      return use(db);
    } finally {
      db.close();
    }
  }
}

/** In the file of a replica that has not started: it can create a cluster on it. */
export function createKv(
  cluster: ClusterFixture,
  id: string,
  rows: Readonly<Record<string, string>> = {},
): Kv {
  cluster.sql(id, 'CREATE TABLE kv (k TEXT NOT NULL PRIMARY KEY, v TEXT)');
  for (const [key, value] of Object.entries(rows))
    cluster.sql(id, `INSERT INTO kv VALUES ('${key}', '${value}')`);
  return kvOf(cluster, id);
}

export function kvOf(cluster: ClusterFixture, id: string): Kv {
  return new Kv(cluster.file(id));
}

export function put(
  replica: SqliteReplica,
  key: string,
  value: string,
  options?: WriteOptions,
): Promise<WriteResult<unknown>> {
  const sql = 'INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v';
  return replica.transaction((tx) => tx.run(sql, [key, value]), options);
}
