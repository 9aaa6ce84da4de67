import { cp, rm } from 'node:fs/promises';
import { verifyCluster } from '../index.js';
import { systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';

const TABLES = 'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price REAL)';

describe('multi-primary', () => {
  it('I4: three replicas in step, whoever writes, library or not', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', `${TABLES}; INSERT INTO items VALUES (1, 'one', 1.5), (2, 'two', NULL)`);
    const a = await fixture.replica('a');
    const [b, c] = await Promise.all([fixture.replica('b'), fixture.replica('c')]);
    await eventually(
      'the rows of the first',
      async () => (await count(b, 'items')) === 2 && (await count(c, 'items')) === 2,
    );
    expect(await rowsOf(b, 'items')).toBe(await rowsOf(a, 'items'));

    const result = await b.transaction(
      (tx) => tx.run('INSERT INTO items VALUES (3, ?, 3)', ['three']).changes,
    );
    expect(result).toMatchObject({ outcome: 'committed', id: { origin: 'b', counter: 1 }, value: 1 });
    const changed = await c.execute([
      { sql: 'UPDATE items SET price = price * 2 WHERE id < ?', params: [10] },
      { sql: 'DELETE FROM items WHERE id = 2' },
    ]);
    expect(changed.value[1]).toBe(1);
    fixture.sql('a', "INSERT INTO items VALUES (4, 'by the shell', 4)");
    await eventually('all three hold the same', async () => {
      const [first, ...others] = await Promise.all([a, b, c].map((replica) => rowsOf(replica, 'items')));
      return (await count(a, 'items')) === 3 && others.every((rows) => rows === first);
    });
    const nats = await fixture.nats();
    const ports = { bus: nats.bus(), registry: nats.registry('shop'), clock: systemClock(), cluster: 'shop' };
    expect(await verifyCluster(ports)).toMatchObject({ outcome: 'equal', absent: [], differences: [] });
  });
});

describe('transactions', () => {
  it('I1: a throw undoes everything and is passed on; errors carry codes', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', TABLES);
    const a = await fixture.replica('a');
    const failing = a.transaction((tx) => {
      tx.run("INSERT INTO items VALUES (1, 'x', 1)");
      throw new RangeError('changed my mind');
    });
    await expect(failing).rejects.toThrow('changed my mind');
    await expect(a.execute([{ sql: 'INSERT INTO nope VALUES (1)' }])).rejects.toMatchObject({
      code: 'BAD_SQL',
    });
    await a.execute([{ sql: 'INSERT INTO items VALUES (1, ?, ?)', params: ['x', 1.5] }]);
    const twice = a.execute([
      { sql: "INSERT INTO items VALUES (2, 'y', 2)" },
      { sql: "INSERT INTO items VALUES (1, 'z', 3)" },
    ]);
    await expect(twice).rejects.toMatchObject({ code: 'CONSTRAINT' });
    expect(await count(a, 'items')).toBe(1);
    await expect(a.query('DELETE FROM items')).rejects.toMatchObject({ code: 'BAD_SQL' });
    expect((await a.transaction((tx) => tx.all('SELECT * FROM items'))).id).toBeUndefined();
  });

  it('I1, I11: a big transaction travels in parts and arrives at once, in the change feed too', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', TABLES);
    const a = await fixture.replica('a');
    const b = await fixture.replica('b');
    const seen = new Set<number>();
    expect(() => b.changes({ tables: ['items', 'nope'] })).toThrow(
      expect.objectContaining({
        code: 'UNKNOWN_TABLE',
        message: 'Replica b does not replicate table nope. It replicates items. Correct the name.',
      }) as Error,
    );
    const feed = b.changes({ tables: ['items'] });
    const feeding = (async () => {
      for await (const change of feed) if (seen.add(Number(change.key['id'])).size === 30_000) break;
    })();
    await a.transaction((tx) => {
      for (let id = 0; id < 30_000; id++)
        tx.run('INSERT INTO items VALUES (?, ?, 1)', [id, 'name '.repeat(10)]);
    });
    const sizes = new Set<number>();
    await eventually('b has it', async () => sizes.add(await count(b, 'items')).has(30_000));
    expect([...sizes].filter((size) => size !== 0 && size !== 30_000)).toEqual([]);
    await feeding;
    expect(a.status().totals['publishedMessages']).toBeGreaterThan(5);
  });
});

describe('primary-replica', () => {
  const topology = { mode: 'primary-replica', primary: 'a' } as const;

  it('follows the primary, and refuses writes of other programs', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', TABLES);
    const [a, b] = await Promise.all([
      fixture.replica('a', { topology }),
      fixture.replica('b', { topology }),
    ]);
    fixture.sql('a', "INSERT INTO items VALUES (1, 'by the shell', 1)");
    await a.execute([{ sql: "INSERT INTO items VALUES (2, 'by the library', 1)" }]);
    await eventually('b has both', async () => (await count(b, 'items')) === 2);
    // What the shell writes, nobody acknowledges.
    expect([a, b].map((one) => one.status().totals['acknowledgedWrites'])).toEqual([1, 0]);
    expect(a.status().totals['acknowledgedMs']).toBeGreaterThan(0);
    expect(() => fixture.sql('b', 'DELETE FROM items')).toThrow(/primary.*a|a.*primary/s);
    await expect(b.execute([{ sql: 'DELETE FROM items' }])).rejects.toMatchObject({ code: 'NOT_WRITABLE' });
    expect(await count(b, 'items')).toBe(2);
  });

  it('I3: a replica that was away catches up; the primary goes on after a kill of nats-server', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', TABLES);
    const [a, b] = await Promise.all([
      fixture.replica('a', { topology }),
      fixture.replica('b', { topology }),
    ]);
    await b.close();
    for (let id = 0; id < 300; id++) {
      await a.execute([{ sql: 'INSERT INTO items VALUES (?, ?, 1)', params: [id, 'x'] }]);
      if (id === 100) await fixture.server.kill();
      if (id === 200) await fixture.server.restart();
    }
    const again = await fixture.replica('b', { topology });
    await eventually('b has all', async () => (await count(again, 'items')) === 300);
    expect(again.status()).toMatchObject({ quarantined: 0, waitingFor: [] });
  });
});

describe('recovery', () => {
  it('I2: a restored file recovers its own transactions before it writes', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', TABLES);
    const b = await (await fixture.replica('a')).close().then(() => fixture.replica('b'));
    await cp(fixture.file('a'), fixture.file('backup'));
    const a = await fixture.replica('a');
    for (let id = 0; id < 20; id++)
      await a.execute([{ sql: 'INSERT INTO items VALUES (?, ?, 1)', params: [id, 'x'] }]);
    await eventually('published', () => a.status().outbox.unpublished === 0);
    await a.close();
    for (const end of ['', '-wal', '-shm']) await rm(fixture.file('a') + end, { force: true });
    await cp(fixture.file('backup'), fixture.file('a'));
    const restored = await fixture.replica('a');
    expect(await count(restored, 'items')).toBe(20);
    const { id } = await restored.execute([{ sql: "INSERT INTO items VALUES (100, 'new', 1)" }]);
    expect(id).toEqual({ origin: 'a', counter: 21 });
    await eventually('b has it', async () => (await count(b, 'items')) === 21);
    expect(await rowsOf(b, 'items')).toBe(await rowsOf(restored, 'items'));
  });

  it.each(['primary-replica', 'multi-primary'] as const)(
    'A.4: an edit that lay unsealed in a restored file does not come back over later ones (%s)',
    async (mode) => {
      const topology = mode === 'multi-primary' ? ({ mode } as const) : ({ mode, primary: 'a' } as const);
      await using fixture = await ClusterFixture.start();
      fixture.sql('a', `${TABLES}; INSERT INTO items VALUES (1, '', 1), (2, '', 2)`);
      await (await fixture.replica('a', { topology })).close();
      const b = await fixture.replica('b', { topology });
      fixture.sql('a', "UPDATE items SET name = 'Monday'");
      await cp(fixture.file('a'), fixture.file('backup'));
      const a = await fixture.replica('a', { topology });
      await eventually('sealed', () => a.status().vector['a'] === 2 && a.status().outbox.unpublished === 0);
      await b.caughtUp();
      await new Promise((resolve) => setTimeout(resolve, 150));
      const writer = mode === 'multi-primary' ? b : a;
      await writer.execute([{ sql: "UPDATE items SET name = 'Wednesday' WHERE id = 1" }]);
      await a.close();
      for (const end of ['', '-wal', '-shm']) await rm(fixture.file('a') + end, { force: true });
      await cp(fixture.file('backup'), fixture.file('a'));
      const restored = await fixture.replica('a', { topology });
      await restored.caughtUp();
      await b.caughtUp();
      for (const replica of [restored, b]) {
        const rows = await replica.query('SELECT name FROM items ORDER BY id');
        expect(rows).toEqual([{ name: 'Wednesday' }, { name: 'Monday' }]);
      }
    },
  );

  it('I3, I4: three writers, one of them another program, while nats-server is killed', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', TABLES);
    const a = await fixture.replica('a');
    const [b, c] = await Promise.all([fixture.replica('b'), fixture.replica('c')]);
    await eventually('tables', async () => (await count(c, 'items')) === 0);
    let stop = false;
    const writing = [a, b].map(async (replica, index) => {
      for (let n = 0; !stop; n++) {
        const params = [n % 50, `${index}-${n}`, n + 0.5];
        await replica.execute([
          {
            sql: 'INSERT INTO items VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET name = excluded.name, price = excluded.price',
            params,
          },
        ]);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 10; n++) {
        await fixture.sqlWhenFree(
          'c',
          `INSERT OR REPLACE INTO items VALUES (${n * 7}, 'shell ${round}', NULL); DELETE FROM items WHERE id = ${n + 20}`,
        );
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await fixture.server.kill();
      await new Promise((resolve) => setTimeout(resolve, 200));
      await fixture.server.restart();
    }
    stop = true;
    await Promise.all(writing);
    const replicas = [a, b, c];
    await eventually('equal vectors', () => {
      const [first, ...others] = replicas.map((replica) =>
        JSON.stringify(Object.entries(replica.status().vector).sort()),
      );
      return (
        replicas.every((replica) => replica.status().outbox.unpublished === 0) &&
        others.every((other) => other === first)
      );
    });
    const rows = await Promise.all(replicas.map((replica) => rowsOf(replica, 'items')));
    expect(new Set(rows).size).toBe(1);
    expect(replicas.map((replica) => replica.status().quarantined)).toEqual([0, 0, 0]);
    const nats = await fixture.nats();
    const ports = { bus: nats.bus(), registry: nats.registry('shop'), clock: systemClock(), cluster: 'shop' };
    expect(await verifyCluster(ports)).toMatchObject({ outcome: 'equal' });
  });
});
