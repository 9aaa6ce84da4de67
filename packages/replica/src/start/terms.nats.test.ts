import { copyFileSync } from 'node:fs';
import type { Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const options = { topology, failover: { mode: 'manual' } } as const;
const sync = { ...options, update: { mode: 'sync', acks: 'all' } } as const;

it('I9: each process of a primary has an epoch of its own, and goes on where the last one ended', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  let a = await fixture.replica('a', options);
  const b = await fixture.replica('b', options);
  for (let term = 1; term <= 4; term++) {
    expect(a.status().role).toBe('primary');
    await a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [term, 'library'] }]);
    fixture.sql('a', `INSERT INTO t VALUES (${100 + term}, 'shell')`);
    await eventually('b has it', async () => (await count(b, 't')) === 2 * term);
    expect(() => fixture.sql('b', 'DELETE FROM t')).toThrow(/write to the primary/);
    await a.close();
    // Nobody is there to send it: it is in the tail that the next process keeps.
    if (term === 2) fixture.sql('a', `UPDATE t SET v = 'tail' WHERE id = 1`);
    a = await fixture.replica('a', options);
  }
  await eventually('b has all of it', async () => (await rowsOf(b, 't')) === (await rowsOf(a, 't')));
  expect(b.status().vector).toEqual(a.status().vector);
  expect(b.status().alarms).toEqual([]);
});

it('I7, I9: synchronous writes go on in the next epoch', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  let a = await fixture.replica('a', sync);
  const b = await fixture.replica('b', sync);
  for (let term = 1; term <= 3; term++) {
    const { acks } = await a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [term, 'library'] }]);
    expect(acks?.by).toEqual(['a', 'b']);
    expect(await b.query('SELECT count(*) AS n FROM t', [], { consistency: 'strong' })).toEqual([
      { n: BigInt(term) },
    ]);
    await a.close();
    a = await fixture.replica('a', sync);
  }
  expect(await rowsOf(b, 't')).toBe(await rowsOf(a, 't'));
  expect(b.status().vector).toEqual(a.status().vector);
});

it('I16: changes are shown across epochs, each once, from any place on', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  let a = await fixture.replica('a', options);
  const b = await fixture.replica('b', options);
  const places: string[] = [];
  for (let term = 1; term <= 3; term++) {
    await a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [term, 'x'] }]);
    await a.close();
    a = await fixture.replica('a', options);
  }
  await eventually('b has it', async () => (await count(b, 't')) === 3);
  const seen = async (from: string, most: number): Promise<unknown[]> => {
    const keys: unknown[] = [];
    for await (const change of b.changes({ from })) {
      keys.push(change.key['id']);
      places.push(change.cursor);
      if (keys.length === most) break;
    }
    return keys;
  };
  expect(await seen('beginning', 3)).toEqual([1n, 2n, 3n]);
  const [first, second] = places as [string, string];
  expect(await seen(first, 2)).toEqual([2n, 3n]);
  expect(await seen(second, 1)).toEqual([3n]);
});

it('I3: a restored primary with a table that was rebuilt starts, and goes on when it was recaptured', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'first')`);
  const first = await fixture.replica('a', options);
  const b = await fixture.replica('b', options);
  await eventually('b has it', async () => (await count(b, 't')) === 1);
  await first.close();
  copyFileSync(fixture.file('a'), fixture.file('copy'));
  const second = await fixture.replica('a', options);
  await second.execute([{ sql: `INSERT INTO t VALUES (2, 'not in the copy')` }]);
  await eventually('b has it', async () => (await count(b, 't')) === 2);
  await second.close();
  fixture.sql(
    'copy',
    `CREATE TABLE n (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO n SELECT * FROM t; DROP TABLE t;
     ALTER TABLE n RENAME TO t; INSERT INTO t VALUES (3, 'unseen')`,
  );
  const a = await fixture.replica('a', { ...options, file: fixture.file('copy') });
  expect(a.status()).toMatchObject({ lifecycle: 'stalled', stalled: { tables: ['t'] } });
  expect(await a.recapture('t')).toMatchObject({ onlyHere: { count: 1 }, replicating: true });
  await eventually('it is the primary', () => a.status().lifecycle === 'primary');
  await eventually('both have all', async () => (await count(a, 't')) === 3 && (await count(b, 't')) === 3);
  expect(await rowsOf(b, 't')).toBe(await rowsOf(a, 't'));
  await a.execute([{ sql: `INSERT INTO t VALUES (4, 'goes on')` }]);
  await eventually('b has it', async () => (await count(b, 't')) === 4);
});
