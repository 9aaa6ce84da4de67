import { join } from 'node:path';
import { mkdtempSync, rmSync } from 'node:fs';
import { AntiphonError, creationObstacles, HybridClock, systemClock } from '@antiphon/core';
import { openDatabase, sqlite } from '@antiphon/sqlite';
import type { Random } from '@antiphon/testing';
import { quote, randomSchema, randomStatement, type Schema, type Table } from './schema/index.js';

/** Tables that a run draws for itself. */
export interface RandomTables {
  /** Those that are replicated. */
  readonly tables: readonly Table[];
  readonly ddl: readonly string[];
  /** What fills them before there is a cluster; some of it may fail. */
  readonly setup: readonly string[];
}

interface TableWishes {
  readonly rowVersions: boolean;
  readonly certified: boolean;
  readonly indexKeys: boolean;
}

const MOST_DRAWS = 40;

/** Draws until the product takes what was drawn. */
export async function chooseTables(
  random: Random,
  folder: string,
  wishes: TableWishes,
): Promise<RandomTables | undefined> {
  for (let draw = 0; draw < MOST_DRAWS; draw++) {
    const { rowVersions: multiWriter, indexKeys } = wishes;
    const schema = randomSchema(random, { multiWriter, indexKeys });
    const filling = Array.from({ length: random.int(0, 8) }, () => randomStatement(random, schema.tables));
    const setup = [...filling, ...schema.tables.flatMap(withoutNullKeys)];
    const replicated = await replicatedTables(schema, setup, folder, wishes);
    const tables = schema.tables.filter(({ name }) => replicated.has(name));
    if (tables.length > 0) return { tables, ddl: schema.ddl, setup };
  }
  return undefined;
}

/** Rows that nobody can tell apart are no good: a cluster is not created from them. */
export function withoutNullKeys({ name, key }: Table): readonly string[] {
  return key.map((column) => `DELETE FROM ${quote(name)} WHERE ${quote(column)} IS NULL`);
}

/** Runs what may fail, as a script of somebody else would. */
export function attempting(execute: (sql: string) => unknown, statements: readonly string[]): void {
  for (const statement of statements) {
    try {
      execute(statement);
    } catch {
      // SQLite does not take it, and the next one is another statement.
    }
  }
}

/** Names of the tables that a cluster would be created from; none when it would be refused. */
async function replicatedTables(
  { ddl }: Schema,
  setup: readonly string[],
  folder: string,
  { rowVersions, certified }: TableWishes,
): Promise<ReadonlySet<string>> {
  const place = mkdtempSync(join(folder, 'drawn-'));
  const file = join(place, 'drawn.db');
  const database = openDatabase(file);
  for (const statement of ddl) database.exec(statement);
  attempting((sql) => database.exec(sql), setup);
  database.close();
  const store = sqlite({ file });
  try {
    const inspection = await store.inspect();
    if (creationObstacles(inspection, { named: false, rowVersions }).length > 0) return new Set();
    const tables = inspection.tables.flatMap(({ unsupported, schema }) =>
      unsupported === undefined ? [schema] : [],
    );
    const identity = { cluster: 'drawn', replica: 'drawn', generation: 'drawn', schemaVersion: 1 };
    const options = {
      identity,
      schema: { version: 1, tables, ddl: inspection.ddl },
      writes: 'capture' as const,
      primary: 'drawn',
      rowVersions,
      certified,
      createTables: false,
      sealExistingRows: false,
      durable: false,
    };
    await store.install(options, new HybridClock(systemClock()));
    return new Set(tables.map(({ name }) => name));
  } catch (thrown) {
    if (thrown instanceof AntiphonError) return new Set();
    throw thrown;
  } finally {
    await store.close();
    rmSync(place, { recursive: true, force: true });
  }
}
