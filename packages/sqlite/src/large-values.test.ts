import { afterEach, expect, it } from 'vitest';
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
