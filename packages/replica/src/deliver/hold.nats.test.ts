import { systemClock, type Topology, type UpdateOptions } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';
import { verifyCluster } from '../service/verify.js';

const SCHEMA = `
  CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT);
  INSERT INTO items VALUES (1, 'first');
`;
/**
 * Takes no row from this id on, since their names are no JSON. What rows are accepted is none of
 * its business, as far as anybody can see.
 */
const breakFrom = (id: number): string => `CREATE INDEX broken ON items (json(name)) WHERE id >= ${id}`;
const MEND = 'DROP INDEX broken';
const PRIMARY: Topology = { mode: 'primary-replica', primary: 'a' };
const SYNC: UpdateOptions = { mode: 'sync', minInSync: 2 };

async function startThree(
  cluster: ClusterFixture,
  options: { readonly topology: Topology; readonly update?: UpdateOptions },
): Promise<readonly [SqliteReplica, SqliteReplica, SqliteReplica]> {
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a', options);
  const [b, c] = await Promise.all([cluster.replica('b', options), cluster.replica('c', options)]);
  await eventually('c has the rows', async () => (await count(c, 'items')) === 1);
  return [a, b, c];
}

function insert(replica: SqliteReplica, id: number, name: string) {
  return replica.execute([{ sql: 'INSERT INTO items VALUES (?, ?)', params: [id, name] }]);
}

async function verified(cluster: ClusterFixture): Promise<string> {
  const nats = await cluster.nats();
  const ports = { bus: nats.bus(), registry: nats.registry('shop'), clock: systemClock(), cluster: 'shop' };
  return (await verifyCluster(ports)).outcome;
}

/** For rows that are too long to be shown. */
async function sameRows(one: SqliteReplica, other: SqliteReplica): Promise<void> {
  await eventually(
    'both have the same rows',
    async () => (await rowsOf(one, 'items')) === (await rowsOf(other, 'items')),
  );
}

async function allEqual(replicas: readonly SqliteReplica[], rows: number): Promise<void> {
  await eventually(`all have ${rows} rows`, async () => {
    const counts = await Promise.all(replicas.map((replica) => count(replica, 'items')));
    return counts.every((each) => each === rows);
  });
  const contents = await Promise.all(replicas.map((replica) => rowsOf(replica, 'items')));
  expect(new Set(contents).size).toBe(1);
}

describe('a transaction that one database refuses', () => {
  it('I2, I10: is held with everything after it, and goes in by itself once the cause is gone', async () => {
    await using cluster = await ClusterFixture.start();
    const replicas = await startThree(cluster, { topology: { mode: 'multi-primary' } });
    const [a, b, c] = replicas;
    cluster.sql('c', breakFrom(2));
    await insert(a, 2, 'held');
    await eventually('c holds', () => c.status().holding !== undefined);
    const { seq } = c.status().position;
    await insert(a, 3, 'after it');
    await insert(b, 4, 'of another origin');
    const status = c.status();
    expect(status).toMatchObject({ lifecycle: 'holding', quarantined: 0, waitingFor: [] });
    expect(status.holding).toMatchObject({ origin: 'a', counter: 2, table: 'items', seq: seq + 1 });
    expect(status.holding?.message).toMatch(/a:2 .*malformed JSON in table items\. .*resumes automatically/);
    expect(status.alarms).toMatchObject([{ name: 'apply', message: status.holding?.message }]);
    await expect(c.caughtUp({ timeoutMs: 300 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(/a:2 .*malformed JSON/) as unknown,
    });
    expect(await count(c, 'items')).toBe(1);
    expect(c.status().position.seq).toBe(seq);
    // What is written here goes on to the others.
    await c.execute([{ sql: "UPDATE items SET name = 'from c' WHERE id = 1" }]);
    cluster.sql('c', "UPDATE items SET name = name || ', twice' WHERE id = 1");
    await eventually('a has it', async () => (await rowsOf(a, 'items')).includes('from c, twice'));
    cluster.sql('c', MEND);
    await allEqual(replicas, 4);
    await c.caughtUp();
    expect(c.status()).toMatchObject({ lifecycle: 'following', alarms: [], quarantined: 0 });
    expect(c.status().holding).toBeUndefined();
    expect(await verified(cluster)).toBe('equal');
  });

  it('is held across a restart: nothing was skipped, and it goes in at the start once the cause is gone', async () => {
    await using cluster = await ClusterFixture.start();
    const options = { topology: PRIMARY };
    const [a, , c] = await startThree(cluster, options);
    await insert(a, 2, 'twin');
    await eventually('c has it', async () => (await count(c, 'items')) === 2);
    cluster.sql('c', breakFrom(3));
    await insert(a, 3, 'twin');
    await insert(a, 4, 'after it');
    await eventually('c holds', () => c.status().holding?.counter === 3);
    expect(c.status().holding?.message).toMatch(/malformed JSON/);
    await c.close();
    const again = await cluster.replica('c', options);
    await eventually('c holds again', () => again.status().holding?.counter === 3);
    expect(await count(again, 'items')).toBe(2);
    await again.close();
    cluster.sql('c', MEND);
    const mended = await cluster.replica('c', options);
    await mended.caughtUp();
    expect(await rowsOf(mended, 'items')).toBe(await rowsOf(a, 'items'));
    await eventually('c follows', () => mended.status().lifecycle === 'following');
  });

  it('may be in the middle of a message, or come in parts', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, , c] = await startThree(cluster, { topology: PRIMARY });
    cluster.sql('c', breakFrom(2));
    const large = 'x'.repeat(100_000);
    await Promise.all(Array.from({ length: 20 }, (_, n) => insert(a, 10 + n, `small ${n}`)));
    await a.transaction((tx) => {
      for (let n = 0; n < 10; n++) tx.run('INSERT INTO items VALUES (?, ?)', [100 + n, large]);
    });
    await insert(a, 200, 'last');
    await eventually('c holds', () => c.status().holding !== undefined);
    expect(await count(c, 'items')).toBe(1);
    cluster.sql('c', MEND);
    await sameRows(a, c);
    cluster.sql('c', breakFrom(300));
    await a.transaction((tx) => {
      for (let n = 0; n < 10; n++) tx.run('INSERT INTO items VALUES (?, ?)', [300 + n, large]);
    });
    await eventually('c holds the parts', () => c.status().holding !== undefined);
    cluster.sql('c', MEND);
    await sameRows(a, c);
  });

  it('is one for which the table is not there, until it is back', async () => {
    await using cluster = await ClusterFixture.start();
    const replicas = await startThree(cluster, { topology: { mode: 'multi-primary' } });
    const [a, , c] = replicas;
    cluster.sql('c', 'ALTER TABLE items RENAME TO away');
    await insert(a, 2, 'held');
    await eventually('c holds', () => c.status().holding !== undefined);
    expect(c.status().holding?.message).toMatch(/items/);
    cluster.sql('c', 'ALTER TABLE away RENAME TO items');
    await allEqual(replicas, 2);
    await eventually('c follows', () => c.status().lifecycle === 'following');
  });
});

describe.each([PRIMARY, { mode: 'multi-primary' }] as const)(
  'a synchronous group that one database refuses, %j',
  (topology) => {
    it('I6: is not acknowledged there, and the replica is out of the set until it has it', async () => {
      await using cluster = await ClusterFixture.start();
      const replicas = await startThree(cluster, { topology, update: SYNC });
      const [a, b, c] = replicas;
      await insert(a, 2, 'before');
      cluster.sql('c', breakFrom(3));
      const held = await insert(a, 3, 'held');
      expect(held.acks?.by).toEqual(['a', 'b']);
      await eventually('c has left', () => a.status().sync?.inSync.join() === 'a,b');
      const after = await insert(a, 4, 'after it');
      expect(after.acks).toMatchObject({ by: ['a', 'b'], missing: [], reached: true });
      expect(c.status()).toMatchObject({ lifecycle: 'holding', holding: { origin: 'a' } });
      const strong = c.query('SELECT count(*) FROM items', [], { consistency: 'strong', timeoutMs: 500 });
      await expect(strong).rejects.toMatchObject({
        code: 'TIMEOUT',
        message: expect.stringMatching(/malformed JSON/) as unknown,
      });
      const session = c.query('SELECT 1', [], {
        consistency: 'session',
        after: after.position,
        timeoutMs: 300,
      });
      await expect(session).rejects.toMatchObject({ code: 'TIMEOUT' });
      if (topology.mode === 'multi-primary') {
        const write = c.execute([{ sql: 'DELETE FROM items' }], { timeoutMs: 300 });
        await expect(write).rejects.toMatchObject({ code: 'NOT_IN_SYNC' });
      }
      cluster.sql('c', MEND);
      await eventually('c is back', () => a.status().sync?.inSync.join() === 'a,b,c');
      expect((await insert(a, 5, 'all')).acks?.by).toEqual(['a', 'b', 'c']);
      await allEqual([a, b, c], 5);
    });
  },
);
