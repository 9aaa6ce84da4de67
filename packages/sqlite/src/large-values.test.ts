import { LARGEST_ROW_LIMITS, type InstallOptions } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { pairOf } from '../test/pair.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

it('a value over the limit is refused where it is written, and stops nothing', async () => {
  cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB);');
  cluster.shell('a', `INSERT INTO t VALUES (1, 'x', x'00')`);
  expect(() => cluster.shell('a', 'INSERT INTO t VALUES (2, NULL, zeroblob(67108865))')).toThrow(
    /a row of t is too large/,
  );
  expect(() => cluster.shell('a', 'UPDATE t SET b = zeroblob(67108865)')).toThrow(
    /too large to be replicated/,
  );
  // Characters of two bytes: it is bytes that count.
  expect(() => cluster.shell('a', `UPDATE t SET a = replace(hex(zeroblob(16777217)), '0', 'é')`)).toThrow(
    /too large/,
  );
  const outcome = await cluster.write('a', 'UPDATE t SET b = zeroblob(67108865)');
  expect(outcome).toMatchObject({ type: 'rejected', error: { code: 'CONSTRAINT' } });
  cluster.shell('a', `INSERT INTO t VALUES (3, 'y', zeroblob(100000))`);
  await cluster.synchronize();
  expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
});

describe('limits of values and rows', () => {
  const DDL = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB);';
  const rowLimits = { valueBytes: 2000, rowBytes: 3000 };

  async function twoWriters(options: Partial<InstallOptions> = {}): Promise<void> {
    cluster = new Cluster({ versions: true });
    await cluster.first('a', DDL, options);
    await cluster.join('b');
  }

  async function startAgain(options: Partial<InstallOptions>): Promise<void> {
    await cluster.member('a').store.close();
    await cluster.join('a', { ...options, createTables: false });
  }

  it('are those that the replica was installed with, and others at its next start', async () => {
    await twoWriters({ rowLimits });
    cluster.shell('a', 'INSERT INTO t VALUES (1, hex(zeroblob(1000)), zeroblob(1000))');
    expect(() => cluster.shell('a', 'UPDATE t SET b = zeroblob(2001), a = NULL')).toThrow(
      /a value may have 2000 bytes, a row 3000/,
    );
    expect(() => cluster.shell('a', 'UPDATE t SET b = zeroblob(1001)')).toThrow(/a row of t is too large/);
    await startAgain({ rowLimits: { valueBytes: 2500, rowBytes: 5000 } });
    cluster.shell('a', 'UPDATE t SET b = zeroblob(2500)');
    expect(() => cluster.shell('a', 'UPDATE t SET b = zeroblob(2501)')).toThrow(/2500 bytes, a row 5000/);
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
  });

  it('lowered below a row that is there, let it be deleted, made smaller, and applied from others', async () => {
    await twoWriters();
    cluster.shell('a', 'INSERT INTO t VALUES (1, NULL, zeroblob(5000)), (2, NULL, zeroblob(5000))');
    await startAgain({ rowLimits });
    expect(() => cluster.shell('a', "UPDATE t SET a = 'x' WHERE id = 1")).toThrow(/too large/);
    cluster.shell('a', 'UPDATE t SET b = zeroblob(2000) WHERE id = 1; DELETE FROM t WHERE id = 2');
    cluster.shell('b', 'INSERT INTO t VALUES (3, NULL, zeroblob(9000))');
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    expect(cluster.rows('a', 't')).toHaveLength(2);
  });

  it('are those of the rows that a cluster is created from', async () => {
    cluster = new Cluster();
    const rows = `${DDL} INSERT INTO t VALUES (1, NULL, zeroblob(2001)), (2, 'x', zeroblob(2000))`;
    await expect(cluster.first('a', rows, { rowLimits })).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      message: expect.stringMatching(/1 row of t is too large .* a value may have 2000 bytes/) as unknown,
    });
    await cluster.first('a', 'DELETE FROM t WHERE id = 1', { rowLimits });
    await cluster.join('b');
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toHaveLength(1);
  });

  it('may be more than the default', async () => {
    await twoWriters({ rowLimits: LARGEST_ROW_LIMITS });
    cluster.shell('a', 'INSERT INTO t VALUES (1, NULL, zeroblob(67108865))');
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT length(b) FROM t')).toContain('67108865');
  });
});
