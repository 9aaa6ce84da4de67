import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { HybridClock, systemClock } from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import { antiphon, antiphonJson } from './antiphon.js';

let cwd = '';
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'antiphon-check-'));
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

const SHOP = `PRAGMA journal_mode = WAL; CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT UNIQUE);
  CREATE TABLE orders (id TEXT PRIMARY KEY, customer REFERENCES customers (id)); INSERT INTO orders VALUES ('o', NULL);
  CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app, name, applied); CREATE VIEW sold AS SELECT * FROM orders;`;
const TROUBLE = `CREATE TABLE nokey (a UNIQUE); CREATE TABLE lines (id TEXT PRIMARY KEY, n REFERENCES nokey (a), "o$" REFERENCES orders (id));
  CREATE VIRTUAL TABLE search USING fts5 (email);
  CREATE TRIGGER found AFTER INSERT ON customers BEGIN INSERT INTO search VALUES (new.email); END; INSERT INTO orders VALUES (NULL, NULL);`;

function database(name: string, sql: string): DatabaseSync {
  const db = new DatabaseSync(join(cwd, name));
  db.exec(sql);
  return db;
}

it('says what a cluster would replicate, and changes nothing', async () => {
  database('shop.db', SHOP).close();
  const before = readFileSync(join(cwd, 'shop.db'));
  const { code, stdout } = await antiphon(['check', 'shop.db'], { cwd });
  expect(code, stdout).toBe(0);
  expect(stdout).toMatch(/customers +0 +numbered by the database\n/);
  expect(stdout).toMatch(/the table django_migrations: Django notes there/);
  expect(stdout).toMatch(/`multi-primary`\)\n! The database numbers the rows of customers /);
  expect(stdout).toContain('  tables: [ customers, orders ]\n');
  expect(stdout).toMatch(/busy timeout.*`BEGIN IMMEDIATE` for transactions that read before they write/);
  expect(readdirSync(cwd)).toEqual(['shop.db']);
  expect(readFileSync(join(cwd, 'shop.db')).equals(before)).toBe(true);
});

it('names what is in the way, and the lines with which it is not', async () => {
  const open = database('trouble.db', SHOP + TROUBLE);
  // Beside a program that writes.
  open.exec('BEGIN IMMEDIATE; INSERT INTO customers VALUES (9, NULL)');
  const { code, stdout } = await antiphon(['check', 'trouble.db', '--json'], { cwd });
  open.exec('COMMIT');
  open.close();
  expect(code).toBe(1);
  const found = JSON.parse(stdout) as { obstacles: string[]; config: string[]; views: string[] };
  expect(found.obstacles).toEqual([
    expect.stringMatching(/^Table lines refers to nokey, which would be left out: it has no primary key/),
    expect.stringMatching(/found on customers uses search.*localTriggers: \[found\]/),
    expect.stringMatching(
      /^Table orders has 1 row with NULL in the primary key.*`SELECT \* FROM "orders" WHERE .*"id" IS NULL/,
    ),
  ]);
  expect(found.config).toEqual(['tables: [ customers ]', 'localTriggers: [ found ]']);
  expect(found.views).toEqual(['sold']);
  const chosen = await antiphonJson<{ obstacles: string[] }>(
    ['check', 'trouble.db', '--tables', 'customers', '--local-triggers', 'found'],
    { cwd },
  );
  expect(chosen.obstacles).toEqual([]);
});

it('offers lines that work for a schema of Django, of which not all can be replicated', async () => {
  const sql = readFileSync(new URL('../../../../test/schemas/django.sql', import.meta.url), 'utf8');
  database('django.db', sql).close();
  const refused = await antiphon(['check', 'django.db', '--json'], { cwd });
  expect(refused.code).toBe(1);
  const lines = (JSON.parse(refused.stdout) as { config: string[] }).config.join('\n');
  // Its trigger writes to a table that is left out only because of what that refers to.
  expect(lines).toMatch(/^tables: \[ .*shop_product \]\nlocalTriggers: \[ shop_product_sold \]$/);
  const { tables, localTriggers } = parse(lines) as { tables: string[]; localTriggers: string[] };
  const chosen = ['--tables', tables.join(), '--local-triggers', localTriggers.join()];
  const again = await antiphon(['check', 'django.db', ...chosen], { cwd });
  expect(again.code, again.stdout).toBe(0);
});

it('takes `auto` for tables, and a table of that name between quotes', async () => {
  database('auto.db', `${SHOP} CREATE TABLE auto (id INTEGER PRIMARY KEY);`).close();
  const names = async (tables: string): Promise<string[]> => {
    const found = await antiphonJson<{ tables: { name: string }[] }>(
      ['check', 'auto.db', '--tables', tables],
      { cwd },
    );
    return found.tables.map(({ name }) => name).sort();
  };
  expect(await names('auto')).toEqual(['auto', 'customers', 'orders']);
  expect(await names('"auto"')).toEqual(['auto']);
  const both = await antiphon(['check', 'auto.db', '--tables', 'auto', '--tables', 'orders'], { cwd });
  expect(both.code).toBe(2);
  expect(both.stderr).toMatch(/`auto` stands alone/);
});

it('says that the file of a replica is one already', async () => {
  database('replica.db', SHOP).close();
  const store = sqlite({ file: join(cwd, 'replica.db') });
  const { tables, ddl } = await store.inspect();
  const schema = { version: 1, tables: tables.map((table) => table.schema), ddl };
  const identity = { cluster: 'shop22', replica: 'eu-1', generation: 'g1', schemaVersion: 1 };
  const how = { writes: 'capture', rowVersions: false, createTables: false } as const;
  await store.install(
    { identity, schema, ...how, sealExistingRows: true, durable: false },
    new HybridClock(systemClock()),
  );
  await store.close();
  const { code, stdout } = await antiphon(['check', 'replica.db'], { cwd });
  expect(stdout).toMatch(/It is already replica eu-1 of cluster shop22\..*docs\/lost-log\.md, way 4\)\./);
  expect(stdout).not.toMatch(/can be created from it|can with|for antiphon\.yaml/);
  expect(code).toBe(1);
});

it('finds rows that cannot be replicated with SQL that runs, and offers no line that is refused', async () => {
  const db = database(
    'rows.db',
    `CREATE TABLE "na""me" ("i d" TEXT, b TEXT, v BLOB, PRIMARY KEY ("i d", b)); INSERT INTO "na""me" VALUES ('x', NULL, 1), ('y', 'z', 1);
     CREATE TABLE large (id TEXT PRIMARY KEY, v BLOB); INSERT INTO large VALUES ('big', zeroblob(70000000)), ('small', 1);
     CREATE TABLE child (id TEXT PRIMARY KEY, l REFERENCES large (id)); CREATE TABLE other (id TEXT PRIMARY KEY);`,
  );
  const { stdout } = await antiphon(['check', 'rows.db', '--json'], { cwd });
  const { obstacles, config } = JSON.parse(stdout) as { obstacles: string[]; config: string[] };
  const rows = obstacles.map((text) =>
    db
      .prepare(/`(.*)`/.exec(text)?.[1] ?? '')
      .all()
      .map(Object.values),
  );
  db.close();
  expect(rows.sort()).toEqual([[['big']], [['x', null, 1]]]);
  expect(config).toEqual(['tables: [ other ]']);
  const { code } = await antiphon(['check', 'rows.db', '--tables', 'other'], { cwd });
  expect(code).toBe(0);
  const shown = await antiphon(['check', 'rows.db'], { cwd });
  expect(shown.stdout).toMatch(/with the lines above it can, without .*large.* and what refers to it\.\n$/);
});

it('refuses what is no database it can read, and says why', async () => {
  writeFileSync(join(cwd, 'rubbish.db'), Buffer.alloc(8192, 'x'));
  mkdirSync(join(cwd, 'folder.db'));
  writeFileSync(join(cwd, 'empty.db'), '');
  const locked = database(
    'locked.db',
    'CREATE TABLE t (id INTEGER PRIMARY KEY); PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;',
  );
  const results = await Promise.all(
    ['none.db', 'folder.db', 'rubbish.db', 'empty.db', 'locked.db'].map(async (file) => {
      const { code, stdout, stderr } = await antiphon(['check', file], { cwd });
      return `${file} ${code} ${stderr}${stdout}`;
    }),
  );
  locked.close();
  expect(results).toEqual([
    expect.stringMatching(/^none\.db 2 .*there is no such file/),
    expect.stringMatching(/^folder\.db 2 .*is not a file/),
    expect.stringMatching(/^rubbish\.db 1 .*not a SQLite database, or an encrypted one/),
    expect.stringMatching(/^empty\.db 1 [^]*There is no table/),
    expect.stringMatching(/^locked\.db 1 .*locked.*STORE_BUSY/),
  ]);
});

it('every command names a table that the database does not have, and the one that was likely meant', async () => {
  database('slip.db', SHOP).close();
  const checked = await antiphon(['check', 'slip.db', '--tables', 'ordres'], { cwd });
  expect(checked).toMatchObject({ code: 2 });
  expect(checked.stderr).toContain('slip.db has no table ordres (did you mean orders?)');
  const up = await antiphon(['up', '--file', 'slip.db', '--tables', 'ordres'], { cwd });
  expect(up).toMatchObject({ code: 2, stdout: '' });
  expect(up.stderr).toContain('slip.db has no table ordres (did you mean orders?)');
  const yaml = `cluster: slip\nid: a\nnats: { servers: nats://127.0.0.1:9 }\nstore: { sqlite: { file: slip.db } }\n`;
  writeFileSync(join(cwd, 'slip.yaml'), `${yaml}tables: [ ordres ]\n`);
  const doctor = await antiphon(['doctor', '--config', 'slip.yaml'], { cwd });
  expect(doctor.stdout).toMatch(
    /warn {2}The database has no table ordres \(did you mean orders\?\)\.\n.*Correct `tables`/,
  );
  const nowhere = await antiphon(['doctor', '--config', 'slip.yaml', '--monitor', 'localhost:8222'], { cwd });
  expect(nowhere).toMatchObject({ code: 2, stdout: '' });
  expect(nowhere.stderr).toContain(
    '`--monitor` is not an address: localhost:8222. Give one like http://127.0.0.1:8222.',
  );
});

it('an old Node.js is said as JSON as well', () => {
  const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.1.0' } })`;
  const bin = fileURLToPath(new URL('../../dist/bin.js', import.meta.url));
  const run = (...args: string[]): string =>
    spawnSync(process.execPath, ['--import', `data:text/javascript,${old}`, bin, ...args], {
      encoding: 'utf8',
    }).stderr;
  expect(JSON.parse(run('status', '--json'))).toMatchObject({
    error: { code: 'NODE_TOO_OLD', retriable: false },
  });
  expect(run('status')).toMatch(/^Antiphon needs Node\.js /);
});

it('a command that only groups others names its own help', async () => {
  const alone = await antiphon(['member'], { cwd });
  expect(alone).toMatchObject({ code: 2 });
  expect(alone.stderr).toContain('Name a command. `antiphon member --help` lists them.');
  expect((await antiphon(['member', '--wrong'], { cwd })).stderr).toContain('See `antiphon member --help`.');
  for (const wrong of ['verify', 'member remove'])
    expect((await antiphon([...wrong.split(' '), '--wrong'], { cwd })).stderr).toContain(
      `See \`antiphon ${wrong} --help\`.`,
    );
  expect((await antiphon(['--wrong', 'verify'], { cwd })).stderr).toContain('See `antiphon --help`.');
  expect((await antiphon([], { cwd })).stdout).toMatch(/^Usage: antiphon /);
});
