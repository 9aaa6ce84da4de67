import { MAX_KEPT_CONFLICTS } from '@antiphon/core';
import { afterEach, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';

let cluster: Cluster;
afterEach(() => cluster.close());

async function two(schema: string): Promise<void> {
  let now = 1_700_000_000_000;
  cluster = new Cluster({ versions: true, clock: () => now++ });
  await cluster.first('a', schema);
  await cluster.join('b');
  await cluster.synchronize();
}

const conflictsOf = (name: string, limit = 10, beforeId?: number) =>
  cluster.member(name).store.conflicts({ limit, ...(beforeId !== undefined && { beforeId }) });

it('both rows of a conflict are kept, the one that stays and the one that is lost, on each replica', async () => {
  await two(
    `CREATE TABLE t (id INTEGER PRIMARY KEY, x, y REAL);
     INSERT INTO t VALUES (1, 'old', 1), (2, 'old', 1), (3, 'old', 1);`,
  );
  await cluster.write(
    'a',
    `UPDATE t SET x = 'of a', y = 5 WHERE id = 1`,
    'DELETE FROM t WHERE id = 2',
    `UPDATE t SET x = 'of a' WHERE id = 3`,
  );
  await cluster.write(
    'b',
    `UPDATE t SET x = x'00ff' WHERE id = 1`,
    `UPDATE t SET x = 'of b' WHERE id = 2`,
    'DELETE FROM t WHERE id = 3',
  );
  await cluster.synchronize();
  const columns = ['id', 'x', 'y'];
  const bytes = new Uint8Array([0, 255]);
  for (const name of ['a', 'b']) {
    const found = await conflictsOf(name);
    expect(found.map(({ key }) => key[0]).sort()).toEqual([1n, 2n, 3n]);
    for (const one of found) {
      expect(one).toMatchObject({ table: 't', columns, winner: { origin: 'b' }, loser: { origin: 'a' } });
      expect(one.winner.time).toBeGreaterThan(one.loser.time);
    }
    const rows = (id: bigint) => {
      const { kept, lost, here } = found.find(({ key }) => key[0] === id) ?? {};
      return { kept, lost, here };
    };
    expect(rows(1n)).toEqual({ kept: [1n, bytes, 1], lost: [1n, 'of a', 5], here: [1n, bytes, 1] });
    expect(rows(2n)).toEqual({ kept: [2n, 'of b', 1], lost: undefined, here: [2n, 'of b', 1] });
    expect(rows(3n)).toEqual({ kept: undefined, lost: [3n, 'of a', 1], here: undefined });
  }
  await cluster.write('a', `UPDATE t SET x = 'since' WHERE id = 1`);
  expect((await conflictsOf('a')).find(({ key }) => key[0] === 1n)?.here).toEqual([1n, 'since', 1]);
});

it('of several in a row, each is kept with what it met, and no character is halved', async () => {
  await two(`CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'old');`);
  await cluster.join('c');
  await cluster.synchronize();
  const long = `${'x'.repeat(199)}${'😀'.repeat(9000)}`;
  await cluster.write('a', `UPDATE t SET x = '${long}' WHERE id = 1`);
  await cluster.write('b', `UPDATE t SET x = 'of b' WHERE id = 1`);
  await cluster.write('c', `UPDATE t SET x = 'of c' WHERE id = 1`);
  await cluster.synchronize();
  const cut = { start: 'x'.repeat(199), length: long.length };
  for (const name of ['a', 'b', 'c']) {
    const found = await conflictsOf(name);
    for (const { winner, loser, kept, lost } of found) {
      const made: Record<string, unknown> = { a: cut, b: 'of b', c: 'of c' };
      expect([kept?.[1], lost?.[1]], name).toEqual([made[winner.origin], made[loser.origin]]);
    }
    expect(found.length).toBeGreaterThan(0);
  }
});

it('of long text that is not UTF-8 the beginning is kept, and shown of the row as it is now', async () => {
  await two(`CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'old');`);
  const raw = (byte: string) =>
    `UPDATE t SET x = CAST(CAST(x'${byte}' || zeroblob(100000) AS BLOB) AS TEXT) WHERE id = 1`;
  await cluster.write('a', raw('fe'));
  await cluster.write('b', raw('ff'));
  await cluster.synchronize();
  const cut = (byte: number) => {
    const start = new Uint8Array(200);
    start[0] = byte;
    return [1n, { start, length: 100_001, tag: 'raw-text' }];
  };
  for (const name of ['a', 'b']) {
    const [one] = await conflictsOf(name);
    expect([one?.lost, one?.kept, one?.here], name).toEqual([cut(254), cut(255), cut(255)]);
    expect(Number(cluster.shell(name, 'SELECT length(data) FROM _antiphon_conflicts'))).toBeLessThan(2000);
  }
});

it('the last of them are kept in the file, and of long values the beginning', async () => {
  const count = MAX_KEPT_CONFLICTS + 5;
  await two(
    `CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ${count}) INSERT INTO t SELECT i, 'old' FROM n;`,
  );
  const long = 'x'.repeat(40_000);
  await cluster.write('a', `UPDATE t SET x = 'a' || id`);
  await cluster.write('b', `UPDATE t SET x = iif(id = ${count}, '${long}', 'b' || id)`);
  await cluster.synchronize();
  for (const name of ['a', 'b']) {
    const all = await conflictsOf(name, 1000);
    expect(all.map(({ key }) => key)).toEqual(
      Array.from({ length: 200 }, (_, index) => [BigInt(count - index)]),
    );
    expect(all[0]?.kept).toEqual([BigInt(count), { start: 'x'.repeat(200), length: 40_000 }]);
    expect(all[1]?.lost).toEqual([BigInt(count - 1), `a${count - 1}`]);
    expect(await conflictsOf(name, 3, all[0]?.id)).toEqual(all.slice(1, 4));
    expect(cluster.shell(name, 'SELECT count(*) FROM _antiphon_conflicts')).toBe('200');
    expect(cluster.member(name).store.state().conflicts).toBe(count);
  }
});
