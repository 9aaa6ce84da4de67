import { copyFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { verifyCluster, type VerifyResult } from '../service/verify.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const SCHEMA = `CREATE TABLE t (id TEXT PRIMARY KEY, n INT); CREATE TABLE o (id INTEGER PRIMARY KEY, v TEXT);
  INSERT INTO t VALUES ('kept', 1), ('to change', 1), ('to delete', 1);`;
const REBUILD = `CREATE TABLE u (id TEXT PRIMARY KEY, n INT); INSERT INTO u SELECT * FROM t; DROP TABLE t;
                 ALTER TABLE u RENAME TO t;
  INSERT INTO t VALUES ('unseen', 2); UPDATE t SET n = 2 WHERE id = 'to change'; DELETE FROM t WHERE id = 'to delete';`;
const ONE_EACH = { changed: { count: 1 }, onlyHere: { count: 1 }, missingHere: { count: 1 } };

const PRIMARY = { topology: { mode: 'primary-replica', primary: 'r1' } } as const;
const SEVERAL = { topology: { mode: 'multi-primary' } } as const;
const SYNC = { update: { mode: 'sync', acks: 'all', minInSync: 1 } } as const;
const SYNC_WITH_OTHERS = { update: { ...SYNC.update, foreignWrites: 'async' } } as const;
type Options = Parameters<ClusterFixture['replica']>[1];

async function pair(options: Options): Promise<[SqliteReplica, SqliteReplica]> {
  fixture = await ClusterFixture.start();
  fixture.sql('r1', SCHEMA);
  const r1 = await fixture.replica('r1', options);
  const r2 = await fixture.replica('r2', options);
  await r2.caughtUp();
  await r1.execute([{ sql: `INSERT INTO o VALUES (1, 'x')` }, { sql: `UPDATE t SET n = n + 0` }]);
  return [r1, r2];
}

async function expectState(replica: SqliteReplica, ...states: readonly string[]): Promise<void> {
  const reached = (): boolean => states.includes(replica.status().lifecycle);
  await eventually(`${replica.id} is ${states.join(' or ')}`, reached, {
    seen: () => [replica.status().lifecycle, replica.status().stalled?.message],
  });
}

async function verified(): Promise<VerifyResult> {
  const nats = await fixture.nats();
  const { cluster } = fixture;
  return verifyCluster({ cluster, bus: nats.bus(), registry: nats.registry(cluster), clock: systemClock() });
}

async function expectEqual(...replicas: readonly SqliteReplica[]): Promise<void> {
  for (const replica of replicas) await expectState(replica, 'following', 'primary');
  let last: unknown;
  const equal = async (): Promise<boolean> => {
    try {
      const { outcome, absent } = await verified();
      last = { outcome, absent };
      return outcome === 'equal' && absent.length === 0;
    } catch (error) {
      // Those that have just gone on may not answer yet.
      last = error;
      return false;
    }
  };
  await eventually('all hold the same rows', equal, { seen: () => last });
}

describe.each([
  ['a primary', 'r1', PRIMARY],
  ['one of several writers', 'r1', SEVERAL],
  ['another of several writers', 'r2', SEVERAL],
  [
    'the primary of a synchronous cluster that takes the writes of others',
    'r1',
    { ...PRIMARY, ...SYNC_WITH_OTHERS },
  ],
  ['a synchronous writer that takes the writes of others', 'r2', { ...SEVERAL, ...SYNC_WITH_OTHERS }],
] as const)('a table that another program rebuilds on %s', (_where, id, options) => {
  it('I3: is captured again when it runs, and everybody gets what was not captured', async () => {
    const [r1, r2] = await pair(options);
    const here = id === 'r1' ? r1 : r2;
    await fixture.sqlWhenFree(id, REBUILD);
    const dry = await here.recapture('t', { dryRun: true });
    expect(dry).toMatchObject({ outcome: 'compared', way: 'capture', replicating: false, ...ONE_EACH });
    expect(dry.changed.keys).toEqual([['to change']]);
    expect(here.status().stalled).toMatchObject({ code: 'SCHEMA_DRIFT', tables: ['t'] });
    expect(here.status().stalled?.message).toMatch(/antiphon recapture t --dry-run/);
    await fixture.sqlWhenFree(id, `INSERT INTO o VALUES (2, 'waits')`);
    expect(await here.recapture('t')).toMatchObject({
      outcome: 'recaptured',
      replicating: true,
      ...ONE_EACH,
    });
    await expectEqual(r1, r2);
    await fixture.sqlWhenFree(id, `INSERT INTO t VALUES ('captured again', 3)`);
    await here.execute([{ sql: `INSERT INTO t VALUES ('by the library', 3)` }]);
    await eventually(
      'both have the same rows',
      async () => (await rowsOf(r1, 't')) === (await rowsOf(r2, 't')),
    );
    expect(await r2.query('SELECT id FROM t ORDER BY id')).toEqual(
      ['by the library', 'captured again', 'kept', 'to change', 'unseen'].map((each) => ({ id: each })),
    );
    expect(await r2.query('SELECT v FROM o')).toHaveLength(2);
    expect(await here.recapture('t')).toMatchObject({ outcome: 'nothing', dryRun: false });
    expect(await here.recapture('t', { dryRun: true })).toMatchObject({ outcome: 'nothing', dryRun: true });
    await expectEqual(r1, r2);
  });
});

it.each([
  ['', PRIMARY],
  [', where primaries claim epochs', { ...PRIMARY, failover: { mode: 'manual' } }],
] as const)(
  'I3: a table rebuilt where nobody may write gets what replication knows%s',
  async (_where, options) => {
    const [r1, r2] = await pair(options);
    await fixture.sqlWhenFree('r2', REBUILD);
    expect(await r2.recapture('t', { dryRun: true })).toMatchObject({ way: 'set-back', ...ONE_EACH });
    expect(await r2.recapture('t')).toMatchObject({
      ...{
        outcome: 'recaptured',
        way: 'set-back',
        replicating: true,
        keptIn: '_antiphon_kept2',
        writtenAgain: 0,
      },
      ...ONE_EACH,
    });
    await expectEqual(r1, r2);
    await r1.execute([{ sql: `INSERT INTO t VALUES ('by the library', 3)` }]);
    await expectEqual(r1, r2);
    expect(await rowsOf(r2, 't')).toMatch(/to delete/);
    expect(() => fixture.sql('r2', `INSERT INTO t VALUES ('refused', 3)`)).toThrow(/antiphon/);
  },
);

describe.each([
  ['primary', 'r1', { ...PRIMARY, ...SYNC }],
  ['writer', 'r2', { ...SEVERAL, ...SYNC }],
] as const)(
  'a table that is rebuilt on a synchronous %s that refuses the writes of others',
  (_what, id, options) => {
    it('I3: is set back, and what was different is written again as writes that the log decides', async () => {
      const [r1, r2] = await pair(options);
      const here = id === 'r1' ? r1 : r2;
      await fixture.sqlWhenFree(id, REBUILD);
      expect(await here.recapture('t', { dryRun: true })).toMatchObject({ way: 'write-again', ...ONE_EACH });
      // Until then, whatever needs replication says at once what the matter is.
      const drift = {
        code: 'SCHEMA_DRIFT',
        message: expect.stringMatching(/antiphon recapture t/) as string,
      };
      await expect(here.execute([{ sql: `INSERT INTO t VALUES ('too early', 1)` }])).rejects.toMatchObject(
        drift,
      );
      await expect(here.query('SELECT 1', [], { consistency: 'strong' })).rejects.toMatchObject(drift);
      await expect(here.caughtUp()).rejects.toMatchObject(drift);
      const result = await here.recapture('t');
      expect(result).toMatchObject({
        outcome: 'recaptured',
        replicating: true,
        writtenAgain: 3,
        ...ONE_EACH,
      });
      expect(result.keptIn).toBeUndefined();
      await expectEqual(r1, r2);
      expect(await r2.query('SELECT id, n FROM t ORDER BY id')).toEqual([
        { id: 'kept', n: 1n },
        { id: 'to change', n: 2n },
        { id: 'unseen', n: 2n },
      ]);
      expect(() => fixture.sql(id, `INSERT INTO t VALUES ('refused', 3)`)).toThrow(/antiphon/);
      await here.execute([{ sql: `INSERT INTO t VALUES ('by the library', 3)` }]);
      await expectEqual(r1, r2);
    });

    it('I10: is written again in as many writes as it takes, whichever way its rows refer to each other', async () => {
      fixture = await ClusterFixture.start();
      fixture.sql(
        'r1',
        `CREATE TABLE p (id INTEGER PRIMARY KEY, v); CREATE TABLE c (id INTEGER PRIMARY KEY, p INT REFERENCES p(id));
         CREATE TABLE up (id INTEGER PRIMARY KEY, next INT REFERENCES up(id));
         CREATE TABLE down (id INTEGER PRIMARY KEY, next INT REFERENCES down(id));
         CREATE TABLE wild (id INTEGER PRIMARY KEY, next INT REFERENCES wild(id));
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 700) INSERT INTO p SELECT x, x FROM i;
         INSERT INTO c SELECT id, id FROM p; INSERT INTO up SELECT id, nullif(id + 1, 701) FROM p; INSERT INTO down SELECT id, nullif(id - 1, 0) FROM p;`,
      );
      const r1 = await fixture.replica('r1', options);
      const r2 = await fixture.replica('r2', options);
      await r2.caughtUp();
      const here = id === 'r1' ? r1 : r2;
      const tables = ['p', 'c', 'up', 'down', 'wild'];
      const triggers = await here.query(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN ('p', 'c', 'up', 'down', 'wild')",
      );
      const drops = triggers.map(({ name }) => `DROP TRIGGER ${String(name)}`).join('; ');
      await fixture.sqlWhenFree(
        id,
        `${drops}; DELETE FROM c; DELETE FROM p WHERE id <> 1; DELETE FROM up; DELETE FROM down WHERE id > 10;
         INSERT INTO down SELECT id + 1000, nullif(id + 999, 1000) FROM (SELECT x AS id FROM (WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 700) SELECT x FROM i));
         INSERT INTO wild WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 700) SELECT x, 1 + (x * 13) % 700 FROM i`,
        { foreignKeys: false },
      );
      let written = 0;
      for (const table of tables) written += (await here.recapture(table, { deleteRows: true })).writtenAgain;
      expect(here.status()).toMatchObject({ alarms: [] });
      expect(written).toBe(699 + 700 + 700 + 690 + 700 + 700);
      await expectEqual(r1, r2);
      expect(await r2.query('SELECT count(*) AS n FROM wild')).toEqual([{ n: 700n }]);
    });

    it("I10: is written again also where rows of two tables need each other, or want each other's values", async () => {
      fixture = await ClusterFixture.start();
      fixture.sql(
        'r1',
        `CREATE TABLE p (id INTEGER PRIMARY KEY, place INT UNIQUE);
         CREATE TABLE c (id INTEGER PRIMARY KEY, p INT REFERENCES p(id));
          CREATE TABLE a (id INTEGER PRIMARY KEY, place INT UNIQUE);
         CREATE TABLE b (id INTEGER PRIMARY KEY, a INT REFERENCES a(id) ON DELETE CASCADE);
         INSERT INTO p VALUES (1, 1), (2, 2), (3, 3); INSERT INTO c VALUES (10, 1), (13, 3);
         INSERT INTO a VALUES (1, 1), (2, 2); INSERT INTO b VALUES (1, 1), (2, 2);`,
      );
      const r1 = await fixture.replica('r1', options);
      const r2 = await fixture.replica('r2', options);
      await r2.caughtUp();
      const here = id === 'r1' ? r1 : r2;
      const rebuilt = (table: string, columns: string): string =>
        `CREATE TABLE x (${columns}); INSERT INTO x SELECT * FROM ${table}; DROP TABLE ${table};
         ALTER TABLE x RENAME TO ${table};`;
      await fixture.sqlWhenFree(
        id,
        `${rebuilt('p', 'id INTEGER PRIMARY KEY, place INT UNIQUE')}
         ${rebuilt('c', 'id INTEGER PRIMARY KEY, p INT REFERENCES p(id)')}
         ${rebuilt('a', 'id INTEGER PRIMARY KEY, place INT UNIQUE')}
         ${rebuilt('b', 'id INTEGER PRIMARY KEY, a INT REFERENCES a(id) ON DELETE CASCADE')}
         INSERT INTO p VALUES (77, 77); INSERT INTO c VALUES (78, 77);
         UPDATE p SET place = -place; UPDATE p SET place = 3 + place WHERE id IN (1, 2);
          UPDATE p SET place = -place WHERE place < 0;
         DELETE FROM c WHERE id = 13; DELETE FROM p WHERE id = 3;
         DELETE FROM b WHERE a = 2; DELETE FROM a WHERE id = 2;`,
        { foreignKeys: false },
      );
      for (const table of ['a', 'b', 'c', 'p']) await here.recapture(table);
      expect(here.status()).toMatchObject({ alarms: [] });
      expect(here.status().stalled).toBeUndefined();
      await expectEqual(r1, r2);
      expect(await r2.query('SELECT id, place FROM p ORDER BY id')).toEqual([
        { id: 1n, place: 2n },
        { id: 2n, place: 1n },
        { id: 77n, place: 77n },
      ]);
      expect(await r2.query('SELECT id, p FROM c ORDER BY id')).toEqual([
        { id: 10n, p: 1n },
        { id: 78n, p: 77n },
      ]);
      expect(await r2.query('SELECT count(*) AS n FROM a')).toEqual([{ n: 1n }]);
    });

    it('I10: keeps what cannot be written again, says so, and writes it when that is possible', async () => {
      const [r1, r2] = await pair(options);
      const here = id === 'r1' ? r1 : r2;
      const rows = `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 1500)
        INSERT INTO t SELECT 'row ' || x, x FROM i;`;
      await fixture.sqlWhenFree(
        id,
        `${REBUILD} ${rows} CREATE TRIGGER refuse BEFORE INSERT ON t WHEN NEW.id = 'row 999'
         BEGIN SELECT RAISE(ABORT, 'not now'); END;`,
      );
      const result = await here.recapture('t');
      expect(result).toMatchObject({ outcome: 'recaptured', keptIn: '_antiphon_kept2', writtenAgain: 1502 });
      expect(result.notWritten).toMatchObject({
        rows: 1,
        reason: expect.stringMatching(/not now/) as string,
      });
      expect(here.status().alarms).toMatchObject([
        { name: 'kept', message: expect.stringMatching(/^1 row .* of t /) as string },
      ]);
      await here.close();
      fixture.sql(id, 'DROP TRIGGER refuse');
      const again = await fixture.replica(id, options);
      expect(again.status().alarms).toMatchObject([{ name: 'kept' }]);
      expect(await again.recapture('t')).toMatchObject({ outcome: 'nothing', writtenAgain: 1 });
      expect(again.status().alarms).toEqual([]);
      const [first, second] = id === 'r1' ? [again, r2] : [r1, again];
      await expectEqual(first, second);
      expect(await first.query('SELECT count(*) AS n FROM t')).toEqual([{ n: 1503n }]);
    });
  },
);

function hasRow(id: string, key: string): boolean {
  const db = new DatabaseSync(fixture.file(id), { readOnly: true });
  try {
    return db.prepare('SELECT 1 FROM t WHERE id = ?').get(key) !== undefined;
  } finally {
    db.close();
  }
}

describe('recapture', () => {
  it('works on a replica that stalls when it starts, and several tables, of which each waits for its own', async () => {
    const [r1, r2] = await pair(SEVERAL);
    await r1.close();
    fixture.sql('r1', `${REBUILD} DROP TABLE o; CREATE TABLE o (id INTEGER PRIMARY KEY, v TEXT);`);
    await r2.execute([
      { sql: `INSERT INTO t VALUES ('meanwhile', 4)` },
      { sql: `INSERT INTO o VALUES (9, 'meanwhile')` },
    ]);
    const again = await fixture.replica('r1', SEVERAL);
    await expectState(again, 'stalled');
    expect(again.status().stalled?.tables).toEqual(['o', 't']);
    expect(await again.recapture('t')).toMatchObject({ ...ONE_EACH, remaining: ['o'], replicating: false });
    expect(again.status().stalled).toMatchObject({ code: 'SCHEMA_DRIFT', tables: ['o'] });
    expect(await again.recapture('o', { deleteRows: true })).toMatchObject({
      missingHere: { count: 1 },
      replicating: true,
    });
    await expectEqual(again, r2);
    expect(await rowsOf(again, 'o')).toMatch(/meanwhile/);
    expect(await rowsOf(again, 't')).toMatch(/kept.*meanwhile.*to change.*unseen/);
  });

  it.each([
    ['one writer', PRIMARY],
    ['several writers', SEVERAL],
  ] as const)(
    'knows big transactions, and what the log does not have yet, %s',
    { timeout: 90_000 },
    async (_mode, options) => {
      const [r1, r2] = await pair(options);
      const many = (from: number): string =>
        `WITH RECURSIVE i(x) AS (SELECT ${from} UNION ALL SELECT x + 1 FROM i WHERE x < ${from + 19_999})
         INSERT INTO t SELECT 'a row with a long key ' || x, x FROM i`;
      await r1.execute([{ sql: many(100_000) }]);
      await r2.caughtUp();
      await fixture.server.stop();
      await r1.execute([{ sql: many(200_000) }]);
      await r1.execute([{ sql: `UPDATE t SET n = -n WHERE n % 1000 = 0` }]);
      await fixture.sqlWhenFree('r1', `UPDATE o SET v = 'captured' WHERE id = 1; ${REBUILD}`);
      await expectState(r1, 'stalled');
      await fixture.restartServer();
      expect(await r1.recapture('t')).toMatchObject({
        outcome: 'recaptured',
        ...ONE_EACH,
        replicating: true,
      });
      await expectEqual(r1, r2);
      expect(await r2.query(`SELECT count(*) AS rows, sum(n < 0) AS changed FROM t`)).toEqual([
        { rows: 40_003n, changed: 40n },
      ]);
    },
  );

  it('decides as always about rows that others change meanwhile', async () => {
    const [r1, r2] = await pair(SEVERAL);
    await fixture.sqlWhenFree('r1', REBUILD);
    let going = true;
    const writing = (async (): Promise<void> => {
      for (let n = 0; going; n++) {
        await r2.execute([
          { sql: `UPDATE t SET n = ?`, params: [100 + n] },
          { sql: `INSERT INTO t VALUES (?, 1)`, params: [`row ${n}`] },
        ]);
      }
    })();
    try {
      expect(await r1.recapture('t')).toMatchObject({
        outcome: 'recaptured',
        ...ONE_EACH,
        replicating: true,
      });
      await expectState(r1, 'following');
    } finally {
      going = false;
      await writing;
    }
    await expectEqual(r1, r2);
    expect(await rowsOf(r2, 't')).toMatch(/unseen/);
  });

  it('is told to whoever waits for replication when that stops', async () => {
    const [r1, r2] = await pair(SEVERAL);
    fixture.sql('r2', 'CREATE INDEX broken ON o (json(v)) WHERE id >= 5');
    await r1.execute([{ sql: `INSERT INTO o VALUES (5, 'no JSON')` }]);
    await expectState(r2, 'holding');
    const waiting = r2.caughtUp({ timeoutMs: 10_000 });
    waiting.catch(() => undefined);
    await fixture.sqlWhenFree('r2', REBUILD);
    await expectState(r2, 'stalled');
    await expect(waiting).rejects.toMatchObject({ code: 'SCHEMA_DRIFT' });
  });

  describe('knows what is applied of an entry of which the rest is held', () => {
    const collected = { ...SEVERAL, update: { mode: 'async', intervalMs: 300 } } as const;
    const breakRows = 'CREATE INDEX broken ON o (json(v)) WHERE id >= 5';
    const mend = 'DROP INDEX broken';

    async function writeBoth(r1: SqliteReplica): Promise<void> {
      await r1.execute([{ sql: `INSERT INTO t VALUES ('in front', 1)` }]);
      await r1.execute([{ sql: `INSERT INTO o VALUES (5, 'no JSON')` }]);
    }

    async function published(r1: SqliteReplica): Promise<void> {
      await eventually('all is published', () => r1.status().outbox.unpublished === 0);
    }

    it('of another', async () => {
      const [r1, r2] = await pair(collected);
      await published(r1);
      fixture.sql('r2', breakRows);
      await writeBoth(r1);
      await expectState(r2, 'holding');
      expect(await rowsOf(r2, 't')).toMatch(/in front/);
      await fixture.sqlWhenFree('r2', REBUILD);
      await expectState(r2, 'stalled');
      expect(await r2.recapture('t')).toMatchObject({ outcome: 'recaptured', ...ONE_EACH });
      await fixture.sqlWhenFree('r2', mend);
      await expectEqual(r1, r2);
      expect(await rowsOf(r1, 't')).toMatch(/in front.*kept.*to change.*unseen/);
    });

    it('of its own, in a file that came back older', async () => {
      const [first, r2] = await pair(collected);
      await published(first);
      await first.close();
      copyFileSync(fixture.file('r1'), fixture.file('old'));
      fixture.sql('old', breakRows);
      const second = await fixture.replica('r1', collected);
      await writeBoth(second);
      await published(second);
      await second.close();
      const starting = fixture.replica('r1', { ...collected, file: fixture.file('old') });
      await eventually('one of them is applied', () => hasRow('old', 'in front'));
      await fixture.sqlWhenFree('old', REBUILD);
      const r1 = await starting;
      await expectState(r1, 'stalled');
      expect(await r1.recapture('t')).toMatchObject({ outcome: 'recaptured', ...ONE_EACH });
      await fixture.sqlWhenFree('old', mend);
      await expectEqual(r1, r2);
      expect(await rowsOf(r2, 't')).toMatch(/in front.*kept.*to change.*unseen/);
    });
  });

  it('says what it cannot do, and what to do then', async () => {
    const [r1, r2] = await pair(SEVERAL);
    await expect(r1.recapture('nowhere')).rejects.toMatchObject({ code: 'UNKNOWN_TABLE' });
    expect(await r1.recapture('t')).toMatchObject({ outcome: 'nothing', remaining: [], replicating: true });
    await fixture.sqlWhenFree(
      'r1',
      `CREATE TABLE u (id TEXT PRIMARY KEY, n INT, more); INSERT INTO u SELECT *, 1 FROM t; DROP TABLE t;
       ALTER TABLE u RENAME TO t;`,
    );
    await expect(r1.recapture('t')).rejects.toMatchObject({
      code: 'SCHEMA_DRIFT',
      message: expect.stringMatching(/another shape.*its columns are.*Drop a new column/s) as string,
    });
    await fixture.sqlWhenFree('r1', `ALTER TABLE t DROP COLUMN more; INSERT INTO t VALUES ('unseen', 1);`);
    await fixture.server.stop();
    await expect(r1.recapture('t', { timeoutMs: 500 })).rejects.toMatchObject({
      code: expect.stringMatching(/TIMEOUT|LOG_UNAVAILABLE/) as string,
    });
    expect(r2.status().stalled).toBeUndefined();
  });
});

describe('a table that is not what it was while others write to it', () => {
  const rebuildAs = (columns: string): string =>
    `CREATE TABLE u (id TEXT PRIMARY KEY, ${columns}); INSERT INTO u SELECT * FROM t; DROP TABLE t;
     ALTER TABLE u RENAME TO t`;
  const held = async (r1: SqliteReplica, r2: SqliteReplica, schema: string): Promise<string> => {
    await fixture.sqlWhenFree('r1', schema);
    await expectState(r1, 'holding');
    const idle = r1.status().holding?.message ?? '';
    await r2.execute([{ sql: "INSERT INTO t VALUES ('of r2', 1)" }]);
    await eventually('r1 holds an entry', () => r1.status().holding?.seq !== undefined);
    const { message = '' } = r1.status().holding ?? {};
    expect(message).toMatch(/^(Entry|This database).*nor anything after it: /);
    expect(message.endsWith(idle)).toBe(true);
    return message;
  };

  it.each([
    [
      'without the column that was added',
      'ALTER TABLE t ADD COLUMN more',
      /drop a column or a unique index that was added.*resumes automatically/,
      'ALTER TABLE t DROP COLUMN more',
    ],
    [
      'under its own name',
      'ALTER TABLE t RENAME TO "it""s"; INSERT INTO "it""s" VALUES (\'renamed\', 1)',
      /t is gone.*is called it"s now.*`ALTER TABLE "it""s" RENAME TO "t"`.*resumes automatically/,
      'ALTER TABLE "it""s" RENAME TO "t"',
    ],
  ])('resumes automatically %s, and says so', async (_, schema, said, back) => {
    const [r1, r2] = await pair(SEVERAL);
    const message = await held(r1, r2, schema);
    expect(message).toMatch(said);
    expect(message).not.toMatch(/recapture/);
    await fixture.sqlWhenFree('r1', back);
    await expectState(r1, 'following');
    await expectEqual(r1, r2);
  });

  it.each([
    ['rebuilt', rebuildAs('n INT, CHECK (n < 1000)'), rebuildAs('n INT')],
    [
      'gone',
      'CREATE TABLE aside AS SELECT * FROM t; DROP TABLE t',
      'CREATE TABLE t (id TEXT PRIMARY KEY, n INT); INSERT INTO t SELECT * FROM aside; DROP TABLE aside',
    ],
  ])('is recaptured once it is back when it was %s, and says nothing else', async (_, schema, back) => {
    const [r1, r2] = await pair(SEVERAL);
    const message = await held(r1, r2, schema);
    expect(message).toMatch(/with its rows|put its rows back/);
    expect(message).toMatch(/antiphon recapture t --dry-run/);
    expect(message).not.toMatch(/resumes automatically|nothing is lost|retries/);
    await fixture.sqlWhenFree('r1', back);
    await expectState(r1, 'stalled');
    await r1.recapture('t');
    await expectState(r1, 'following');
    await expectEqual(r1, r2);
  });
});

describe('a table that was dropped', () => {
  const CREATE = 'CREATE TABLE t (id TEXT PRIMARY KEY, n INT)';
  const dropped = async (): Promise<[SqliteReplica, SqliteReplica]> => {
    const [r1, r2] = await pair(SEVERAL);
    await fixture.sqlWhenFree('r1', 'DROP TABLE t');
    await expectState(r1, 'holding');
    expect(r1.status().holding?.message).toMatch(/table t is gone.*put its rows back.*recapture t --dry-run/);
    await expect(r1.recapture('t', { dryRun: true })).rejects.toMatchObject({
      code: 'SCHEMA_DRIFT',
      message: expect.stringMatching(/t of r1.*table t is gone.*put its rows back/s) as string,
    });
    return [r1, r2];
  };

  it('and created again without its rows does not take them from the others by accident', async () => {
    const [r1, r2] = await dropped();
    await fixture.sqlWhenFree('r1', CREATE);
    await expectState(r1, 'stalled');
    expect(r1.status().stalled?.message).toMatch(/put them back first/);
    expect(await r1.recapture('t', { dryRun: true })).toMatchObject({
      ...{ knownRows: 3, missingHere: { count: 3 } },
    });
    await expect(r1.recapture('t')).rejects.toMatchObject({
      code: 'DELETES_ROWS',
      message: expect.stringMatching(/3 of its 3 rows everywhere.*ATTACH.*--delete-rows/s) as string,
    });
    expect(await r2.query('SELECT * FROM t')).toHaveLength(3);
    await fixture.sqlWhenFree('r1', `INSERT INTO t VALUES ('kept', 1), ('to change', 1)`);
    // One of three: that can be meant.
    expect(await r1.recapture('t', { dryRun: true })).toMatchObject({ missingHere: { count: 1 } });
    await fixture.sqlWhenFree('r1', 'DELETE FROM t');
    expect(await r1.recapture('t', { deleteRows: true })).toMatchObject({ missingHere: { count: 3 } });
    await expectEqual(r1, r2);
    expect(await r2.query('SELECT * FROM t')).toEqual([]);
  });

  it('is taken up again without a difference once its rows are back', async () => {
    const [r1, r2] = await dropped();
    const db = new DatabaseSync(fixture.file('r1'), { timeout: 5000 });
    db.exec(
      `ATTACH '${fixture.file('r2')}' AS other; BEGIN; ${CREATE}; INSERT INTO main.t SELECT * FROM other.t;
       COMMIT`,
    );
    db.close();
    await expectState(r1, 'stalled');
    expect(await r1.recapture('t')).toMatchObject({ outcome: 'recaptured', missingHere: { count: 0 } });
    await expectEqual(r1, r2);
    expect(await r1.query('SELECT * FROM t')).toHaveLength(3);
  });
});
