import { AntiphonError } from '@antiphon/core';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, it } from 'vitest';
import type { BalanceOptions } from './balance/balance-options.js';
import type { Client } from './client.js';
import { connect } from './connect.js';

const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)';
const topology = { mode: 'primary-replica', primary: 'a' } as const;
const SQL = 'SELECT count(*) AS n FROM t';
const NUMBER = { integers: 'number' } as const;

let cluster: TestCluster;
const clients: Client[] = [];
const locks: DatabaseSync[] = [];

afterEach(async () => {
  for (const lock of locks.splice(0)) lock.close();
  for (const client of clients.splice(0)) await client.close();
  await cluster[Symbol.asyncDispose]();
});

async function start(options: object = {}): Promise<void> {
  cluster = await TestCluster.start({
    ...{ schema, replicas: ['a', 'b', 'c'] },
    options: { topology, limits: { beatMs: 100 }, ...options },
  });
}

async function connected(balance: BalanceOptions = {}): Promise<Client> {
  const client = await connect({ cluster: cluster.name, servers: cluster.broker.url!, balance });
  clients.push(client);
  return client;
}

const insert = (id: number): { sql: string; params: [number] } => ({
  sql: "INSERT INTO t VALUES (?, 'x')",
  params: [id],
});

/** Who answers so many reads. */
async function answering(client: Client, reads: number): Promise<readonly string[]> {
  const replicas = new Set<string>();
  for (let n = 0; n < reads; n++) replicas.add((await client.read(SQL)).replica);
  return [...replicas].sort();
}

/** What is written there, or applied, waits. */
function lock(id: string): DatabaseSync {
  const database = new DatabaseSync(cluster.file(id), { timeout: 0 });
  locks.push(database);
  database.exec('BEGIN IMMEDIATE');
  return database;
}

describe('a client', () => {
  it('writes on the primary, and spreads its reads over the replicas', async () => {
    await start();
    const client = await connected();
    const { id, value } = await client.execute([insert(1), insert(2)]);
    expect(id?.origin).toBe('a');
    expect(value).toEqual([1, 1]);
    await cluster.caughtUp();
    expect(await client.query<{ n: number }>(SQL, [], NUMBER)).toEqual([{ n: 2 }]);
    const arrays = { ...NUMBER, rows: 'array' } as const;
    expect(await client.query('SELECT 1 AS n, 2 AS n', [], arrays)).toEqual([[1, 2]]);
    expect(await client.session().query('SELECT 1 AS n, 2 AS n', [], arrays)).toEqual([[1, 2]]);
    expect(await answering(client, 40)).toEqual(['b', 'c']);
    const any = await connected({ prefer: 'any' });
    expect(await answering(any, 60)).toEqual(['a', 'b', 'c']);
    const primary = await connected({ prefer: 'primary' });
    expect(await answering(primary, 10)).toEqual(['a']);
  });

  it('sends nothing to a replica that is drained, until it is resumed', async () => {
    await start();
    const client = await connected();
    cluster.replica('b').reads.drain();
    await eventually('the client knows', () => client.explain().replicas.length === 1);
    expect(await answering(client, 30)).toEqual(['c']);
    expect(client.explain().passedOver).toContainEqual({
      ...{ id: 'b', reason: 'drained', why: 'b is drained. `antiphon resume b` ends that.' },
    });
    cluster.replica('b').reads.resume();
    await eventually('the client knows', () => client.explain().replicas.length === 2);
    expect(await answering(client, 40)).toEqual(['b', 'c']);
  });

  it('reads on while replicas are killed, without an error, also from the primary alone', async () => {
    await start();
    const client = await connected();
    await client.execute([insert(1)]);
    await cluster.caughtUp();
    const counts = new Map<string, number>();
    let isOver = false;
    const readers = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        const { rows, replica } = await client.read<{ n: number }>(SQL, [], NUMBER);
        expect(rows).toEqual([{ n: 1 }]);
        counts.set(replica, (counts.get(replica) ?? 0) + 1);
      }
    });
    await eventually('both are read', () => counts.has('b') && counts.has('c'));
    await cluster.killReplica('b');
    counts.clear();
    await eventually('the other one is read', () => (counts.get('c') ?? 0) > 100);
    await cluster.killReplica('c');
    await eventually('the primary is read', () => (counts.get('a') ?? 0) > 100);
    await cluster.startReplica('b');
    counts.clear();
    await eventually('it is read again', () => (counts.get('b') ?? 0) > 100);
    isOver = true;
    await Promise.all(readers);
  });

  it('ends with the reason when nobody could serve a read in time', async () => {
    await start();
    const client = await connected();
    for (const id of ['a', 'b', 'c']) await cluster.killReplica(id);
    await expect(client.query(SQL, [], { timeoutMs: 600 })).rejects.toMatchObject({
      code: 'NO_ACTOR',
      retriable: true,
    });
    await expect(client.execute([insert(1)], { timeoutMs: 600 })).rejects.toMatchObject({ code: 'NO_ACTOR' });
  });

  it('is told what is wrong with a statement, once, and by one replica', async () => {
    await start();
    const client = await connected();
    await expect(client.query('SELECT nothing')).rejects.toMatchObject({ code: 'BAD_SQL' });
    await expect(client.execute([{ sql: 'INSERT INTO t VALUES (1)' }])).rejects.toMatchObject({
      code: 'BAD_SQL',
    });
    await expect(client.query('DELETE FROM t')).rejects.toBeInstanceOf(AntiphonError);
    expect(client.explain().replicas.map(({ circuit }) => circuit)).toEqual(['closed', 'closed']);
  });

  it('goes on elsewhere where a replica is behind what a read needs', async () => {
    await start();
    const client = await connected();
    const file = lock('b');
    const { position } = await client.execute([insert(1)]);
    for (let n = 0; n < 10; n++) {
      const { rows, replica } = await client.read(SQL, [], { after: position, ...NUMBER });
      expect({ rows, replica }).toEqual({ rows: [{ n: 1 }], replica: 'c' });
    }
    lock('c');
    const written = await client.execute([insert(2)]);
    const { rows, replica } = await client.read(SQL, [], { after: written.position, ...NUMBER });
    expect({ rows, replica }).toEqual({ rows: [{ n: 2 }], replica: 'a' });
    const bounded = await client.read(SQL, [], { maxLagMs: 1, ...NUMBER });
    expect(bounded).toMatchObject({ rows: [{ n: 2 }], replica: 'a' });
    file.exec('COMMIT');
  });

  it('asks the second replica as well where the first one is slow', async () => {
    await start();
    const client = await connected({ hedgeAfterMs: 30 });
    const slow =
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT count(*) AS n FROM n, (SELECT 1)';
    for (let n = 0; n < 3; n++) expect(await client.query(slow, [], NUMBER)).toEqual([{ n: 300_000 }]);
  });
});

describe('a session', () => {
  it('reads its own writes and never goes back, on whichever replicas, also in another client', async () => {
    await start({ topology: { mode: 'multi-primary' } });
    const client = await connected({ prefer: 'any' });
    const session = client.session();
    const strong = { consistency: 'strong' } as never;
    await expect(session.query(SQL, [], strong)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    expect(session.token).toBeUndefined();
    for (let id = 1; id <= 30; id++) {
      await session.execute([insert(id)]);
      expect(await session.query(SQL, [], NUMBER)).toEqual([{ n: id }]);
    }
    const token = JSON.parse(JSON.stringify(session.token)) as NonNullable<typeof session.token>;
    const other = (await connected({ prefer: 'any' })).session(token);
    for (let n = 0; n < 6; n++) expect(await other.query(SQL, [], NUMBER)).toEqual([{ n: 30 }]);
  });

  it('is told when a takeover has undone what it has seen', async () => {
    await start({ failover: { mode: 'manual' }, update: { mode: 'async', intervalMs: 3_600_000 } });
    const client = await connected({ prefer: 'primary' });
    const session = client.session();
    await session.execute([insert(1)]);
    expect(await session.query(SQL, [], NUMBER)).toEqual([{ n: 1 }]);
    await cluster.replica('b').takeOver();
    // The last primary shows it until it has read who has its place.
    await eventually('it is told', async () => {
      const code = await session.query(SQL).then(
        () => undefined,
        (error: unknown) => (error as AntiphonError).code,
      );
      return code === 'SESSION_LOST';
    });
  });
});

describe('a client of a cluster whose primary changes', () => {
  it.each([{ mode: 'async' }, { mode: 'sync', acks: 'majority' }] as const)(
    'writes and reads on over takeovers and switchovers, %o',
    { timeout: 60_000 },
    async (update) => {
      await start({ failover: { mode: 'manual' }, update });
      const client = await connected();
      let isOver = false;
      let written = 0;
      const writer = (async () => {
        const session = client.session();
        for (let id = 1; !isOver; id++) {
          try {
            await session.execute([insert(id)], { timeoutMs: 20_000 });
            written = id;
            const [row] = await session.query<{ found: number }>(
              'SELECT id AS found FROM t WHERE id = ?',
              [id],
              NUMBER,
            );
            expect(row).toEqual({ found: id });
          } catch (thrown) {
            // What only the last primary had is undone, and the session says so.
            if (update.mode !== 'async' || (thrown as AntiphonError).code !== 'SESSION_LOST') throw thrown;
            return;
          }
        }
      })();
      const strong = (async () => {
        let last = 0;
        while (!isOver) {
          const before = written;
          const [row] = await client.query<{ n: number }>(SQL, [], {
            consistency: 'strong',
            timeoutMs: 20_000,
            ...NUMBER,
          });
          if (update.mode === 'sync') expect(row?.n).toBeGreaterThanOrEqual(Math.max(before, last));
          last = row?.n ?? 0;
        }
      })();
      await eventually('it writes', () => written > 20);
      await cluster.replica('a').switchOver('b');
      await eventually('it writes on', () => written > 60);
      if (update.mode === 'sync') {
        await cluster.replica('c').takeOver();
        const before = written;
        await eventually('it writes on', () => written > before + 20);
      }
      isOver = true;
      await Promise.all([writer, strong]);
    },
  );
});
