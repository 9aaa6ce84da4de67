import { afterEach, describe, expect, it } from 'vitest';
import { ClusterFixture, count } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';

let fixture: ClusterFixture | undefined;
afterEach(async () => {
  await fixture?.[Symbol.asyncDispose]();
  fixture = undefined;
});

const AUDIT = `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE log (x);
  CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END;`;

describe('a cluster is created without naming tables', () => {
  it('on all that can be replicated; the rest is left out, and named with the reason', async () => {
    fixture = await ClusterFixture.start();
    const ddl = `CREATE TABLE t (id TEXT PRIMARY KEY, a); CREATE TABLE nokey (a); CREATE VIRTUAL TABLE f USING fts5 (a);
      CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app, name, applied); CREATE VIEW v AS SELECT a FROM t;`;
    fixture.sql(
      'a',
      `${ddl} INSERT INTO t VALUES ('k', 1); INSERT INTO django_migrations VALUES (1, 'x', 'y', 'z')`,
    );
    fixture.sql(
      'b',
      `CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app, name, applied); INSERT INTO django_migrations VALUES (7, 'x', 'y', 'z')`,
    );
    const a = await fixture.replica('a', { tables: 'auto' });
    const b = await fixture.replica('b');
    await eventually('b has the row', async () => (await count(b, 'v')) === 1);
    const left = a.status().leftOut.map(({ type, name, reason }) => `${type} ${name}: ${reason}`);
    expect(left).toEqual([
      expect.stringMatching(/^table django_migrations: Django notes there/),
      expect.stringMatching(/^table f: it is a virtual table/),
      expect.stringMatching(/^table nokey: it has no primary key/),
    ]);
    expect(await b.query('SELECT id FROM django_migrations')).toEqual([{ id: 7n }]);
    expect(a.status().alarms).toEqual([]);
    await fixture.sqlWhenFree('a', 'CREATE TABLE later (id INTEGER PRIMARY KEY)');
    await eventually('an alarm names the new table', () =>
      Promise.resolve(a.status().alarms.some(({ message }) => /table later/.test(message))),
    );
  });

  it('but not where a replicated table refers to one that would be left out', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql(
      'a',
      'CREATE TABLE parent (x UNIQUE); CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent (x))',
    );
    await expect(fixture.replica('a')).rejects.toMatchObject({
      code: 'UNSUPPORTED_TABLE',
      message: /Table child refers to parent, which would be left out: it has no primary key.*Make parent/s,
    });
    const named = await fixture.replica('a', { tables: ['child'] });
    expect(named.status().lifecycle).toBe('following');
  });

  it('and tables that are named are refused by name, as before', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE nokey (x)');
    await expect(fixture.replica('a', { tables: ['nokey'] })).rejects.toMatchObject({
      code: 'UNSUPPORTED_TABLE',
      message: /^Table nokey cannot be replicated: it has no primary key/,
    });
  });
});

describe('a database without any of the tables that were named', () => {
  it('is refused at once, with the name that was likely meant', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE orders (id TEXT PRIMARY KEY)');
    await expect(fixture.replica('a', { tables: ['ordres'] })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: /^The database has no table ordres \(did you mean orders\?\).*Correct `tables`/,
    });
    const a = await fixture.replica('a', { tables: ['orders'] });
    expect(a.status().lifecycle).toBe('following');
  });

  it('waits where another replica is to bring them, or the cluster has them', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE orders (id TEXT PRIMARY KEY)');
    fixture.sql('b', 'CREATE TABLE orderz (id TEXT PRIMARY KEY)');
    const named = { tables: ['orders'], topology: { mode: 'primary-replica', primary: 'a' } } as const;
    const waiting = fixture.replica('b', { ...named, limits: { connectTimeoutMs: 1500 } });
    await expect(waiting).rejects.toMatchObject({ code: 'TIMEOUT', message: /Start the primary a first/ });
    await fixture.replica('a', named);
    const b = await fixture.replica('b', named);
    expect(await count(b, 'orders')).toBe(0);
  });
});

describe('a cluster that could not be created', () => {
  const ROWS = `CREATE TABLE t (id TEXT PRIMARY KEY, b BLOB); CREATE TABLE u (id TEXT PRIMARY KEY);
    INSERT INTO t VALUES ('k', zeroblob(3000)); INSERT INTO u VALUES (NULL)`;

  it('is created by other settings, tables and rows as soon as they will do', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', ROWS);
    const nullKey = { code: 'UNSUPPORTED_TABLE', message: /u has 1 rows with NULL in their primary key/ };
    await expect(fixture.replica('a')).rejects.toMatchObject(nullKey);
    const small = { tables: ['t'], limits: { valueBytes: 2000 } };
    const tooLarge = { code: 'MESSAGE_TOO_LARGE', message: /larger `limits.valueBytes`/ };
    await expect(fixture.replica('a', small)).rejects.toMatchObject(tooLarge);
    const limits = { valueBytes: 3000, clockRefusalMs: 7_200_000 };
    const a = await fixture.replica('a', {
      ...{ tables: ['t'], limits, topology: { mode: 'primary-replica', primary: 'a' } },
      update: { mode: 'sync' },
    });
    const b = await fixture.replica('b', { topology: undefined, update: { mode: 'sync' } } as never);
    await eventually('b has the row', async () => (await count(b, 't')) === 1);
    await expect(a.execute([{ sql: 'UPDATE t SET b = zeroblob(3001)' }])).rejects.toMatchObject({
      code: 'CONSTRAINT',
    });
    await a.execute([{ sql: 'UPDATE t SET b = zeroblob(2999)' }]);
  });

  it('may be left to another replica, by its name as the primary', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', ROWS);
    fixture.sql('b', 'CREATE TABLE t (id TEXT PRIMARY KEY, b BLOB)');
    await expect(fixture.replica('a')).rejects.toMatchObject({ code: 'UNSUPPORTED_TABLE' });
    const topology = { mode: 'primary-replica', primary: 'b' } as const;
    const short = { topology, limits: { connectTimeoutMs: 1500 } };
    await expect(fixture.replica('a', short)).rejects.toMatchObject({
      ...{ code: 'TIMEOUT', message: /is being created by b\. Start that replica/ },
    });
    const b = await fixture.replica('b', { topology });
    expect(b.status().lifecycle).toBe('primary');
  });

  it('and is taken back when that name was a slip', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', ROWS);
    await expect(fixture.replica('a')).rejects.toMatchObject({ code: 'UNSUPPORTED_TABLE' });
    const slip = { mode: 'primary-replica', primary: 'aa' } as const;
    const limits = { connectTimeoutMs: 1500 };
    await expect(fixture.replica('a', { topology: slip, limits })).rejects.toMatchObject({
      ...{ code: 'TIMEOUT', message: /is being created by aa/ },
    });
    fixture.sql('a', 'DELETE FROM u');
    const a = await fixture.replica('a', { topology: { mode: 'primary-replica', primary: 'a' } });
    expect(a.status().lifecycle).toBe('primary');
  });
});

describe('a cluster in which several replicas write', () => {
  async function warnings(topology: { mode: 'multi-primary' } | undefined): Promise<readonly string[]> {
    fixture = await ClusterFixture.start();
    fixture.sql(
      'a',
      'CREATE TABLE numbered (id INTEGER PRIMARY KEY); CREATE TABLE given (id TEXT PRIMARY KEY)',
    );
    const told: string[] = [];
    const silent = (): void => undefined;
    const warn = (_: object, message?: string): void => void told.push(message ?? '');
    const logger = { debug: silent, info: silent, error: silent, warn };
    await fixture.replica('a', { logger, topology } as never);
    return told;
  }

  it('is created with a word about tables whose rows the database numbers', async () => {
    expect(await warnings({ mode: 'multi-primary' })).toEqual([
      expect.stringMatching(
        /^The database numbers the rows of numbered \(INTEGER PRIMARY KEY\).*is lost.*UUIDs/,
      ),
    ]);
  });

  it('and where one writes, there is nothing to say', async () => {
    expect(await warnings(undefined)).toEqual([]);
  });
});

describe('a trigger that uses what is not replicated', () => {
  it('is named when the cluster is created, and nothing is created', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', AUDIT);
    await expect(fixture.replica('a')).rejects.toMatchObject({
      code: 'UNSUPPORTED_TABLE',
      message: /tr on t uses log.*localTriggers: \[tr\]/s,
    });
    fixture.sql('a', 'DROP TRIGGER tr');
    await fixture.replica('a');
  });

  it('stays where it is by choice, and fires there for changes of all', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', AUDIT);
    const a = await fixture.replica('a', { localTriggers: ['tr'] });
    const b = await fixture.replica('b', { localTriggers: ['tr'] });
    await b.execute([{ sql: `INSERT INTO t VALUES (1, 'b')` }]);
    await a.execute([{ sql: `INSERT INTO t VALUES (2, 'a')` }]);
    await eventually('the log of a has both', async () => (await count(a, 'log')) === 2);
    expect(a.status().leftOut).toContainEqual({
      type: 'trigger',
      name: 'tr',
      reason:
        'it is on t, uses log, which is not replicated, and fires here for every change, whichever replica made it',
      unexpected: false,
    });
    expect(b.status().leftOut).toEqual([]);
  });

  it('that comes later is an alarm, which ends with it', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE log (x)');
    const a = await fixture.replica('a', { tables: ['t'] });
    await fixture.sqlWhenFree(
      'a',
      'CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END',
    );
    await eventually('an alarm names it', () =>
      Promise.resolve(
        a.status().alarms.some(({ message }) => /trigger tr .*log.*localTriggers/.test(message)),
      ),
    );
    expect(a.status().alarms.some(({ message }) => /table log/.test(message))).toBe(false);
    await fixture.sqlWhenFree('a', 'DROP TRIGGER tr');
    await eventually('it is over', () => Promise.resolve(a.status().alarms.length === 0));
  });
});
