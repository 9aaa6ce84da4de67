import { DatabaseSync } from 'node:sqlite';
import { AntiphonError, type UpdateOptions } from '@antiphon/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica, type StartOptions } from '../testing/cluster-fixture.js';

const UPDATES: readonly UpdateOptions[] = [{ mode: 'async' }, { mode: 'sync', minInSync: 1 }];
const INSERT = { sql: 'INSERT INTO t (v) VALUES (1)' };
const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';

class OutOfStock extends Error {
  readonly servers = 'nats://me:hunter2@localhost';
}

const THROWN: readonly (readonly [string, unknown])[] = [
  ['an Error', new RangeError('changed my mind')],
  // Our own errors would hide what looks like a password, in a copy.
  ['an error with a secret in it', new OutOfStock('no more at nats://me:hunter2@localhost')],
  ['an error of ours', new AntiphonError('CLOSED', 'another replica is closed')],
  ['a text', 'changed my mind'],
  ['an object', { status: 409 }],
  ['undefined', undefined],
  ['null', null],
];

/** What a promise ended with, whatever it is. */
async function rejection(promise: Promise<unknown>): Promise<{ readonly thrown: unknown }> {
  return promise.then(
    () => Promise.reject(new Error('it did not reject')),
    (thrown: unknown) => ({ thrown }),
  );
}

describe.each(UPDATES)("the caller's own error, %j", (update) => {
  let cluster: ClusterFixture;
  let a: SqliteReplica;
  const options: StartOptions = { update, topology: { mode: 'primary-replica', primary: 'a' } };

  beforeAll(async () => {
    cluster = await ClusterFixture.start();
    cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER UNIQUE)');
    a = await cluster.replica('a', options);
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  it.each(THROWN)('I1: passes on as it is, %s, and nothing is kept', async (_, thrown) => {
    const before = a.status().lastCounter;
    const failing = a.transaction((tx) => {
      tx.run('INSERT INTO t (v) VALUES (1)');
      throw thrown;
    });
    expect((await rejection(failing)).thrown).toBe(thrown);
    expect(await a.query('SELECT * FROM t')).toEqual([]);
    expect(a.status().lastCounter).toBe(before);
    expect(a.status().lifecycle).toBe('primary');
  });

  it('passes on as it is where what the function returns throws it, and nothing is kept', async () => {
    const error = new OutOfStock('do not look');
    const value = {
      get then(): unknown {
        throw error;
      },
    };
    const failing = a.transaction((tx) => {
      tx.run('INSERT INTO t (v) VALUES (1)');
      return value;
    });
    expect((await rejection(failing)).thrown).toBe(error);
    expect(await a.query('SELECT * FROM t')).toEqual([]);
  });

  it('I1: ends its own transaction, and no other one of the group', async () => {
    const error = new OutOfStock('sold');
    const one = a.execute([{ sql: 'INSERT INTO t (v) VALUES (11)' }]);
    const other = rejection(
      a.transaction((tx) => {
        tx.run('INSERT INTO t (v) VALUES (12)');
        throw error;
      }),
    );
    const third = a.execute([{ sql: 'INSERT INTO t (v) VALUES (13)' }]);
    expect((await other).thrown).toBe(error);
    await Promise.all([one, third]);
    expect(await a.query('SELECT v FROM t ORDER BY v', [], { integers: 'number' })).toEqual([
      { v: 11 },
      { v: 13 },
    ]);
    await a.execute([{ sql: 'DELETE FROM t' }]);
  });

  it('is told from what a statement of the function throws, which stays the same object too', async () => {
    let caught: unknown;
    const failing = a.transaction((tx) => {
      try {
        tx.run('INSERT INTO nope VALUES (1)');
      } catch (error) {
        caught = error;
        throw error;
      }
    });
    const { thrown } = await rejection(failing);
    expect(thrown).toBe(caught);
    expect(thrown).toMatchObject({ name: 'AntiphonError', code: 'BAD_SQL' });
  });

  describe('given to abort()', () => {
    const reason = new OutOfStock('the customer left, nats://me:hunter2@localhost');

    it('comes back from calls that it ended before they began', async () => {
      const signal = AbortSignal.abort(reason);
      const calls = {
        transaction: a.transaction(() => 1, { signal }),
        execute: a.execute([INSERT], { signal }),
        query: a.query('SELECT 1', [], { signal }),
        'strong query': a.query('SELECT 1', [], { signal, consistency: 'strong' }),
        outcome: a.outcome('a:999999', { signal }),
        caughtUp: a.caughtUp({ signal }),
        changes: a.changes({ signal }).next(),
        start: cluster.replica('b', { ...options, signal }),
      };
      for (const [name, call] of Object.entries(calls)) {
        const { thrown } = await rejection(call);
        expect({ name, isReason: thrown === reason }).toEqual({ name, isReason: true });
      }
    });

    it('comes back from a write, a query and a stream that it ended', async () => {
      const giveUp = new AbortController();
      const { signal } = giveUp;
      const other = new DatabaseSync(cluster.file('a'));
      other.exec('BEGIN IMMEDIATE');
      const calls = {
        write: a.execute([INSERT], { signal, timeoutMs: 60_000 }),
        query: a.query(ENDLESS, [], { signal }),
        changes: a.changes({ signal }).next(),
      };
      const all = Object.entries(calls).map(async ([name, call]) => {
        const { thrown } = await rejection(call);
        return { name, isReason: thrown === reason };
      });
      setTimeout(() => giveUp.abort(reason), 100);
      expect(await Promise.all(all)).toEqual(Object.keys(calls).map((name) => ({ name, isReason: true })));
      other.exec('ROLLBACK');
      other.close();
      expect(await a.query('SELECT * FROM t')).toEqual([]);
    });

    it('is ABORTED, with the cause, where the platform made it', async () => {
      for (const signal of [AbortSignal.abort(), AbortSignal.timeout(1)]) {
        const { thrown } = await rejection(a.query(ENDLESS, [], { signal }));
        expect(thrown).toMatchObject({ code: 'ABORTED', cause: expect.any(DOMException) as unknown });
      }
    });
  });

  it('thrown into a stream comes out of it', async () => {
    const changes = a.changes({ from: 'beginning' });
    await a.execute([{ sql: 'INSERT INTO t (v) VALUES (21)' }]);
    await changes.next();
    const error = new OutOfStock('enough');
    expect((await rejection(changes.throw(error))).thrown).toBe(error);
  });
});

it('a listener, a logger or a progress report that throws changes nothing', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)');
  const fail = (): never => {
    throw new OutOfStock('broken');
  };
  const logged: unknown[] = [];
  const note = (fields: Readonly<Record<string, unknown>>): never => {
    logged.push(fields['err']);
    return fail();
  };
  const logger = { debug: note, info: note, warn: note, error: note };
  const a = await cluster.replica('a', { logger, onLifecycle: fail, onProgress: fail });
  await a.execute([INSERT]);
  await a.caughtUp();
  expect(a.status()).toMatchObject({ alarms: [] });
  expect(logged).toContainEqual(expect.any(OutOfStock));
});
