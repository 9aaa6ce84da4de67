import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { TestCluster } from '@antiphon/test-cluster';
import { Kysely, sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { replicaDialect } from '../../examples/kysely/src/replica-dialect.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

it('examples/kysely: prints what its page shows', async () => {
  const args = ['--disable-warning=ExperimentalWarning', 'examples/kysely/src/start.ts'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root });
  const page = readFileSync(join(root, 'examples', 'kysely', 'README.md'), 'utf8');
  expect(stderr).toBe('');
  expect(stdout).toBe(/```text\n([^]*?)```/.exec(page)?.[1]);
});

it('examples/kysely: refuses what a replica cannot do, and writes nothing of it', async () => {
  const schema = 'CREATE TABLE orders (id TEXT PRIMARY KEY)';
  const cluster = await TestCluster.start({ schema, broker: 'memory', replicas: ['eu-1'] });
  try {
    const dialect = replicaDialect(cluster.replica('eu-1'));
    const db = new Kysely<{ orders: { id: string } }>({ dialect });
    const insert = db.insertInto('orders').values({ id: 'o-1' });
    await expect(db.transaction().execute((trx) => trx.deleteFrom('orders').execute())).rejects.toThrow(
      /writeTogether/,
    );
    expect(await db.selectFrom('orders').selectAll().execute()).toEqual([]);
    expect(await insert.returning('id').execute()).toEqual([{ id: 'o-1' }]);
    expect(await db.selectFrom('orders').selectAll().execute()).toEqual([{ id: 'o-1' }]);
  } finally {
    await cluster.close();
  }
});

describe('examples/kysely: what goes where', () => {
  let cluster: TestCluster;
  const databaseOf = (id: string) =>
    new Kysely<{ orders: { id: string; pieces: number } }>({ dialect: replicaDialect(cluster.replica(id)) });
  const counted = sql<{ n: number }>`SELECT count(*) AS n FROM orders`;

  beforeAll(async () => {
    const schema = 'CREATE TABLE orders (id TEXT PRIMARY KEY, pieces INTEGER NOT NULL DEFAULT 1)';
    cluster = await TestCluster.start({
      ...{ schema, broker: 'memory', replicas: ['eu-1', 'eu-2'] },
      options: { failover: { mode: 'manual' } },
    });
  });
  afterAll(() => cluster.close());

  it('reads with raw SQL, and writes with it, also where the rows of a write are wanted', async () => {
    const db = databaseOf('eu-1');
    const written = await sql`INSERT INTO orders (id) VALUES (${'r-1'}), (${'r-2'})`.execute(db);
    expect(written).toMatchObject({ rows: [], numAffectedRows: 2n });
    expect((await counted.execute(db)).rows).toEqual([{ n: 2 }]);
    const returning = sql`WITH n (id) AS (SELECT 'r-3') INSERT INTO orders (id) SELECT id FROM n RETURNING id`;
    expect(await returning.execute(db)).toMatchObject({ rows: [{ id: 'r-3' }], numAffectedRows: 1n });
    expect((await sql`VALUES (1, 'x')`.execute(db)).rows).toEqual([{ column1: 1, column2: 'x' }]);
    expect((await sql`PRAGMA table_info(orders)`.execute(db)).rows).toHaveLength(2);
    const plan = sql`EXPLAIN QUERY PLAN UPDATE orders SET pieces = 9`;
    expect((await plan.execute(db)).rows).toMatchObject([{ detail: 'SCAN orders' }]);
    const text = sql`-- DELETE, says nobody
      WITH w (t) AS (SELECT ') delete returning') SELECT replace(t, ') ', '') AS t FROM w`;
    expect((await text.execute(db)).rows).toEqual([{ t: 'delete returning' }]);
    const noted = sql`/* by a tool */ DELETE FROM orders WHERE id = 'returning'`;
    expect(await noted.execute(db)).toMatchObject({ rows: [], numAffectedRows: 0n });
    expect((await db.introspection.getTables()).map(({ name }) => name)).toContain('orders');
  });

  it('reads and writes with raw SQL on a replica that is not the primary', async () => {
    const copy = databaseOf('eu-2');
    await cluster.replica('eu-2').caughtUp();
    const before = (await counted.execute(copy)).rows[0]?.n ?? 0;
    await sql`INSERT INTO orders (id) VALUES ('f-1')`.execute(copy);
    await cluster.replica('eu-2').caughtUp();
    expect((await counted.execute(copy)).rows).toEqual([{ n: before + 1 }]);
  });

  it('refuses raw SQL that is neither, and says why', async () => {
    const db = databaseOf('eu-1');
    for (const [statement, reason] of [
      [sql`BEGIN`, /a write is a transaction already/],
      [sql`CREATE TABLE later (id INTEGER PRIMARY KEY)`, /schema changes belong in a migration/],
      [sql`PRAGMA foreign_keys = OFF`, /PRAGMA/],
    ] as const)
      await expect(statement.execute(db)).rejects.toMatchObject({
        code: 'BAD_SQL',
        message: expect.stringMatching(reason),
      });
    await expect(db.schema.createTable('later').addColumn('id', 'text').execute()).rejects.toThrow(
      /schema changes belong in a migration/,
    );
  });

  it('streams more rows than a query may have', async () => {
    const db = databaseOf('eu-1');
    const many = sql`INSERT INTO orders (id) WITH RECURSIVE n (i) AS
      (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001) SELECT 's-' || i FROM n`;
    expect((await many.execute(db)).numAffectedRows).toBe(10_001n);
    const select = db.selectFrom('orders').selectAll().where('id', 'like', 's-%');
    await expect(select.execute()).rejects.toThrow(/10000/);
    let sum = 0;
    for await (const { pieces } of select.stream(1000)) sum += pieces;
    expect(sum).toBe(10_001);
    for await (const { id } of select.orderBy('id').stream()) {
      expect(id).toBe('s-1');
      break; // ends the stream: a replica has four at once
    }
    const returning = db.deleteFrom('orders').where('id', 'in', ['s-1', 's-2']).returning('id');
    const gone: string[] = [];
    for await (const { id } of returning.stream(1)) gone.push(id);
    expect(gone.toSorted()).toEqual(['s-1', 's-2']);
  });
});
