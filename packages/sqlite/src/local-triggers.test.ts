import { triggerObstacles } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { expectCode, installOptions, newClock } from '../test/pair.js';
import { sqlite } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const FTS = `CREATE TABLE docs (id INTEGER PRIMARY KEY, body TEXT);
  CREATE VIRTUAL TABLE docs_fts USING fts5 (body, content='docs', content_rowid='id');
  CREATE TRIGGER docs_ai AFTER INSERT ON docs BEGIN INSERT INTO docs_fts(rowid, body) VALUES (new.id,
  new.body); END;
  CREATE TRIGGER docs_ad AFTER DELETE ON docs BEGIN INSERT INTO docs_fts(docs_fts, rowid,
  body) VALUES ('delete', old.id, old.body); END;
  CREATE TRIGGER docs_au AFTER UPDATE ON docs BEGIN
    INSERT INTO docs_fts(docs_fts, rowid, body) VALUES ('delete', old.id, old.body);
    INSERT INTO docs_fts(rowid, body) VALUES (new.id, new.body); END;`;
const FTS_TRIGGERS = ['docs_ai', 'docs_ad', 'docs_au'];

async function inspected(ddl: string, options: { tables?: string[]; localTriggers?: string[] } = {}) {
  cluster.shell('x', ddl);
  const store = sqlite({ file: cluster.directory.file('x') });
  try {
    return await store.inspect(options);
  } finally {
    await store.close();
  }
}

describe('what a trigger uses', () => {
  it('is found through views, other names and expressions, and named', async () => {
    cluster = new Cluster();
    const { triggers } = await inspected(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE "Audit Log" (what);
        CREATE TABLE settings (k PRIMARY KEY, v);
       CREATE TABLE secret (x); CREATE VIEW seen AS SELECT x FROM secret;
       CREATE TRIGGER writes AFTER INSERT ON t BEGIN INSERT INTO "audit log" VALUES (new.a); END;
       CREATE TRIGGER "reads; it" BEFORE UPDATE OF a ON t WHEN EXISTS (SELECT 1 FROM seen) BEGIN SELECT 1;
       END;
       CREATE TRIGGER upserts AFTER DELETE ON t BEGIN INSERT INTO settings VALUES ('n',
       1) ON CONFLICT (k) DO UPDATE SET v = v + 1; END;
       CREATE TRIGGER own AFTER INSERT ON t BEGIN UPDATE t SET a = coalesce(a, json_extract('[1]',
       '$[0]')) WHERE id = new.id; END;`,
    );
    expect(triggers?.map(({ name, uses }) => [name, uses])).toEqual([
      ['writes', ['Audit Log']],
      ['reads; it', ['secret', 'seen']],
    ]);
    const [sentence] = triggerObstacles(triggers!);
    expect(sentence).toMatch(
      /writes on t uses Audit Log; reads; it on t uses secret, seen.*localTriggers: \[writes, "reads; it"\]/,
    );
  });

  it('is no obstacle where everything is replicated, also when the tables are named', async () => {
    cluster = new Cluster();
    const ddl = `CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY);
      CREATE TABLE c (id INTEGER PRIMARY KEY);
      CREATE VIEW ab AS SELECT a.id FROM a JOIN b; CREATE VIEW abc AS SELECT * FROM ab, c;
      CREATE TRIGGER tr AFTER INSERT ON a BEGIN INSERT INTO b SELECT id + 1 FROM ab; END;`;
    const all = await inspected(ddl);
    expect(all.triggers).toEqual([]);
    expect(all.views).toEqual([{ name: 'ab' }, { name: 'abc' }]);
    cluster.shell('x', '');
    const store = sqlite({ file: cluster.directory.file('x') });
    const two = await store.inspect({ tables: ['a', 'b'] });
    expect(two.triggers).toEqual([]);
    expect(two.views).toEqual([
      { name: 'ab' },
      { name: 'abc', obstacle: 'it reads c, which is not replicated' },
    ]);
    const one = await store.inspect({ tables: ['a'] });
    expect(one.triggers?.[0]).toMatchObject({ name: 'tr', uses: ['b'] });
    await store.close();
  });

  it('names a trigger that cannot be used at all', async () => {
    cluster = new Cluster();
    const { triggers } = await inspected(
      `CREATE TABLE t (id INTEGER PRIMARY KEY);
        CREATE TRIGGER broken AFTER INSERT ON t BEGIN INSERT INTO gone VALUES (1); END;`,
    );
    expect(triggerObstacles(triggers!)).toEqual([
      'Trigger broken on t cannot be used (no such table: main.gone), so no change of t could be applied. ' +
        'Put back what it needs, drop the trigger, or leave t out of `tables`.',
    ]);
  });
});

describe('views', () => {
  it('travel with their INSTEAD OF triggers, whatever the order they were made in', async () => {
    cluster = new Cluster();
    await cluster.first(
      'a',
      `CREATE VIEW outer AS SELECT id, a FROM inner; CREATE VIEW inner AS SELECT * FROM t;
        CREATE TABLE t (id INTEGER PRIMARY KEY, a);
       CREATE TABLE nokey (a); CREATE VIEW elsewhere AS SELECT * FROM nokey;
       CREATE VIEW elsewhere_too AS SELECT * FROM elsewhere;
       CREATE TRIGGER put INSTEAD OF INSERT ON outer BEGIN INSERT INTO t VALUES (new.id, new.a); END;`,
    );
    await cluster.join('b');
    cluster.shell('b', `INSERT INTO outer VALUES (1, 'x');`);
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT * FROM outer')).toBe('1|x');
    expect(
      cluster.shell(
        'b',
        `SELECT name FROM sqlite_schema WHERE name NOT LIKE '!_antiphon%' ESCAPE '!' AND type = 'view' ORDER BY 1`,
      ),
    ).toBe('inner\nouter');
    expect(cluster.member('a').store.state().leftOut).toEqual([
      {
        type: 'table',
        name: 'nokey',
        reason: expect.stringContaining('no primary key') as string,
        unexpected: false,
        isData: true,
      },
      {
        type: 'view',
        name: 'elsewhere',
        reason: 'it reads nokey, which is not replicated',
        unexpected: false,
      },
      {
        type: 'view',
        name: 'elsewhere_too',
        reason: 'it reads nokey, which is not replicated',
        unexpected: false,
      },
    ]);
  });

  it('refuse a joiner that has another one of that name, and triggers of its own on its tables', async () => {
    cluster = new Cluster();
    const t = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a);';
    await cluster.first('a', `${t} CREATE VIEW v AS SELECT a FROM t;`);
    cluster.shell('b', `${t} CREATE VIEW v AS SELECT id FROM t;`);
    await expectCode(cluster.join('b', {}), 'STORE_CONTENT', /already has another view v/);
    cluster.shell('c', `${t} CREATE VIEW v /* same */ AS SELECT a   FROM t;`);
    await cluster.join('c');
    cluster.shell(
      'd',
      `${t} CREATE TABLE log (x); CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); END;`,
    );
    await expectCode(cluster.join('d'), 'UNSUPPORTED_TABLE', /tr on t uses log.*localTriggers: \[tr\]/);
  });
});

describe('triggers that stay where they are', () => {
  const options = { localTriggers: FTS_TRIGGERS };
  const found = (name: string, word: string): string =>
    cluster.shell(name, `SELECT rowid FROM docs_fts WHERE docs_fts MATCH '${word}'`);
  const verified = (name: string): string =>
    cluster.shell(name, `INSERT INTO docs_fts(docs_fts, rank) VALUES ('integrity-check', 1);`);

  it.each([false, true])('keep a full-text index in step wherever it is (versions: %s)', async (versions) => {
    cluster = new Cluster({ versions });
    await cluster.first('a', `${FTS} INSERT INTO docs VALUES (1, 'hello world');`, options);
    cluster.shell('b', FTS);
    await cluster.join('b', options);
    await cluster.join('c');
    await cluster.synchronize();
    cluster.shell(
      'a',
      `INSERT INTO docs VALUES (2, 'second'); UPDATE docs SET body = 'changed' WHERE id = 1;`,
    );
    await cluster.synchronize();
    expect([found('b', 'hello'), found('b', 'changed'), found('b', 'second')]).toEqual(['', '1', '2']);
    cluster.shell('c', `INSERT OR REPLACE INTO docs VALUES (2, 'third'); DELETE FROM docs WHERE id = 1;`);
    await cluster.synchronize();
    for (const name of ['a', 'b']) {
      expect([found(name, 'changed'), found(name, 'second'), found(name, 'third')]).toEqual(['', '', '2']);
      verified(name);
    }
    expect(cluster.shell('c', `SELECT count(*) FROM sqlite_schema WHERE name LIKE 'docs%'`)).toBe('1');
  });

  it('are as their authors wrote them again when the choice is made later, and rest when it is taken back', async () => {
    cluster = new Cluster();
    const audit = `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE log (x);
      CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END;`;
    await cluster.first('a', audit, { localTriggers: ['tr'] });
    await cluster.join('b');
    cluster.shell('b', `INSERT INTO t VALUES (1, 'from b');`);
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT * FROM log')).toBe('from b');
    await cluster.member('a').store.close();
    const again = sqlite({ file: cluster.directory.file('a') });
    await again.inspect();
    await again.install(installOptions(cluster, 'a', { primary: 'first' }), newClock());
    expect(again.state().leftOut?.filter(({ type }) => type === 'trigger')).toMatchObject([
      { name: 'tr', unexpected: true },
    ]);
    expect(cluster.shell('a', `SELECT sql FROM sqlite_schema WHERE name = 'tr'`)).toContain(
      '_antiphon_guard',
    );
    await again.install(
      installOptions(cluster, 'a', { primary: 'first', localTriggers: ['tr'] }),
      newClock(),
    );
    expect(cluster.shell('a', `SELECT sql FROM sqlite_schema WHERE name = 'tr'`)).not.toContain(
      '_antiphon_guard',
    );
    await again.close();
  });

  it('rest where they could change what is replicated, refuse a row, or fire for an insert that becomes an update', async () => {
    cluster = new Cluster();
    const { triggers } = await inspected(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE log (x); CREATE TABLE deep (x);
       CREATE TRIGGER a1 AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); END;
       CREATE TRIGGER a2 BEFORE INSERT ON t BEGIN INSERT INTO deep VALUES (1); END;
       CREATE TRIGGER a3 AFTER INSERT ON t BEGIN INSERT INTO deep SELECT RAISE (ABORT, 'no') WHERE 0; END;
       CREATE TRIGGER a4 AFTER INSERT ON t BEGIN INSERT INTO deep VALUES (1); END;
       CREATE TRIGGER a5 AFTER INSERT ON t BEGIN UPDATE t SET a = (SELECT max(x) FROM log) WHERE id = new.id;
       END;
       CREATE TRIGGER nested AFTER INSERT ON log BEGIN UPDATE t SET a = 1; END;`,
      { localTriggers: ['a1', 'a2', 'a3', 'a4', 'a5'] },
    );
    expect(triggers?.filter(({ repeats }) => repeats).map(({ name }) => name)).toEqual(['a4']);
    expect(triggerObstacles(triggers!)).toEqual([]);
  });

  it('do not make a synchronous write a mixed one, since they fire again where it is applied', async () => {
    cluster = new Cluster();
    const audit = `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE log (x);
      CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END;`;
    const a = await cluster.first('a', audit, { localTriggers: ['tr'] });
    const prepared = async (...statements: string[]) => {
      const request = {
        run: (tx: { run(sql: string): unknown }) => statements.forEach((sql) => tx.run(sql)),
      };
      const group = await a.prepare([request], { token: 'x', maxBytes: 100_000, certified: false });
      await group?.rollback();
      return group?.writes[0]?.type;
    };
    expect(await prepared(`INSERT INTO t VALUES (1, 'x')`)).toBe('ran');
    expect(await prepared(`INSERT INTO t VALUES (1, 'x')`, `INSERT INTO log VALUES (2)`)).toBe('rejected');
  });
});

describe('a trigger that comes later', () => {
  it('is told, and stops nothing while it works', async () => {
    cluster = new Cluster();
    await cluster.first('a', `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE log (x, CHECK (x));`);
    await cluster.join('b');
    cluster.shell(
      'a',
      `CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id); END;
        CREATE TABLE later (id INTEGER PRIMARY KEY);`,
    );
    const { store } = cluster.member('a');
    await store.check();
    expect(
      store
        .state()
        .leftOut?.filter(({ unexpected }) => unexpected)
        .map(({ name }) => name),
    ).toEqual(['later', 'tr']);
    cluster.shell('b', `INSERT INTO t VALUES (1, 2);`);
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT count(*) FROM log')).toBe('0');

    cluster.shell('a', 'DROP TABLE log;');
    await expectCode(
      store.check(),
      'SCHEMA_DRIFT',
      /Trigger tr on t no longer works \(no such table: main\.log\)/,
    );
    cluster.shell('a', 'DROP TRIGGER tr;');
    await store.check();
    cluster.shell('b', `INSERT INTO t VALUES (2, 2);`);
    await cluster.synchronize();
    expect(cluster.rows('a', 't')).toHaveLength(2);
  });
});
