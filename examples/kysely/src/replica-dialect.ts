import type { Params, QueryOptions, Replica, Statement } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';
import {
  type Compilable,
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';

type ShopReplica = Replica<SqliteTransaction>;

/** What each read promises; `{ consistency: 'strong' }`, say. */
export type ReadPromise = Pick<QueryOptions, 'consistency' | 'maxLagMs' | 'integers'>;

/**
 * Kysely on a replica: what reads goes to `replica.query`, what writes to `replica.execute`, a
 * transaction for each query. Several writes in one transaction: `writeTogether`.
 */
export function replicaDialect(replica: ShopReplica, reads: ReadPromise = { integers: 'number' }): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createDriver: () => new ReplicaDriver(new ReplicaConnection(replica, reads)),
  };
}

/** Writes all of them in one transaction, or none; the numbers of rows that each one changed. */
export async function writeTogether(
  replica: ShopReplica,
  queries: readonly Compilable[],
): Promise<readonly number[]> {
  return (await replica.execute(queries.map((query) => statementOf(query.compile())))).value;
}

class ReplicaConnection implements DatabaseConnection {
  readonly #replica: ShopReplica;
  readonly #reads: ReadPromise;

  constructor(replica: ShopReplica, reads: ReadPromise) {
    this.#replica = replica;
    this.#reads = reads;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { sql, params } = statementOf(query);
    switch (kindOf(sql)) {
      case 'read':
        return { rows: [...(await this.#replica.query<R>(sql, params, this.#reads))] };
      case 'returning write': {
        const { value } = await this.#replica.transaction((tx) => tx.all<R>(sql, params));
        return { rows: value, numAffectedRows: BigInt(value.length) };
      }
      case 'write': {
        const { value } = await this.#replica.execute([{ sql, params }]);
        return { rows: [], numAffectedRows: BigInt(value[0] ?? 0) };
      }
    }
  }

  async *streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    const { sql, params } = statementOf(query);
    if (kindOf(sql) !== 'read') {
      yield await this.executeQuery<R>(query);
      return;
    }
    let rows: R[] = [];
    for await (const row of this.#replica.stream<R>(sql, params, this.#reads)) {
      if (rows.push(row) < chunkSize) continue;
      yield { rows };
      rows = [];
    }
    if (rows.length > 0) yield { rows };
  }
}

/** The replica has its own connections, and ends them when it is closed. */
class ReplicaDriver implements Driver {
  readonly #connection: ReplicaConnection;

  constructor(connection: ReplicaConnection) {
    this.#connection = connection;
  }

  async init(): Promise<void> {}
  async releaseConnection(): Promise<void> {}
  async destroy(): Promise<void> {}

  acquireConnection(): Promise<DatabaseConnection> {
    return Promise.resolve(this.#connection);
  }

  beginTransaction(): Promise<void> {
    const message =
      'A transaction of a replica does not wait for the program in between. Give all of its writes to writeTogether().';
    return Promise.reject(new Error(message));
  }

  commitTransaction(): Promise<void> {
    return this.beginTransaction();
  }

  async rollbackTransaction(): Promise<void> {}
}

type StatementKind = 'read' | 'write' | 'returning write';

const TEXTS_AND_COMMENTS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--.*|\/\*[^]*?\*\//g;
const READS = /^[\s;]*(select|values|explain|pragma|with\b(?![^]*\)\s*(insert|update|delete|replace)\b))/i;

/**
 * By its text: Kysely says of a raw query only that it is one. What neither reads nor writes is
 * refused as a write, with the reason.
 */
function kindOf(sql: string): StatementKind {
  const bare = sql.replaceAll(TEXTS_AND_COMMENTS, (found) => (/^[-/]/.test(found) ? ' ' : "''"));
  if (READS.test(bare)) return 'read';
  return /\breturning\b/i.test(bare) ? 'returning write' : 'write';
}

function statementOf({ sql, parameters }: CompiledQuery): Statement & { readonly params: Params } {
  return { sql, params: [...parameters] as Params };
}
