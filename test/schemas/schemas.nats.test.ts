import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { TestCluster, type TestReplicaOptions } from '@antiphon/test-cluster';
import { expect, it } from 'vitest';

const folder = import.meta.dirname;

/** Of programs that exist, with what a cluster leaves out of each. */
const SCHEMAS: Readonly<Record<string, readonly string[]>> = {
  chinook: [],
  drizzle: ['__drizzle_migrations'],
  'home-assistant': ['migration_changes', 'schema_changes'],
  laravel: ['migrations', 'password_resets'],
  memos: ['migration_history'],
  'prisma-many-to-many': ['_prisma_migrations'],
};
const MODES: Readonly<Record<string, TestReplicaOptions>> = {
  'one writer': {},
  'several writers': { topology: { mode: 'multi-primary' } },
  'several writers, synchronous': { topology: { mode: 'multi-primary' }, update: { mode: 'sync' } },
};
/** Those with unique indexes in the place of primary keys, in every mode. */
const KEYED_BY_INDEXES = ['laravel', 'memos', 'prisma-many-to-many'];
const CASES = Object.keys(SCHEMAS).flatMap((schema) =>
  Object.keys(MODES)
    .slice(0, KEYED_BY_INDEXES.includes(schema) ? undefined : 1)
    .map((mode) => [schema, mode] as const),
);

function sqlOf(name: string): string {
  return readFileSync(join(folder, `${name}.sql`), 'utf8');
}

/** One for each line. */
function writesOf(schema: string): readonly string[] {
  return sqlOf(`${schema}.writes`).trim().split('\n');
}

/** Each table's rows, as another program reads them. */
function contentOf(file: string, tables: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    return new Map(
      tables.map((table) => {
        const rows = database.prepare(`SELECT * FROM "${table}"`).all();
        return [table, rows.map((row) => JSON.stringify(Object.values(row))).sort()];
      }),
    );
  } finally {
    database.close();
  }
}

function tablesOf(file: string): readonly string[] {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    return database
      .prepare(`SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name`)
      .all()
      .map(({ name }) => String(name))
      .filter((name) => !/^(sqlite_|_antiphon_)/.test(name));
  } finally {
    database.close();
  }
}

it.each(CASES)('%s, %s: is created, and every table is written and arrives', async (schema, mode) => {
  const options = MODES[mode] ?? {};
  const ids = ['eu-1', 'eu-2'] as const;
  await using cluster = await TestCluster.start({ schema: sqlOf(schema), replicas: ids, options });
  const [one, two] = [cluster.replica(ids[0]), cluster.replica(ids[1])];
  const [here, there] = [cluster.file(ids[0]), cluster.file(ids[1])];
  const leftOut = SCHEMAS[schema] ?? [];
  expect(one.status().leftOut.map(({ name }) => name)).toEqual(leftOut);
  expect(one.status().alarms).toEqual([]);
  const tables = tablesOf(here).filter((name) => !leftOut.includes(name));
  expect(tablesOf(there)).toEqual(tables);
  const before = contentOf(there, tables);
  expect(before).toEqual(contentOf(here, tables));

  const program = new DatabaseSync(here, { timeout: 5000 });
  try {
    // In turns; where writes are synchronous, other programs must not.
    for (const [at, sql] of writesOf(schema).entries())
      if (at % 2 === 0 || options.update?.mode === 'sync') await one.execute([{ sql }]);
      else program.exec(sql);
  } finally {
    program.close();
  }
  await cluster.caughtUp();
  await cluster.assertEqual();
  const after = contentOf(there, tables);
  expect(after).toEqual(contentOf(here, tables));
  const unchanged = tables.filter((table) => after.get(table)?.join() === before.get(table)?.join());
  expect(unchanged).toEqual([]);
  expect(two.status().alarms).toEqual([]);
});

it('the row of a table without a primary key is that of its unique index, whoever was first', async () => {
  const options = { topology: { mode: 'multi-primary' }, update: { mode: 'sync' } } as const;
  const ids = ['eu-1', 'eu-2'] as const;
  await using cluster = await TestCluster.start({ schema: sqlOf('memos'), replicas: ids, options });
  const note = (id: string, value: string) =>
    cluster
      .replica(id)
      .execute([{ sql: 'INSERT INTO user_setting VALUES (1, ?, ?)', params: ['locale', value] }])
      .then(
        () => 'written',
        (error: unknown) => (error as Error).message,
      );
  const outcomes = await Promise.all([note('eu-1', 'de'), note('eu-2', 'fr')]);
  expect(outcomes.sort()).toEqual([
    expect.stringMatching(/UNIQUE constraint failed: user_setting/),
    'written',
  ]);
  await cluster.caughtUp();
  await cluster.assertEqual();
  expect(await cluster.replica('eu-1').query('SELECT count(*) AS n FROM user_setting')).toEqual([{ n: 1n }]);
});

it('a schema that cannot be replicated is refused, with the settings under which it can be', async () => {
  const start = (options: TestReplicaOptions) =>
    TestCluster.start({ schema: sqlOf('django'), replicas: ['eu-1', 'eu-2'], options });
  const refused = await start({}).then(
    () => '',
    (error: unknown) => (error as Error).message,
  );
  expect(refused).toMatch(
    /^Table shop_order refers to shop_customer, which would be left out: its unique index/,
  );
  const settings = /A cluster can be created with `(tables: .*)` and `(localTriggers: .*)`\.$/.exec(refused);
  const options = settings
    ?.slice(1)
    .map((setting) => JSON.parse(`{${setting.replace(/^\w+/, '"$&"')}}`) as object);
  const given = Object.assign({}, ...(options ?? [])) as { tables: string[]; localTriggers: string[] };
  expect(given.localTriggers).toEqual(['shop_product_sold']);
  await using cluster = await start(given);
  for (const sql of writesOf('django')) await cluster.replica('eu-1').execute([{ sql }]);
  await cluster.caughtUp();
  await cluster.assertEqual();
  const content = contentOf(cluster.file('eu-2'), given.tables);
  expect([...content].filter(([, rows]) => rows.length === 0)).toEqual([]);
  expect(tablesOf(cluster.file('eu-2'))).toEqual(given.tables);
});
