import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { connect } from '@antiphon/client';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrate } from '../../examples/drizzle/src/migrate.ts';
import { clientDatabase, replicaDatabase } from '../../examples/drizzle/src/replica-database.ts';
import * as schema from '../../examples/drizzle/src/schema.ts';
import { metWishes } from '../../examples/drizzle/src/shop.ts';
import { fileDatabase, transactionDatabase } from '../../examples/drizzle/src/sync-database.ts';

const { customers, stock, wishes } = schema;
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

it('examples/drizzle: prints what its page shows', async () => {
  const args = ['--disable-warning=ExperimentalWarning', 'examples/drizzle/src/start.ts'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root });
  const page = readFileSync(join(root, 'examples', 'drizzle', 'README.md'), 'utf8');
  expect(stderr).toBe('');
  expect(stdout).toBe(/```text\n([^]*?)```/.exec(page)?.[1]);
});

const folder = mkdtempSync(join(tmpdir(), 'antiphon-drizzle-test-'));
const fileOf = (id: string): string => join(folder, `${id}.db`);
const closing: (() => Promise<unknown>)[] = [];
let servers = '';

beforeAll(async () => {
  const nats = await NatsServer.start({ storeDir: join(folder, 'nats') });
  closing.push(() => nats.stop());
  servers = nats.url;
});
afterAll(async () => {
  for (const close of closing.reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

async function primaryOf(cluster: string, tables?: readonly string[]) {
  const database = new DatabaseSync(fileOf(cluster), { timeout: 5000 });
  const file = fileDatabase(database);
  migrate(file);
  migrate(file); // nothing is left to run
  file.insert(customers).values({ id: 'c', name: 'Ada' }).run();
  file.insert(stock).values({ item: 'lamp', pieces: 3 }).run();
  database.close();
  const store = sqlite({ file: fileOf(cluster) });
  const replica = await createReplica({ cluster, id: 'a', servers, store, ...(tables && { tables }) });
  closing.push(() => replica.close());
  return replica;
}

it('examples/drizzle: a replica and a client read and write, and refuse what they cannot do', async () => {
  const replica = await primaryOf('both');
  const db = replicaDatabase(replica, schema);
  expect(await db.insert(wishes).values({ customer: 'c', item: 'lamp' }).returning()).toEqual([
    { customer: 'c', item: 'lamp' },
  ]);
  // Columns of one name, in several tables.
  const met = [
    {
      customers: { id: 'c', name: 'Ada' },
      stock: { item: 'lamp', pieces: 3 },
      wishes: { customer: 'c', item: 'lamp' },
    },
  ];
  expect(await metWishes(db)).toEqual(met);
  expect(await db.query.customers.findFirst({ where: eq(customers.id, 'c') })).toEqual({
    id: 'c',
    name: 'Ada',
  });
  expect(await db.query.customers.findFirst({ where: eq(customers.id, 'd') })).toBeUndefined();
  const [rows, one, gone] = await db.batch([
    db.select().from(stock),
    db.update(stock).set({ pieces: 2 }).returning({ left: stock.pieces }),
    db.delete(wishes),
  ]);
  expect([rows, one, gone]).toEqual([[{ item: 'lamp', pieces: 3 }], [{ left: 2 }], { rows: [] }]);
  const insert = db.insert(customers).values({ id: 'd', name: 'Grace' });
  const tooMany = db.update(stock).set({ pieces: sql`${stock.pieces} - 9` });
  await expect(db.batch([insert, tooMany])).rejects.toThrow(/CHECK constraint failed: enough/);
  await expect(db.transaction((tx) => tx.delete(customers))).rejects.toMatchObject({
    cause: { message: expect.stringMatching(/db\.batch\(\).*transactionDatabase/) },
  });
  await expect(db.run(sql`CREATE TABLE later (id INTEGER PRIMARY KEY)`)).rejects.toMatchObject({
    cause: { code: 'BAD_SQL' },
  });
  expect(await db.$count(customers)).toBe(1);

  const client = await connect({ cluster: 'both', servers });
  closing.push(() => client.close());
  const remote = clientDatabase(client, schema, { consistency: 'strong' });
  await remote.batch([
    remote.insert(customers).values({ id: 'e', name: 'Edsger' }),
    remote.insert(wishes).values({ customer: 'e', item: 'lamp' }),
  ]);
  expect((await metWishes(remote)).map((row) => row.customers)).toEqual([{ id: 'e', name: 'Edsger' }]);
  await expect(remote.delete(customers).returning()).rejects.toMatchObject({
    cause: { message: expect.stringMatching(/Leave out returning\(\)/) },
  });
  expect(await remote.$count(customers)).toBe(2);
});

it('examples/drizzle: in a transaction, reads decide, and an error undoes all', async () => {
  const replica = await primaryOf('inside');
  const { value } = await replica.transaction((tx) => {
    const db = transactionDatabase(tx);
    db.insert(wishes).values({ customer: 'c', item: 'lamp' }).run();
    const joined = db.select().from(wishes).innerJoin(customers, eq(customers.id, wishes.customer)).get();
    const { changes } = db.update(stock).set({ pieces: 1 }).run();
    return { joined, changes };
  });
  expect(value).toEqual({
    joined: { wishes: { customer: 'c', item: 'lamp' }, customers: { id: 'c', name: 'Ada' } },
    changes: 1,
  });
  const undone = replica.transaction((tx) => {
    transactionDatabase(tx).delete(wishes).run();
    throw new Error('no');
  });
  await expect(undone).rejects.toThrow('no');
  const nested = replica.transaction((tx) =>
    transactionDatabase(tx).transaction((inner) => inner.delete(wishes).run()),
  );
  await expect(nested).rejects.toThrow(/This is a transaction already/);
  expect(await replica.query('SELECT * FROM wishes')).toHaveLength(1);
});

it('examples/drizzle: raw SQL reads and writes, and run() loses no rows without a word', async () => {
  const db = replicaDatabase(await primaryOf('raw'), schema);
  expect(
    await db.all(sql`-- by a tool
UPDATE stock SET pieces = 2 RETURNING pieces`),
  ).toEqual([[2]]);
  expect(await db.get(sql`WITH s (t) AS (SELECT ') delete ') SELECT replace(t, ' ', '') FROM s`)).toEqual([
    ')delete',
  ]);
  for (const statement of [
    sql`SELECT pieces FROM stock`,
    sql`UPDATE stock SET pieces = 1 RETURNING pieces`,
  ]) {
    const cause = { message: expect.stringMatching(/run\(\) gives no rows.*db\.all\(\)/) };
    await expect(db.run(statement)).rejects.toMatchObject({ cause });
    await expect(db.batch([db.delete(wishes), db.run(statement)])).rejects.toMatchObject(cause);
  }
  expect(await db.get(sql`SELECT pieces FROM stock`)).toEqual([2]);
});

it('examples/drizzle: a transaction on the file cannot wait, and what comes after is not written', async () => {
  const database = new DatabaseSync(fileOf('waits'));
  const file = fileDatabase(database);
  migrate(file);
  file.insert(stock).values({ item: 'lamp', pieces: 3 }).run();
  let late: unknown;
  const waits = (tx: Pick<typeof file, 'update'>): Promise<void> => {
    tx.update(stock).set({ pieces: 2 }).run();
    return Promise.resolve().then(() => {
      try {
        tx.update(stock).set({ pieces: 1 }).run();
      } catch (error) {
        late = error;
        throw error;
      }
    });
  };
  for (const transaction of [
    () => file.transaction(waits),
    () => file.transaction((tx) => tx.transaction(waits)),
    () => file.transaction((tx) => void tx.transaction(waits)),
  ]) {
    late = undefined;
    expect(transaction).toThrow(/cannot wait.*promise/);
    expect(database.isTransaction).toBe(false);
    await new Promise((resolve) => setImmediate(resolve));
    expect(late).toMatchObject({ message: expect.stringMatching(/This transaction is over/) });
    expect(file.select().from(stock).all()).toEqual([{ item: 'lamp', pieces: 3 }]);
  }
  const rolledBack = (): unknown =>
    file.transaction((tx) => tx.run(sql`INSERT OR ROLLBACK INTO stock VALUES ('lamp', 1)`));
  expect(rolledBack).toThrow(/INSERT OR ROLLBACK/);
  const kept = file.transaction((tx) => {
    tx.update(stock).set({ pieces: 2 }).run();
    expect(() =>
      tx.transaction((inner) => {
        inner.update(stock).set({ pieces: 1 }).run();
        throw new Error('undone');
      }),
    ).toThrow('undone');
    return tx.select().from(stock).all();
  });
  expect(kept).toEqual([{ item: 'lamp', pieces: 2 }]);
  database.close();
});

it("examples/drizzle: Drizzle's own table is left out aloud, and cannot be replicated", async () => {
  const replica = await primaryOf('own');
  expect(replica.status().leftOut).toMatchObject([
    { name: '__drizzle_migrations', reason: expect.stringMatching(/^Drizzle notes there which migrations/) },
  ]);
  await expect(primaryOf('named', ['__drizzle_migrations', 'stock'])).rejects.toMatchObject({
    code: 'UNSUPPORTED_TABLE',
    message: expect.stringMatching(/^Table __drizzle_migrations has 1 rows? with NULL in the/),
  });
});
