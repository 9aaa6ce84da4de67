import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { expectCode, pacing, pairOf } from '../test/pair.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

describe('changes of the schema by others', () => {
  it('a trigger that a user adds later is guarded, and what it did before that is captured in the end', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a, n INT DEFAULT 0);');
    cluster.shell(
      'a',
      `CREATE TRIGGER late AFTER INSERT ON t BEGIN UPDATE t SET n = n + 1 WHERE id = NEW.id; DELETE FROM t WHERE a = 'gone' AND id = NEW.id; END;
      INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'gone');`,
    );
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe('1|x|1');
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    await cluster.write('b', `INSERT INTO t (id, a) VALUES (3, 'from b')`);
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT n FROM t WHERE id = 3'), 'it did not fire during apply').toBe('0');
    cluster.shell('a', `INSERT INTO t (id, a) VALUES (4, 'y')`);
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    expect((await cluster.member('a').store.inspect()).ddl.statements.at(-1)).toMatch(
      /^CREATE TRIGGER late AFTER INSERT ON t BEGIN UPDATE/,
    );
  });

  it('SCHEMA_DRIFT when a replicated table is not what it was; nothing is applied or lost', async () => {
    cluster = await pairOf();
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    await cluster.publish('a');
    cluster.shell('b', `INSERT INTO t VALUES (2, 'y', 1); ALTER TABLE t ADD COLUMN z;`);
    await expectCode(cluster.deliver('b'), 'SCHEMA_DRIFT', /t: its columns are/);
    await expectCode(cluster.member('b').store.seal(), 'SCHEMA_DRIFT');
    expect(cluster.shell('b', 'SELECT id FROM t')).toBe('2');
    cluster.shell('b', `ALTER TABLE t DROP COLUMN z;`);
    await cluster.synchronize();
    expect(cluster.rows('a', 't')).toEqual(cluster.rows('b', 't'));
    cluster.shell('b', 'DROP TABLE t');
    await expectCode(cluster.write('b', 'SELECT 1'), 'SCHEMA_DRIFT', /gone/);
  });

  it('SCHEMA_DRIFT when another unique index with the same columns has become the key', async () => {
    cluster = await pairOf(
      'CREATE TABLE t (a TEXT NOT NULL, n); CREATE UNIQUE INDEX u1 ON t (a); CREATE UNIQUE INDEX u2 ON t (a COLLATE NOCASE);',
    );
    await cluster.write('a', `INSERT INTO t VALUES ('x', 1)`);
    await cluster.synchronize();
    cluster.shell('b', 'DROP INDEX u1; CREATE UNIQUE INDEX u1 ON t (a)');
    await expectCode(cluster.member('b').store.seal(), 'SCHEMA_DRIFT', /KEY \("a" COLLATE NOCASE\)/);
    cluster.shell('b', 'DROP INDEX u2; CREATE UNIQUE INDEX u2 ON t (a COLLATE NOCASE)');
    await cluster.write('a', `INSERT INTO t VALUES ('y', 2)`);
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
  });

  it('SCHEMA_DRIFT that says what to make again when the index that was the key is gone', async () => {
    cluster = await pairOf(
      'CREATE TABLE t (a TEXT NOT NULL, b TEXT NOT NULL); CREATE UNIQUE INDEX u ON t (b, a);',
    );
    const lost = /table t has lost its key \(b, a\): make its primary key or unique index again\. /;
    cluster.shell('b', 'DROP INDEX u');
    await expectCode(cluster.member('b').store.seal(), 'SCHEMA_DRIFT', lost);
    await cluster.member('b').store.close();
    await expectCode(cluster.join('b'), 'SCHEMA_DRIFT', lost);
  });

  it('triggers are guarded however they are written', async () => {
    cluster = await pairOf();
    expect((await cluster.member('a').store.inspect()).tables).toHaveLength(1);
    cluster.shell(
      'a',
      `CREATE TRIGGER "when" AFTER UPDATE OF "a" ON "t" WHEN ((NEW.a) = 'BEGIN') /* BEGIN DELETE */ BEGIN SELECT 1; END; CREATE TRIGGER [be gin]AFTER DELETE ON t FOR EACH ROW WHEN OLD.n=1 -- why
      BEGIN DELETE FROM t WHERE 0;END;`,
    );
    await cluster.member('a').store.apply({ steps: [], position: { generation: 'g1', seq: 0 }, ...pacing });
    expect(
      cluster.shell(
        'a',
        `SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND sql LIKE '%_antiphon_guard%' AND name NOT LIKE '\\_antiphon%' ESCAPE '\\'`,
      ),
    ).toBe('2');
  });
});
