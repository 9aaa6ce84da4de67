import type { Client } from '@antiphon/client';
import type { Params, QueryOptions, Replica } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { drizzle, type SqliteRemoteDatabase } from 'drizzle-orm/sqlite-proxy';

/** What each read promises; `{ consistency: 'strong' }`, say. */
export type ReadPromise = Pick<QueryOptions, 'consistency' | 'maxLagMs'>;

interface Statement {
  readonly sql: string;
  readonly params: Params;
  readonly method: 'run' | 'all' | 'values' | 'get';
}

interface Answer {
  rows: unknown[];
}

/** Where statements go. */
interface Target {
  read(sql: string, params: Params): Promise<readonly unknown[][]>;
  /** All of them in one transaction, or none. */
  write(statements: readonly Statement[]): Promise<Answer[]>;
}

type Schema = Record<string, unknown>;

/**
 * Drizzle on a replica: what reads goes to `replica.query`, what writes to `replica.transaction`, a
 * transaction for each statement. Several writes in one transaction: `db.batch([…])`.
 */
export function replicaDatabase<S extends Schema>(
  replica: Replica<SqliteTransaction>,
  schema: S,
  reads: ReadPromise = {},
): SqliteRemoteDatabase<S> {
  return databaseOn(schema, {
    read: async (sql, params) => [
      ...(await replica.query<unknown[]>(sql, params, { ...reads, integers: 'number', rows: 'array' })),
    ],
    write: async (statements) =>
      (await replica.transaction((tx) => statements.map((statement) => written(tx, statement)))).value,
  });
}

/** Drizzle in a program without a database: a client of the cluster. Its writes return no rows. */
export function clientDatabase<S extends Schema>(
  client: Client,
  schema: S,
  reads: ReadPromise = {},
): SqliteRemoteDatabase<S> {
  return databaseOn(schema, {
    read: async (sql, params) => [
      ...(await client.query<unknown[]>(sql, params, { ...reads, integers: 'number', rows: 'array' })),
    ],
    write: async (statements) => {
      if (statements.some(({ method }) => method !== 'run'))
        throw new Error(
          'A write of a client returns no rows, and a batch is a write. Leave out returning() and reads, and read afterwards.',
        );
      await client.execute(statements.map(({ sql, params }) => ({ sql, params })));
      return statements.map(() => ({ rows: [] }));
    },
  });
}

type StatementKind = 'read' | 'write' | 'returning write';

const TEXTS_AND_COMMENTS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--.*|\/\*[^]*?\*\//g;
const READS = /^[\s;]*(select|values|explain|pragma|with\b(?![^]*\)\s*(insert|update|delete|replace)\b))/i;
const CONTROLS = /^\s*(begin|savepoint)\b/i;

function databaseOn<S extends Schema>(schema: S, target: Target): SqliteRemoteDatabase<S> {
  return drizzle(
    async (sql, params: readonly unknown[], method) => {
      const statement: Statement = { sql, params: params as Params, method };
      if (CONTROLS.test(sql))
        throw new Error(
          'A transaction of a replica does not wait for the program in between. Give its writes to db.batch(), ' +
            'or read and write in replica.transaction() with transactionDatabase().',
        );
      assertKeepsRows(statement);
      if (kindOf(sql) === 'read') return answer(statement, await target.read(sql, statement.params));
      return (await target.write([statement]))[0] ?? { rows: [] };
    },
    async (batch: readonly Statement[]) => {
      for (const statement of batch) assertKeepsRows(statement);
      return target.write(batch);
    },
    { schema },
  );
}

/** What neither reads nor writes is refused as a write, with the reason. */
function kindOf(sql: string): StatementKind {
  const bare = sql.replaceAll(TEXTS_AND_COMMENTS, (found) => (/^[-/]/.test(found) ? ' ' : "''"));
  if (READS.test(bare)) return 'read';
  return /\breturning\b/i.test(bare) ? 'returning write' : 'write';
}

function assertKeepsRows({ sql, method }: Statement): void {
  if (method === 'run' && kindOf(sql) !== 'write')
    throw new Error(
      'db.run() gives no rows, and this statement has some. Use db.all(), db.get() or db.values().',
    );
}

function written(tx: SqliteTransaction, statement: Statement): Answer {
  const { sql, params, method } = statement;
  if (method !== 'run') return answer(statement, tx.values(sql, params));
  tx.run(sql, params);
  return { rows: [] };
}

/** With `get`, Drizzle wants the one row itself. */
function answer({ method }: Statement, rows: readonly unknown[][]): Answer {
  return { rows: method === 'get' ? (rows[0] as unknown[]) : [...rows] };
}
