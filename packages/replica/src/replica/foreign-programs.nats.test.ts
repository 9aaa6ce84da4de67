import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';

/**
 * A program with an SQLite of its own, in a process of its own: locks on a file belong to the
 * process, so two libraries in one process would take them from each other.
 */
function inAnotherProgram(file: string, script: string): string {
  const opening = `const db = new (require('better-sqlite3'))(process.argv[1], { timeout: 5000 });`;
  return execFileSync(process.execPath, ['-e', `${opening} ${script}`, file], { encoding: 'utf8' }).trim();
}

describe('a program that uses better-sqlite3 beside the replica', () => {
  it('has its writes replicated as they are, and reads what comes', { timeout: 60_000 }, async () => {
    await using cluster = await ClusterFixture.start();
    inAnotherProgram(
      cluster.file('a'),
      `db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v, name TEXT UNIQUE)');`,
    );
    const a = await cluster.replica('a');
    const b = await cluster.replica('b');
    inAnotherProgram(
      cluster.file('a'),
      `const insert = db.prepare('INSERT INTO t VALUES (?, ?, ?)');
       db.transaction(() => {
         insert.run(1, 9223372036854775807n, 'int64');
         insert.run(2, 1.5, 'real');
         insert.run(3, Buffer.from([0, 255]), 'blob');
         insert.run(4, 'a\\0b', 'text with NUL');
         insert.run(5, null, null);
         for (let id = 10; id < 2010; id++) insert.run(id, id, 'row ' + id);
       })();
       db.prepare('INSERT OR REPLACE INTO t VALUES (?, ?, ?)').run(3000, 'replaced', 'row 10');
       db.prepare('DELETE FROM t WHERE id BETWEEN 100 AND 199').run();
       db.prepare('UPDATE t SET id = 4000 WHERE id = 20').run();`,
    );
    await eventually('the rows at b', async () => (await count(b, 't')) === 1905);
    await eventually('equal rows', async () => (await rowsOf(a, 't')) === (await rowsOf(b, 't')));
    expect(await b.query(`SELECT typeof(v) AS type FROM t WHERE id <= 5 ORDER BY id`)).toEqual(
      ['integer', 'real', 'blob', 'text', 'null'].map((type) => ({ type })),
    );

    await b.execute([{ sql: `UPDATE t SET v = 'from b' WHERE id = 1` }]);
    await eventually(
      'the row in the file of a',
      () =>
        inAnotherProgram(
          cluster.file('a'),
          `console.log(db.prepare('SELECT v FROM t WHERE id = 1').pluck().get());`,
        ) === 'from b',
    );
  });

  it('is told by a follower where to write', async () => {
    await using cluster = await ClusterFixture.start();
    const topology = { mode: 'primary-replica', primary: 'a' } as const;
    cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
    await cluster.replica('a', { topology });
    await cluster.replica('b', { topology });
    const attempt = `try { db.exec('INSERT INTO t VALUES (1)'); } catch (error) { console.log(error.message); }`;
    expect(inAnotherProgram(cluster.file('b'), attempt)).toBe(
      'antiphon: this database is a replica; write to the primary a',
    );
  });
});
