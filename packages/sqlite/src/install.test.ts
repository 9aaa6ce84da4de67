import { execFileSync } from 'node:child_process';
import { DatabaseSync } from 'node:sqlite';
import { AntiphonError } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, Directory } from '../test/cluster.js';
import { expectCode, installOptions, newClock, pairOf, T } from '../test/pair.js';
import { sqlite } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

/** Makes the metadata of a file what the build before made. */
const FORMAT_3 = `INSERT INTO _antiphon_vector SELECT key, value FROM _antiphon_state, json_each(vector);
  DROP VIEW _antiphon_guard; CREATE TABLE _antiphon_guard (applying INTEGER PRIMARY KEY);
  ALTER TABLE _antiphon_state DROP COLUMN vector; ALTER TABLE _antiphon_state DROP COLUMN applying;
  UPDATE _antiphon_state SET format = 3;`;

describe('inspect and install', () => {
  it('describes tables, keys, row counts and statements, and says what cannot be replicated', async () => {
    const directory = new Directory();
    directory.shell(
      'x',
      `CREATE TABLE t (b TEXT, a INT, g AS (a + 1), PRIMARY KEY (a, b)); INSERT INTO t VALUES ('x', 1);
      CREATE INDEX ti ON t (b); CREATE VIEW v AS SELECT 1;
      CREATE TABLE none (a); CREATE VIRTUAL TABLE f USING fts5 (a);
      CREATE TABLE e (id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX ei ON e (lower(a));
      CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END;`,
    );
    const store = sqlite({ file: directory.file('x') });
    const inspection = await store.inspect();
    expect(inspection.identity).toBeUndefined();
    const tables = new Map(inspection.tables.map((table) => [table.schema.name, table]));
    expect(tables.get('t')).toEqual({
      schema: {
        name: 't',
        columns: [
          { name: 'b', declaredType: 'TEXT' },
          { name: 'a', declaredType: 'INT' },
        ],
        key: [1, 0],
        rules: ['"g" GENERATED AS ( a + 1 )', 'PRIMARY KEY ("a" COLLATE BINARY, "b" COLLATE BINARY)'],
      },
      rowCount: 1,
    });
    expect(tables.get('none')?.unsupported).toMatch(/no primary key/);
    expect(tables.get('f')?.unsupported).toMatch(/virtual/);
    expect(tables.get('e')?.unsupported).toMatch(/expression/);
    expect(tables.has('v')).toBe(false);
    expect(inspection.ddl.statements).toEqual([
      expect.stringMatching(/^CREATE TABLE t/),
      expect.stringMatching(/^CREATE INDEX ti/),
      'CREATE VIEW v AS SELECT 1',
      'CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END',
    ]);
    await store.close();
    directory.remove();
  });

  it.each([
    ['a CHECK', `v TEXT CHECK (v REGEXP '^a')`, '', /no such function: regexp/i],
    ['a generated column', 'v TEXT, g AS (own(v))', '', /no such function: own/],
    ['a default that REPLACE may need', 'v TEXT NOT NULL DEFAULT (own())', '', /function: own/],
    ['the collation of a column', 'v TEXT COLLATE uni', '', /collation sequence: uni/],
    ['a partial index', 'v TEXT', `CREATE INDEX i ON t (v) WHERE own(v) = 'a'`, /index i .*function: own/],
    ['an index on an expression', 'v TEXT', 'CREATE INDEX i ON t (own(v))', /index i .*function: own/],
  ])('leaves out a table that only its program can write to: %s', async (_, column, index, message) => {
    const directory = new Directory();
    const program = new DatabaseSync(directory.file('x'));
    for (const name of ['own', 'regexp'])
      program.function(name, { deterministic: true, varargs: true }, () => 'a');
    // Node.js cannot define a collation: the name is put in afterwards.
    program.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${column.replace('uni', 'RTRIM')}); ${index};
      CREATE TABLE d (id INTEGER PRIMARY KEY, v DEFAULT 'plain' CHECK (length(v) < 9));
      CREATE INDEX di ON d (lower(v));`);
    program.enableDefensive?.(false);
    if (column.includes('uni'))
      program.exec(
        `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'RTRIM', 'uni') WHERE name = 't';`,
      );
    program.close();
    const store = sqlite({ file: directory.file('x') });
    const { tables, ddl } = await store.inspect();
    await store.close();
    const named = new Map(tables.map((table) => [table.schema.name, table]));
    expect(named.get('t')).toMatchObject({ unsupported: expect.stringMatching(message), isData: true });
    expect(named.get('d')).not.toHaveProperty('unsupported');
    expect(ddl.statements.join(' ')).not.toContain('TABLE t ');
    directory.remove();
  });

  it('takes the first unique index of NOT NULL columns for the key, where there is no primary key', async () => {
    const directory = new Directory();
    directory.shell(
      'x',
      `CREATE TABLE made (a TEXT NOT NULL, b INT NOT NULL, c, UNIQUE (c), UNIQUE (b, a), UNIQUE (a));
      CREATE TABLE given (a TEXT NOT NULL COLLATE NOCASE, b INT NOT NULL);
      CREATE UNIQUE INDEX older ON given (a) WHERE b > 0; CREATE UNIQUE INDEX old ON given (b, a);
      CREATE UNIQUE INDEX new ON given (a);
      CREATE TABLE both (id TEXT PRIMARY KEY, a INT NOT NULL UNIQUE);
      CREATE TABLE clustered (a INT NOT NULL UNIQUE, id TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID;
      CREATE TABLE maybe (a INT NOT NULL, b, UNIQUE (a, b)); CREATE TABLE some (a INT NOT NULL);
      CREATE UNIQUE INDEX part ON some (a) WHERE a > 0; CREATE INDEX plain ON some (a);`,
    );
    const { tables } = await sqlite({ file: directory.file('x') }).inspect();
    const keys = Object.fromEntries(
      tables.map(({ schema, unsupported }) => [
        schema.name,
        unsupported ?? schema.key.map((column) => schema.columns[column]?.name).join(),
      ]),
    );
    const none = expect.stringMatching(/^it has no primary key and no unique index of NOT NULL columns/);
    expect(keys).toEqual({ made: 'b,a', given: 'b,a', both: 'id', clustered: 'id', maybe: none, some: none });
    directory.remove();
  });

  it('I3: leaves out a table whose key older versions of SQLite would show converted', async () => {
    const directory = new Directory();
    directory.shell(
      'x',
      `CREATE TABLE code (id TEXT PRIMARY KEY); CREATE TABLE coded (id INTEGER PRIMARY KEY, c INT REFERENCES Code (ID));
      CREATE TABLE part (a INT, b TEXT, PRIMARY KEY (a, b));
      CREATE TABLE parts (id TEXT PRIMARY KEY, a INT, b NUMERIC, FOREIGN KEY (a, b) REFERENCES part);
      CREATE TABLE named (id TEXT PRIMARY KEY, up VARCHAR REFERENCES named, n INT REFERENCES coded, x REFERENCES coded);`,
    );
    const { tables } = await sqlite({ file: directory.file('x') }).inspect();
    const unsupported = Object.fromEntries(tables.map((table) => [table.schema.name, table.unsupported]));
    expect(unsupported).toMatchObject({
      code: expect.stringMatching(/column c of coded is a number and refers to id, which is none/),
      part: expect.stringMatching(/column b of parts is a number and refers to b/),
    });
    for (const name of ['coded', 'named', 'parts']) expect(unsupported[name], name).toBeUndefined();
  });

  it('refuses tables without a primary key, and keys with NULL', async () => {
    cluster = new Cluster();
    await expectCode(
      cluster.first('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE none (a);').then(async () => {
        cluster.shell('b', 'CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE none (a);');
        const store = sqlite({ file: cluster.directory.file('b') });
        const { tables, ddl } = await store.inspect({ tables: ['none'] });
        await store
          .install(
            installOptions(cluster, 'b', {
              schema: { version: 1, tables: tables.map(({ schema }) => schema), ddl },
            }),
            newClock(),
          )
          .finally(() => store.close());
      }),
      'UNSUPPORTED_TABLE',
      /none.*no primary key/,
    );
    const nulls = new Cluster();
    await expectCode(
      nulls.first('a', `CREATE TABLE t (k TEXT PRIMARY KEY); INSERT INTO t VALUES (NULL), (NULL);`),
      'UNSUPPORTED_TABLE',
      /2 rows with NULL/,
    );
    await nulls.close();
    const later = new Cluster();
    await later.first('a', `CREATE TABLE t (k TEXT PRIMARY KEY);`);
    expect(() => later.shell('a', 'INSERT INTO t VALUES (NULL)')).toThrow(
      /needs a value in every column of its primary key/,
    );
    await later.close();
  });

  it('an empty file gets the tables, indexes and triggers; a second install changes nothing', async () => {
    cluster = await pairOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE INDEX ti ON t (a); INSERT INTO t VALUES (1, 'x');
      CREATE TRIGGER tr AFTER INSERT ON t WHEN NEW.a = 'y' BEGIN DELETE FROM t WHERE a = 'x'; END;`,
    );
    const { ddl, identity } = await cluster.member('b').store.inspect();
    expect(identity).toEqual({ cluster: 'test', replica: 'b', generation: 'g1', schemaVersion: 1 });
    expect(ddl.statements).toEqual(cluster.schema!.ddl.statements);
    const before = cluster.shell('b', 'SELECT type, name, sql FROM sqlite_schema');
    const { state } = { state: cluster.member('b').store.state() };
    await cluster.member('b').store.close();
    const again = await cluster.join('b', { createTables: true });
    expect(cluster.shell('b', 'SELECT type, name, sql FROM sqlite_schema')).toBe(before);
    expect(again.state()).toEqual(state);
    await cluster.member('a').store.close();
    const first = await cluster.join('a', { sealExistingRows: true });
    expect(first.state().lastCounter, 'existing rows are sealed once').toBe(1);
  });

  it('refuses a database with other content and explains what differs', async () => {
    cluster = new Cluster();
    await cluster.first('a', T);
    cluster.shell('rows', `${T} INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2);`);
    await expectCode(cluster.join('rows'), 'STORE_CONTENT', /rows of its own in t \(2 rows\)/);
    cluster.shell('columns', 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL);');
    await expectCode(
      cluster.join('columns'),
      'STORE_CONTENT',
      /its columns are \(id INTEGER, a TEXT\), not \(id INTEGER, a TEXT, n INT\)/,
    );
    expect(cluster.shell('columns', `SELECT name FROM sqlite_schema`), 'nothing was changed').toBe('t');
    await cluster.member('a').store.close();
    const other = sqlite({ file: cluster.directory.file('a') });
    await expectCode(
      other.install(installOptions(cluster, 'z'), newClock()),
      'STORE_CONTENT',
      /another replica: replica a, not z/,
    );
    await expectCode(
      other.install(
        installOptions(cluster, 'a', {
          identity: { cluster: 'other', replica: 'a', generation: 'g2', schemaVersion: 1 },
        }),
        newClock(),
      ),
      'STORE_CONTENT',
      /cluster test, not other; generation g1, not g2/,
    );
    await other.close();
  });

  it('refuses a file that is no database, a missing directory and :memory:', async () => {
    expect(() => sqlite({ file: ':memory:' })).toThrow(AntiphonError);
    await expectCode(sqlite({ file: '/proc/nowhere/x.db' }).inspect(), 'BAD_OPTION');
    cluster = new Cluster();
    execFileSync('sh', [
      '-c',
      `echo 'this is not a database, it is a text file that is long enough' > ${cluster.directory.file('text')}`,
    ]);
    await expectCode(
      sqlite({ file: cluster.directory.file('text') }).inspect(),
      'STORE_FAILED',
      /not a SQLite database/,
    );
  });
});

describe('a replica that refuses writes', () => {
  it('refuses every writer with a message that names the primary, and still applies', async () => {
    cluster = new Cluster({ writes: 'refuse' });
    await cluster.first(
      'first',
      `${T} CREATE TABLE other (id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE);
      INSERT INTO t VALUES (1, 'x', 1);`,
    );
    await cluster.join('b');
    await cluster.synchronize();
    for (const sql of [
      `INSERT INTO t VALUES (2, 'y', 2)`,
      `INSERT OR IGNORE INTO t VALUES (2, 'y', 2)`,
      `INSERT OR REPLACE INTO t VALUES (1, 'y', 2)`,
      `UPDATE OR IGNORE t SET n = 5`,
      'DELETE FROM t',
    ]) {
      expect(() => cluster.shell('b', sql)).toThrow(/this database is a replica; write to the primary first/);
    }
    expect(await cluster.write('b', 'DELETE FROM t')).toMatchObject({
      type: 'rejected',
      error: { code: 'NOT_WRITABLE', message: expect.stringContaining('primary first') },
    });
    await cluster.write(
      'first',
      `UPDATE t SET n = 2`,
      `INSERT INTO t VALUES (5, 'z', 1)`,
      `INSERT INTO other VALUES (1, 5)`,
    );
    await cluster.write('first', `DELETE FROM t WHERE id = 5`);
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT * FROM t; SELECT count(*) FROM other')).toBe('1|x|2\n0');
    // Switching at a later install, both ways.
    await cluster.member('b').store.close();
    await cluster.join('b', { writes: 'capture' });
    expect(await cluster.write('b', `UPDATE t SET n = 3`)).toMatchObject({
      type: 'committed',
      id: { origin: 'b', counter: 1 },
    });
    await cluster.member('b').store.close();
    await cluster.join('b', { writes: 'refuse' });
    expect(() => cluster.shell('b', 'DELETE FROM t')).toThrow(/replica/);
  });

  it('I6: with `durable` every commit waits for the disk, until an install takes it back', async () => {
    cluster = new Cluster();
    const store = await cluster.first('first', T, { durable: true });
    const waiting = async (): Promise<unknown> => {
      const [outcome] = await store.write([
        { run: (tx) => tx.get<{ synchronous: number }>('SELECT synchronous FROM pragma_synchronous') },
      ]);
      return outcome?.type === 'committed' ? outcome.value : outcome;
    };
    expect(await waiting()).toEqual({ synchronous: 2 });
    await store.install(installOptions(cluster, 'first'), newClock());
    expect(await waiting()).toEqual({ synchronous: 1 });
    await store.install(installOptions(cluster, 'first', { durable: true }), newClock());
    expect(await waiting()).toEqual({ synchronous: 2 });
  });

  it.each(['capture', 'library', 'refuse'] as const)(
    'with writes %s, nothing that it leaves in the file needs a newer SQLite than 3.31',
    async (writes) => {
      cluster = new Cluster({ versions: true, writes });
      await cluster.first(
        'first',
        `CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE NOT NULL DEFAULT 'x', b);
         CREATE UNIQUE INDEX part ON t (b) WHERE b > 1;
         CREATE TABLE w (k TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID;
         CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET b = 2 WHERE id = NEW.id; END;`,
        { writes },
      );
      const created = cluster.shell('first', `SELECT sql FROM sqlite_schema WHERE sql GLOB '*_antiphon*'`);
      expect(created).toMatch(/_antiphon_state/);
      expect(created).toMatch(/CREATE TRIGGER/);
      // https://www.sqlite.org/changes.html: STRICT 3.37, RETURNING 3.35, iif 3.32, unixepoch 3.38,
      // 'subsec' 3.42, …
      expect(created).not.toMatch(
        /\b(STRICT|RETURNING|GENERATED|MATERIALIZED|NULLS (FIRST|LAST)|DISTINCT FROM)\b/i,
      );
      expect(created).not.toMatch(
        /\b(iif|if|unixepoch|octet_length|timediff|string_agg|concat|format|sign)\s*\(/i,
      );
      expect(created).not.toMatch(/->|'subsec|UPDATE \S+ SET [^;(]* FROM /i);
    },
  );

  it('I1: brings a file of the build before to the format of now, and takes nothing for uncaptured', async () => {
    cluster = await pairOf(
      `${T} CREATE TRIGGER upper AFTER INSERT ON t WHEN NEW.a = 'raise' BEGIN UPDATE t SET a = 'raised' WHERE id = NEW.id; END;`,
    );
    await cluster.write('a', `INSERT INTO t VALUES (1, 'raise', 1)`);
    await cluster.synchronize();
    await cluster.member('b').store.close();
    cluster.shell(
      'b',
      `${FORMAT_3}
       INSERT INTO t VALUES (2, 'raise', 2); VACUUM;`,
    );
    const identity = { cluster: 'test', replica: 'b', generation: 'g1', schemaVersion: 1 };
    const store = sqlite({ file: cluster.directory.file('b') });
    expect(await store.inspect()).toMatchObject({ identity });
    const options = installOptions(cluster, 'b');
    expect(await store.install(options, newClock())).toEqual({ upgraded: { fromFormat: 3, toFormat: 4 } });
    expect(await store.install(options, newClock())).toEqual({});
    await store.close();
    await cluster.join('b', { createTables: false });
    expect(cluster.member('b').store.state().vector).toMatchObject({ a: 1 });
    await cluster.write('a', `INSERT INTO t VALUES (3, 'raise', 3)`);
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    expect(cluster.shell('b', 'SELECT group_concat(a) FROM t; SELECT format FROM _antiphon_state')).toBe(
      'raised,raised,raised\n4',
    );
  });

  it('I3: accuses only the table that went uncaptured, in a file of the build before after VACUUM', async () => {
    cluster = await pairOf(
      `CREATE TABLE p (id INTEGER PRIMARY KEY, x); CREATE TABLE q (id INTEGER PRIMARY KEY, x);`,
    );
    await cluster.member('b').store.close();
    cluster.shell(
      'b',
      `${FORMAT_3} UPDATE _antiphon_mark SET schema_version = (SELECT schema_version FROM pragma_schema_version);
       ${cluster.shell('b', `SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'q'`)}
       CREATE TABLE other (x); CREATE INDEX other_x ON other (x); VACUUM;`,
    );
    for (let start = 0; start < 2; start++) {
      const store = await cluster.join('b', { createTables: false });
      await expectCode(store.check(), 'SCHEMA_DRIFT', /\(table q: [^;]*\)/);
      await store.close();
    }
  });

  it('refuses a file of a build that is newer', async () => {
    cluster = await pairOf();
    await cluster.member('b').store.close();
    cluster.shell('b', 'UPDATE _antiphon_state SET format = 5');
    await expectCode(cluster.join('b'), 'STORE_CONTENT', /Upgrade this replica/);
  });

  it('refuses a file of a build that is too old to be brought up to date, and says the way round', async () => {
    cluster = await pairOf();
    await cluster.member('b').store.close();
    cluster.shell('b', 'UPDATE _antiphon_state SET format = 2');
    const refused = /format 2, .*older.*from format 3.*in between.*empty file/;
    await expectCode(cluster.join('b'), 'STORE_CONTENT', refused);
  });
});
