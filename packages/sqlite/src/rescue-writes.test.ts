import type { RescueChange, RescueWrite, Row } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, type TestStore } from '../test/cluster.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const DDL = `
  CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
  CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id) ON DELETE CASCADE);
  CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT);
  CREATE TRIGGER noted AFTER UPDATE ON parent BEGIN INSERT INTO audit (what) VALUES (NEW.name); END;
  INSERT INTO parent VALUES (1, 'one'), (2, 'two'); INSERT INTO child VALUES (1, 1), (2, 2);`;
const PARENT = { table: 'parent', columns: ['id', 'name'] } as const;
const CHILD = { table: 'child', columns: ['id', 'parent'] } as const;

let store: TestStore;
const rows = (table: string): string => cluster.shell('a', `SELECT * FROM ${table}`);

function change(
  of: { readonly table: string; readonly columns: readonly string[] },
  images: {
    readonly before?: Row;
    readonly after?: Row;
  },
): RescueChange {
  const { before, after } = images;
  const op = before === undefined ? 'insert' : after === undefined ? 'delete' : 'update';
  return { ...of, op, key: [(after ?? before)?.[0] ?? null], ...images };
}

const updated = (id: bigint, from: string, to: string): RescueChange =>
  change(PARENT, { before: [id, from], after: [id, to] });

async function write(...changes: readonly RescueChange[]): Promise<RescueWrite> {
  const run = (): RescueWrite => store.writeRescued(changes, { force: false });
  const [outcome] = await store.write([
    { run },
    { run: (tx) => tx.run("INSERT INTO audit (what) VALUES ('x')") },
  ]);
  if (outcome?.type !== 'committed') throw (outcome as { error: Error }).error;
  return outcome.value as RescueWrite;
}

describe('I10: rescued rows', () => {
  it('are updated where they are: nothing that refers to them is deleted, and no trigger fires', async () => {
    cluster = new Cluster();
    store = await cluster.first('a', DDL);
    expect(await write(updated(1n, 'one', 'ONE'))).toMatchObject({ written: 1 });
    expect([rows('parent'), rows('child'), rows('audit')]).toEqual(['1|ONE\n2|two', '1|1\n2|2', '1|x']);
    // Triggers and foreign keys are as they were.
    cluster.shell('a', "PRAGMA foreign_keys = ON; UPDATE parent SET name = 'uno' WHERE id = 1");
    expect(rows('audit')).toBe('1|x\n2|uno');
    await expect(write(change(CHILD, { after: [9n, 99n] }))).rejects.toMatchObject({ code: 'CONSTRAINT' });
    const second = await store.write([{ run: (tx) => tx.run('INSERT INTO child VALUES (9, 99)') }]);
    expect(second).toMatchObject([{ type: 'rejected', error: { code: 'CONSTRAINT' } }]);
  });

  it('are updated also in a table that is called `excluded`', async () => {
    cluster = new Cluster();
    store = await cluster.first(
      'a',
      `CREATE TABLE excluded (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO excluded VALUES (1, 'x');
        CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT)`,
    );
    const of = { table: 'excluded', columns: ['id', 'v'] };
    await write(change(of, { before: [1n, 'x'], after: [1n, 'y'] }));
    expect(rows('excluded')).toBe('1|y');
  });

  it('are compared also where a table has columns that are called like ours', async () => {
    cluster = new Cluster();
    store = await cluster.first(
      'a',
      `CREATE TABLE t (f0 INTEGER PRIMARY KEY, l0, f, l, f1, l2, i, r); INSERT INTO t VALUES (1, 2, 3, 4, 5, 6, 7, 8)`,
    );
    const table = { table: 't', columns: ['f0', 'l0', 'f', 'l', 'f1', 'l2', 'i', 'r'] };
    const before = [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n];
    const after = [1n, 'new', 3n, 4n, 5n, 6n, 7n, 8n];
    const stale = change(table, { before: [1n, 'other', 3n, 4n, 5n, 6n, 7n, 8n], after });
    expect(await write(stale)).toMatchObject({ conflicts: [{ key: [1n], here: before }] });
    expect(await write(change(table, { before, after }))).toMatchObject({ written: 1 });
    expect(rows('t')).toBe('1|new|3|4|5|6|7|8');
  });

  it('exchange unique values, and are deleted with what referred to them then, and not with more', async () => {
    cluster = new Cluster();
    store = await cluster.first('a', DDL.replaceAll(' ON DELETE CASCADE', ''));
    expect(await write(updated(1n, 'one', 'two'), updated(2n, 'two', 'one'))).toMatchObject({ written: 2 });
    expect(rows('parent')).toBe('1|two\n2|one');
    await cluster.close();
    cluster = new Cluster();
    store = await cluster.first('a', DDL);
    const [parent, child] = [change(PARENT, { before: [2n, 'two'] }), change(CHILD, { before: [2n, 2n] })];
    cluster.shell('a', 'INSERT INTO child VALUES (3, 2)');
    await store.seal();
    await expect(write(parent, child)).rejects.toThrow(/rows that refer to one of them/);
    expect(rows('child')).toBe('1|1\n2|2\n3|2');
    cluster.shell('a', 'DELETE FROM child WHERE id = 3');
    expect(await write(parent, child)).toMatchObject({ written: 2 });
    expect([rows('parent'), rows('child')]).toEqual(['1|one', '1|1']);
  });

  it('go and get other keys with what refers to them in the same table', async () => {
    cluster = new Cluster();
    store = await cluster.first(
      'a',
      `${DDL} CREATE TABLE p (id INTEGER PRIMARY KEY, name TEXT UNIQUE,
         parent INTEGER REFERENCES p (id) ON DELETE SET NULL ON UPDATE CASCADE);
       INSERT INTO p VALUES (1, 'root', NULL), (2, 'two', 1), (3, 'three', 2), (4, 'own', 4), (5, 'left', 6), (6, 'right', 5);`,
    );
    const P = { table: 'p', columns: ['id', 'name', 'parent'] } as const;
    const gone = (...before: Row): RescueChange => change(P, { before });
    await expect(write(gone(2n, 'two', 1n))).rejects.toThrow(/rows that refer to one of them/);
    expect(
      await write(gone(1n, 'root', null), gone(2n, 'two', 1n), gone(3n, 'three', 2n), gone(4n, 'own', 4n)),
    ).toMatchObject({ written: 4 });
    expect(rows('p')).toBe('5|left|6\n6|right|5');
    cluster.shell('a', "UPDATE p SET parent = NULL WHERE id = 5; UPDATE p SET name = 'x' WHERE id = 6");
    await store.seal();
    const moved = [gone(5n, 'left', null), change(P, { after: [9n, 'left', null] })];
    const follows = change(P, { before: [6n, 'x', 5n], after: [6n, 'x', 9n] });
    expect(await write(...moved, follows)).toMatchObject({ written: 3 });
    expect(rows('p')).toBe('6|x|9\n9|left|');
  });

  it('are sealed like any write, and come to the others as they are', async () => {
    cluster = new Cluster();
    store = await cluster.first('a', DDL);
    const b = await cluster.join('b', { writes: 'refuse' });
    await write(
      updated(1n, 'one', 'ONE'),
      change(PARENT, { after: [3n, 'three'] }),
      change(CHILD, { after: [3n, 3n] }),
      change(CHILD, { before: [1n, 1n] }),
    );
    await cluster.publish('a');
    expect((await cluster.deliver('b')).refused).toBeUndefined();
    const sums = async (one: TestStore): Promise<unknown> => (await one.checksum()).tables;
    expect(await sums(b)).toEqual(await sums(store));
    expect(cluster.shell('b', 'SELECT * FROM child')).toBe('2|2\n3|3');
  });

  it('go into a synchronous group, and are not there when it is rolled back', async () => {
    cluster = new Cluster();
    store = await cluster.first('a', DDL, { writes: 'library' });
    const group = await store.prepare(
      [{ run: () => store.writeRescued([updated(1n, 'one', 'ONE')], { force: false }) }],
      { token: 't', maxBytes: 1e6, certified: false },
    );
    expect(group?.writes).toMatchObject([{ type: 'ran', value: { written: 1 }, id: { origin: 'a' } }]);
    expect(group?.message).toBeDefined();
    await group?.rollback();
    expect(rows('parent')).toBe('1|one\n2|two');
  });
});
