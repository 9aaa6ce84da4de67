import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  AntiphonError,
  type ApplyStep,
  type ClusterSchema,
  decodeBatches,
  HybridClock,
  type SealedTransaction,
  type Store,
  systemClock,
  type TransactionId,
} from '@antiphon/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pacing } from '../test/pair.js';
import { sqlite, type SqliteTransaction } from './index.js';

let dir: string;
let store: Store<SqliteTransaction>;
let outside: DatabaseSync;

beforeEach(() => {
  isAhead = false;
  dir = mkdtempSync(join(tmpdir(), 'antiphon-rewind-'));
});

afterEach(async () => {
  outside.close();
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

const file = (): string => join(dir, 'a.db');

/** A primary whose rows are all published. */
async function primary(ddl: string): Promise<void> {
  outside = new DatabaseSync(file());
  outside.exec(`PRAGMA foreign_keys = ON; ${ddl}`);
  store = sqlite({ file: file() });
  const { tables, ddl: all } = await store.inspect();
  schema = { version: 1, tables: tables.map((table) => table.schema), ddl: all };
  await install();
  store.markPublished(store.state().lastCounter);
}

let schema: ClusterSchema;

async function install(): Promise<void> {
  await store.install(
    {
      identity: { cluster: 'c', replica: 'a', generation: 'g', schemaVersion: 1 },
      schema,
      ...{ writes: 'refuse', asPrimary: 'capture', primary: 'a', rowVersions: false, durable: false },
      createTables: false,
      sealExistingRows: true,
    },
    new HybridClock(systemClock(), { nowMs: timeNow }),
  );
}

/** A clock that is too far ahead gives no times. */
let isAhead = false;

function timeNow(): number {
  if (isAhead) throw new AntiphonError('CLOCK_SKEW', 'The clock is ahead. Set it right.');
  return Date.now();
}

async function write(...statements: readonly string[]): Promise<TransactionId | undefined> {
  const run = (tx: SqliteTransaction): void => {
    for (const sql of statements) tx.run(sql);
  };
  const [outcome] = await store.write([{ run }]);
  if (outcome?.type !== 'committed') throw new Error('not committed', { cause: outcome });
  return outcome.id;
}

function content(): Readonly<Record<string, readonly string[]>> {
  const names = outside
    .prepare(
      `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_antiphon_*' AND name <> 'sqlite_sequence'`,
    )
    .all() as { name: string }[];
  return Object.fromEntries(
    names.map(({ name }) => {
      const columns = outside.prepare(`SELECT name FROM pragma_table_xinfo(?)`).all(name) as {
        name: string;
      }[];
      const shown = columns
        .map((column) => `quote("${column.name}") || hex(CAST("${column.name}" AS BLOB))`)
        .join(` || ',' || `);
      const rows = outside.prepare(`SELECT ${shown} AS row FROM "${name}"`).all() as { row: string }[];
      return [name, rows.map(({ row }) => row).sort()];
    }),
  );
}

/** What these statements did is undone, and written again when the replica is elected. */
async function undoesAndRepeats(tail: () => Promise<unknown>): Promise<void> {
  const before = content();
  await tail();
  await store.seal();
  const after = content();
  expect(after).not.toEqual(before);
  const { lastCounter } = store.state();
  expect(await store.rewind({ reason: 'pending', spent: 0 })).toMatchObject({ suspicious: [] });
  expect(content()).toEqual(before);
  expect(outside.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
  expect(outside.prepare('PRAGMA foreign_key_check').all()).toEqual([]);
  await elect(lastCounter);
  expect(content()).toEqual(after);
  expect(store.state()).toMatchObject({ rescued: 0 });
}

/** What somebody writes without the triggers, who puts them back afterwards. */
function unseen(table: string, statements: string): void {
  const triggers = outside
    .prepare(`SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? ORDER BY rowid`)
    .all(table) as { name: string; sql: string }[];
  const run = (sql: readonly string[]): void => outside.exec(sql.join(';'));
  run(triggers.map(({ name }) => `DROP TRIGGER ${name}`));
  run([statements]);
  run(triggers.map(({ sql }) => `${sql}`));
}

/** With what the log has: all that is sealed. */
async function recapture(table: string): Promise<void> {
  const { vector, lastCounter, position } = store.state();
  const reference = await store.recapturing!.open();
  await reference.install(
    {
      identity: { cluster: 'c', replica: '_reference', generation: 'g', schemaVersion: 1 },
      schema,
      ...{ writes: 'refuse', rowVersions: false, durable: false },
      createTables: true,
      sealExistingRows: false,
    },
    new HybridClock(systemClock()),
  );
  const messages = await store.sealed({ counter: 0, part: 0 }, 1e9);
  const steps = messages.flatMap(({ data }) =>
    decodeBatches(data).map((batch) => ({ type: 'transactions', batch, skip: 0, seq: 1 }) as ApplyStep),
  );
  const { refused } = await reference.apply({ steps, position, ...pacing });
  expect(refused).toBeUndefined();
  const options = { dryRun: false, deleteRows: true, vector, lastCounter };
  await store.recapturing!.compare(table, options).finally(() => store.recapturing!.end());
}

async function elect(after: number): Promise<void> {
  const { position, epochs } = store.state();
  const seq = position.seq + 1;
  const record = { epoch: epochs.length, primary: 'a', instance: 'mine', after } as const;
  const { refused } = await store.apply({
    steps: [
      {
        type: 'epoch',
        record: { ...record, by: 'a', why: 'forced', atMs: 1, leaves: [] },
        seq,
        elected: true,
      },
    ],
    position: { generation: 'g', seq },
    ...pacing,
  });
  expect(refused).toBeUndefined();
}

describe('I3, I10: a rewind undoes, to the byte,', () => {
  it('what foreign-key actions did', async () => {
    await primary(`
      CREATE TABLE p (id INTEGER PRIMARY KEY, name TEXT);
      CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, note);
      CREATE TABLE s (id INTEGER PRIMARY KEY, c REFERENCES c ON DELETE SET NULL);
      INSERT INTO p VALUES (1, 'one'), (2, 'two'), (3, 'three');
      INSERT INTO c VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, x'00ff'), (4, 3, NULL);
      INSERT INTO s VALUES (1, 1), (2, 3), (3, 4)`);
    await undoesAndRepeats(async () => {
      await write('DELETE FROM p WHERE id = 1', 'UPDATE p SET id = 20 WHERE id = 2');
      await write(`INSERT OR REPLACE INTO p VALUES (3, 'replaced')`);
      await write(`INSERT INTO p VALUES (1, 'again')`, `INSERT INTO c VALUES (1, 1, 'again')`);
    });
  });

  it('rows that REPLACE and upserts wrote over', async () => {
    await primary(`
      CREATE TABLE plain (id INTEGER PRIMARY KEY, v);
      CREATE TABLE uniq (k TEXT PRIMARY KEY, u UNIQUE, v) WITHOUT ROWID;
      INSERT INTO plain VALUES (1, 'one'), (2, 2), (3, 3.0);
      INSERT INTO uniq VALUES ('a', 1, 'A'), ('b', 2, 'B'), ('c', 3, 'C')`);
    await undoesAndRepeats(async () => {
      await write(`INSERT OR REPLACE INTO plain VALUES (1, 'other'), (7, 'new'), (1, 'third')`);
      await write(`INSERT INTO plain VALUES (2, 0) ON CONFLICT (id) DO UPDATE SET v = 'upserted'`);
      await write('UPDATE OR REPLACE plain SET id = 3 WHERE id = 2');
      await write(
        `INSERT INTO uniq VALUES ('n', 9, 'new')`,
        `REPLACE INTO uniq VALUES ('a', 2, 'takes b'), ('m', 9, '')`,
      );
      outside.exec(
        `PRAGMA recursive_triggers = ON; REPLACE INTO uniq VALUES ('c', 1, 'all'), ('a', 3, 'of it')`,
      );
    });
  });

  it('what came and went, in one transaction or in several', async () => {
    await primary(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE, r REFERENCES t ON DELETE CASCADE);
      INSERT INTO t VALUES (1, 'x', NULL)`);
    await undoesAndRepeats(async () => {
      await write('INSERT INTO t VALUES (5, 5, 1)', 'DELETE FROM t WHERE id = 5');
      await write('INSERT INTO t VALUES (6, 6, 1)', 'INSERT OR REPLACE INTO t VALUES (7, 6, NULL)');
      await write('INSERT INTO t VALUES (8, 8, 7)');
      await write('DELETE FROM t WHERE id = 7');
      await write(`UPDATE t SET u = 'y'`);
    });
  });

  it('keys that compare equal and are not, of several columns, and generated ones', async () => {
    await primary(`
      CREATE TABLE nocase (k TEXT COLLATE NOCASE, n INT, v, g AS (k || n) STORED, PRIMARY KEY (k, n DESC)) WITHOUT ROWID;
      CREATE TABLE anykey (k PRIMARY KEY NOT NULL, v);
      CREATE UNIQUE INDEX partial ON anykey (v) WHERE v > 0;
      INSERT INTO nocase (k, n, v) VALUES ('Ab', 1, 1), ('ab', 2, 2), ('c', 1, NULL);
      INSERT INTO anykey VALUES (1, 1), ('1', 2), (x'31', 3), (2.5, -1)`);
    await undoesAndRepeats(async () => {
      await write(`UPDATE nocase SET k = upper(k)`, `UPDATE nocase SET k = 'AB', n = 3 WHERE n = 2`);
      await write(`INSERT OR REPLACE INTO nocase (k, n, v) VALUES ('C', 1, 'c')`);
      await write(
        `UPDATE anykey SET k = 1.0 WHERE k = 1`,
        `UPDATE anykey SET v = -v`,
        `UPDATE anykey SET v = 3 WHERE k = '1'`,
      );
      await write(`DELETE FROM anykey WHERE k = x'31'`, `INSERT INTO anykey VALUES (x'31', 1.5)`);
    });
  });

  it('what triggers of the users wrote elsewhere, and they do not fire again', async () => {
    await primary(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, v);
      CREATE TABLE audit (id INTEGER PRIMARY KEY, what);
      CREATE TRIGGER noted AFTER UPDATE ON t BEGIN INSERT INTO audit (what) VALUES (OLD.v || '>' || NEW.v); END;
      CREATE TRIGGER gone AFTER DELETE ON t BEGIN INSERT INTO audit (what) VALUES ('-' || OLD.v); END;
      CREATE TRIGGER come AFTER INSERT ON t BEGIN UPDATE t SET v = v || '!' WHERE id = NEW.id; END;
      INSERT INTO t VALUES (1, 'one'), (2, 'two')`);
    await undoesAndRepeats(async () => {
      await write(`UPDATE t SET v = 'x'`, 'DELETE FROM t WHERE id = 2', `INSERT INTO t VALUES (3, 'three')`);
      outside.exec(`INSERT INTO t VALUES (2, 'again'); DELETE FROM t WHERE id = 1`);
    });
  });

  it('rows that a trigger changed, or put in, before REPLACE took them', async () => {
    await primary(`
      CREATE TABLE changed (k TEXT PRIMARY KEY, v, n);
      CREATE TRIGGER first BEFORE INSERT ON changed BEGIN UPDATE changed SET v = 'seen' WHERE k = NEW.k; END;
      CREATE TABLE doubled (k REAL PRIMARY KEY, u UNIQUE) WITHOUT ROWID;
      CREATE TRIGGER twice BEFORE INSERT ON doubled BEGIN INSERT OR IGNORE INTO doubled VALUES (2.0, NEW.u); END;
      INSERT INTO changed VALUES ('a', 1, 1), ('b', 2, 2);
      INSERT OR IGNORE INTO doubled VALUES (3.0, 7)`);
    await undoesAndRepeats(async () => {
      await write(`INSERT OR REPLACE INTO changed VALUES ('c', 3, 3), ('a', 4, 4)`);
      await write('REPLACE INTO doubled VALUES (0.5, 0), (0.0, 5)', 'REPLACE INTO doubled VALUES (1.5, 7)');
    });
  });

  it('a row whose key REPLACE gives by its default', async () => {
    await primary(`
      CREATE TABLE p (k TEXT NOT NULL DEFAULT 'x' PRIMARY KEY, v);
      CREATE TABLE c (a TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'x', b INT NOT NULL ON CONFLICT REPLACE DEFAULT (1 + 1), v,
        PRIMARY KEY (a, b) ON CONFLICT REPLACE) WITHOUT ROWID;
      CREATE TABLE u (a TEXT NOT NULL DEFAULT 'x', v, n INT NOT NULL DEFAULT 1);
      CREATE UNIQUE INDEX by_a ON u (a);
      CREATE UNIQUE INDEX by_n ON u (n);
      INSERT INTO p VALUES ('x', 'old'), ('y', 'other');
      INSERT INTO c VALUES ('x', 2, 'old'), ('y', 3, 'other');
      INSERT INTO u VALUES ('x', 'old', 1), ('y', 'other', 2)`);
    await undoesAndRepeats(async () => {
      await write(
        `INSERT OR REPLACE INTO p VALUES (NULL, 'new')`,
        `INSERT INTO c VALUES (NULL, NULL, 'new')`,
      );
      outside.exec(`INSERT OR REPLACE INTO u VALUES (NULL, 'new', 9)`);
      outside.exec(
        `UPDATE OR REPLACE p SET k = NULL WHERE k = 'y'; UPDATE OR REPLACE u SET n = NULL WHERE a = 'y'`,
      );
    });
  });

  it('a row whose key REPLACE gives by a default that is written as a name', async () => {
    await primary(`
      CREATE TABLE p (k TEXT NOT NULL DEFAULT "en" PRIMARY KEY, v);
      CREATE TABLE c (a TEXT NOT NULL DEFAULT active, b TEXT NOT NULL DEFAULT ('x' -- of old
        ), active, PRIMARY KEY (a, b)) WITHOUT ROWID;
      CREATE TABLE u (a TEXT NOT NULL DEFAULT "" UNIQUE, v);
      INSERT INTO p VALUES ('en', 'old'), ('y', 'other');
      INSERT INTO c VALUES ('active', 'x', 'old'), ('y', 'x', 'other');
      INSERT INTO u VALUES ('', 'old'), ('y', 'other')`);
    await undoesAndRepeats(async () => {
      await write(
        `INSERT OR REPLACE INTO p VALUES (NULL, 'new')`,
        `INSERT OR REPLACE INTO c VALUES (NULL, NULL, 'new'), ('z', NULL, 'more')`,
      );
      outside.exec(`INSERT OR REPLACE INTO u VALUES (NULL, 'new'); INSERT INTO u VALUES ('z', 'more')`);
    });
  });

  it('a row that foreign-key actions change under its new key', async () => {
    await primary(`
      CREATE TABLE t (k REAL PRIMARY KEY, u, r REFERENCES t ON DELETE SET NULL ON UPDATE SET NULL) WITHOUT ROWID;
      CREATE UNIQUE INDEX both ON t (u, r);
      INSERT INTO t VALUES (0.0, 'a', 0.0), (0.5, 'b', 0.5)`);
    await undoesAndRepeats(() => write('UPDATE t SET k = 0.1 WHERE k = 0', 'UPDATE OR IGNORE t SET k = 0.1'));
  });

  it('a key that a trigger gives to a new row while the old one is on its way to another', async () => {
    await primary(`
      CREATE TABLE t (k PRIMARY KEY NOT NULL, v, r REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE) WITHOUT ROWID;
      CREATE TRIGGER back AFTER UPDATE ON t BEGIN INSERT OR REPLACE INTO t VALUES ('a', 'back', NEW.k); END;
      INSERT INTO t VALUES ('a', 'first', 'a')`);
    await undoesAndRepeats(() => write(`UPDATE OR REPLACE t SET v = 'moved', k = 'b' WHERE k = 'a'`));
  });

  it('text that is not UTF-8, and values of every type', async () => {
    await primary(`
      CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
      INSERT INTO t VALUES (CAST(x'fffe' AS TEXT), CAST(x'61ff' AS TEXT)), ('a' || char(0) || 'b', -0.0),
        ('big', 9223372036854775807), ('real', 1e300)`);
    await undoesAndRepeats(async () => {
      await write(`UPDATE t SET v = CAST(x'ff00ff' AS TEXT)`);
      await write(`DELETE FROM t WHERE k <> 'big'`, `INSERT INTO t VALUES (CAST(x'fe' AS TEXT), 1.0)`);
    });
    const { lastCounter } = store.state();
    store.markPublished(lastCounter);
    await write(`UPDATE t SET v = 1 WHERE k = CAST(x'fe' AS TEXT)`);
    await store.rewind({ reason: 'rescued', spent: lastCounter });
    const [kept] = await store.rescues({ afterId: 0, limit: 9, state: 'kept' });
    const [change] = await store.rescueChanges(kept?.id ?? 0, { after: 0, limit: 9 });
    expect(change).toMatchObject({ op: 'update', before: [{ tag: 'raw-text' }, 1] });
    expect(change?.here).toEqual(change?.before);
  });
});

describe('what a large transaction had changed', () => {
  it('is read on from where the last page ended, and a page from near where it begins', async () => {
    await primary('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 80)';
    await write(`${rows} INSERT INTO t SELECT i, randomblob(50000) FROM n`);
    await store.rewind({ reason: 'rescued', spent: 0 });
    const [{ id } = { id: 0 }] = await store.rescues({ afterId: 0, limit: 1 });
    const keys = async (after: number) =>
      (await store.rescueChanges(id, { after, limit: 3 })).map(({ key }) => Number(key[0]));
    expect(await keys(60)).toEqual([61, 62, 63]);
    const parts = 'SELECT count(*) AS count FROM _antiphon_rescue_data';
    expect(outside.prepare(parts).get()?.['count']).toBeGreaterThan(3);
    // Nothing before the place is looked at.
    outside.exec('DELETE FROM _antiphon_rescue_data WHERE part = 1');
    expect(await keys(63)).toEqual([64, 65, 66]);
    expect(await keys(62)).toEqual([63, 64, 65]);
    expect(await keys(78)).toEqual([79, 80]);
    expect(await keys(1)).toEqual([2, 3, 4]);
  });

  it('comes in pages of so many bytes, with one change at least', async () => {
    await primary('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10)';
    await write(`${rows} INSERT INTO t SELECT i, randomblob(1000) FROM n`);
    await store.rewind({ reason: 'rescued', spent: 0 });
    const [{ id } = { id: 0 }] = await store.rescues({ afterId: 0, limit: 1 });
    const page = async (maxBytes: number) =>
      (await store.rescueChanges(id, { after: 2, limit: 5, maxBytes })).map(({ key }) => Number(key[0]));
    expect(await page(10)).toEqual([3]);
    expect(await page(2500)).toEqual([3, 4]);
    expect(await page(100_000)).toEqual([3, 4, 5, 6, 7]);
  });

  it('lets others have their turn while it looks for a page', async () => {
    await primary('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40000)';
    await write(`${rows} INSERT INTO t SELECT i, 'a text of usual length ' || i FROM n`);
    await store.rewind({ reason: 'rescued', spent: 0 });
    const [{ id } = { id: 0 }] = await store.rescues({ afterId: 0, limit: 1 });
    let turns = 0;
    let next = setImmediate(function tick() {
      turns++;
      next = setImmediate(tick);
    });
    const page = await store.rescueChanges(id, { after: 39_990, limit: 500 });
    clearImmediate(next);
    expect(page).toHaveLength(10);
    expect(turns).toBeGreaterThan(3);
  });
});

it('sealing gives way while it decides about rows that a trigger changed once more', async () => {
  await primary(`
    CREATE TABLE t (id INTEGER PRIMARY KEY, v, at INTEGER NOT NULL DEFAULT 0);
    CREATE TRIGGER touched AFTER UPDATE OF v ON t BEGIN UPDATE t SET at = at + 1 WHERE id = NEW.id; END;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) INSERT INTO t (id, v) SELECT i, i FROM n`);
  outside.exec('UPDATE t SET v = v + 1');
  const startedMs = performance.now();
  let [turnMs, longestMs] = [startedMs, 0];
  let next = setImmediate(function tick() {
    const nowMs = performance.now();
    [turnMs, longestMs] = [nowMs, Math.max(longestMs, nowMs - turnMs)];
    next = setImmediate(tick);
  });
  await store.seal();
  clearImmediate(next);
  const tookMs = performance.now() - startedMs;
  expect(longestMs).toBeLessThan(tookMs / 2);
});

describe('a rewind', () => {
  it('I10: undoes what others wrote although the clock gives no times', async () => {
    await primary(`CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1)`);
    const before = content();
    await write('INSERT INTO t VALUES (2, 2)');
    outside.exec('INSERT INTO t VALUES (3, 3); UPDATE t SET v = 10');
    isAhead = true;
    await expect(store.seal()).rejects.toMatchObject({ code: 'CLOCK_SKEW' });
    expect(await store.rewind({ reason: 'rescued', spent: 0 })).toMatchObject({ transactions: 2 });
    expect(content()).toEqual(before);
    const [first, second] = await store.rescues({ afterId: 0, limit: 10 });
    // Not the clock's: nobody has to follow it.
    expect(second?.time).toBe((first?.time ?? 0) + 1);
    expect(store.state()).toMatchObject({ rescued: 2, writes: 'refuse' });
  });

  it('I8: remembers under which number what was pending was written again', async () => {
    await primary('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const first = await write('INSERT INTO t VALUES (1, 1)');
    await write('INSERT INTO t VALUES (2, 2)', 'DELETE FROM t WHERE id = 2');
    const last = await write('INSERT INTO t VALUES (3, 3)');
    await store.rewind({ reason: 'pending', spent: 9 });
    await elect(9);
    expect(content()['t']).toEqual(['131,131', '333,333']);
    const [of] = await store.rescues({ afterId: 0, limit: 9, counter: last?.counter ?? 0 });
    expect(of).toMatchObject({ state: 'reapplied', reappliedAs: `a:${store.state().lastCounter}` });
    const all = await store.rescues({ afterId: 0, limit: 9 });
    expect(all.map(({ counter, reappliedAs }) => [counter, reappliedAs])).toEqual([
      [first?.counter, 'a:10'],
      [(first?.counter ?? 0) + 1, undefined],
      [last?.counter, 'a:11'],
    ]);
    expect(store.state()).toMatchObject({ rescued: 0, lastCounter: 11 });
  });

  it('I3: keeps what came too late into the log, by its time where its number was given again', async () => {
    await primary('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const { counter: sent = 0 } = (await write('INSERT INTO t VALUES (1, 1)')) ?? {};
    store.markPublished(sent);
    await write('INSERT INTO t VALUES (2, 2)');
    const messages = await store.sealed({ counter: 0, part: 0 }, 1_000_000);
    const [batch] = decodeBatches(messages.at(-1)?.data ?? new Uint8Array());
    if (batch?.kind !== 'transactions') throw new Error('it is in parts');
    const [own] = batch.transactions.slice(-1);
    if (own === undefined) throw new Error('there is none');
    const fenced = async (...transactions: SealedTransaction[]): Promise<number> => {
      const { position } = store.state();
      const seq = position.seq + 1;
      const firstCounter = transactions[0]?.counter ?? 0;
      const step: ApplyStep = { type: 'fenced', batch: { ...batch, firstCounter, transactions }, seq };
      await store.apply({ steps: [step], position: { generation: 'g', seq }, ...pacing });
      return store.state().rescued;
    };
    expect(await fenced(own), 'the database has it').toBe(0);
    const late = {
      ...own,
      time: own.time - 1,
      changes: own.changes.map((one) => ({ ...one, row: [9n, 9n] })),
    };
    expect(await fenced(late)).toBe(1);
    expect(await fenced(late), 'once').toBe(1);
    expect(await fenced({ ...late, counter: sent }), 'the number is of another one, for all').toBe(1);
    const { lastCounter, publishedCounter, spentCounter } = store.state();
    expect({ lastCounter, publishedCounter, spentCounter }).toEqual({
      ...{ lastCounter: sent + 1, publishedCounter: sent, spentCounter: 0 },
    });
    // The log brings the own one, and not what it is not.
    await store.rewind({ reason: 'pending', spent: 0 });
    expect(store.state().rescued).toBe(2);
    const { position } = store.state();
    const step: ApplyStep = { type: 'transactions', batch, skip: batch.transactions.length - 1, seq: 9 };
    await store.apply({ steps: [step], position: { ...position, seq: 9 }, ...pacing });
    expect(await store.rescues({ afterId: 0, limit: 9 })).toMatchObject([{ time: late.time }]);
  });

  it('names rows that something wrote past the capture', async () => {
    await primary(`CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)`);
    await write('UPDATE t SET v = v + 10');
    outside.exec('BEGIN; UPDATE _antiphon_state SET applying = 1; UPDATE t SET v = 99 WHERE id = 1');
    outside.exec('DELETE FROM t WHERE id = 3; UPDATE _antiphon_state SET applying = 0; COMMIT');
    expect(await store.rewind({ reason: 'rescued', spent: 0 })).toMatchObject({
      suspicious: [
        { table: 't', key: [1n] },
        { table: 't', key: [3n] },
      ],
    });
    expect(content()['t']).toEqual(['131,131', '232,232', '333,333']);
  });

  it('gives back what the log has, not what was written past the capture before others captured it', async () => {
    await primary(`CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE k (id TEXT PRIMARY KEY COLLATE NOCASE, u UNIQUE);
      INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4); INSERT INTO k VALUES ('a', 'x'), ('b', 'y')`);
    const before = content();
    outside.exec('UPDATE t SET v = 40 WHERE id = 4');
    unseen(
      't',
      `INSERT INTO t VALUES (5, 5), (6, 6); UPDATE t SET v = 20 WHERE id = 2; DELETE FROM t WHERE id = 1`,
    );
    unseen('k', `UPDATE k SET u = '?' WHERE id = 'a'; UPDATE k SET id = 'B', u = 'x' WHERE id = 'b'`);
    outside.exec(`DELETE FROM t WHERE id >= 4; UPDATE t SET v = 21 WHERE id = 2; REPLACE INTO t VALUES (1, 10);
      UPDATE k SET u = 'z' WHERE id = 'b'; UPDATE k SET u = 'x' WHERE id = 'a'; DELETE FROM k WHERE id = 'b'`);
    await recapture('t');
    await recapture('k');
    const after = content();
    await store.seal();
    const { lastCounter } = store.state();
    expect(await store.rewind({ reason: 'pending', spent: 0 })).toMatchObject({ suspicious: [] });
    expect(content()).toEqual(before);
    await elect(lastCounter);
    expect(content()).toEqual(after);
  });

  it('in a file from before there were any finds a place for them', async () => {
    await primary('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    await store.close();
    for (const table of ['rescue', 'rescue_data', 'rewound']) outside.exec(`DROP TABLE _antiphon_${table}`);
    store = sqlite({ file: file() });
    await store.inspect();
    await install();
    expect(store.state()).toMatchObject({ rescued: 0, spentCounter: 0 });
    await write('INSERT INTO t VALUES (1, 1)');
    expect(await store.rewind({ reason: 'rescued', spent: 0 })).toMatchObject({ transactions: 1 });
    expect(content()['t']).toEqual([]);
  });
});
