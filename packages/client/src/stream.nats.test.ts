import { AntiphonError, sleep, systemClock } from '@antiphon/core';
import { newId } from '@antiphon/replica';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from './client.js';
import { ClusterClient } from './cluster-client.js';
import { connect } from './connect.js';
import type { ReplicaRef } from './replica-ref.js';
import { rowsOfReplica, type StreamSource } from './rows-of-replica.js';

const ROWS = 20_000;
const SCHEMA = `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO t SELECT i, 'row ' || i FROM n`;
const ALL = 'SELECT id, v FROM t ORDER BY id';
const NUMBER = { integers: 'number' } as const;

let cluster: TestCluster;
let client: Client;

beforeAll(async () => {
  cluster = await TestCluster.start({
    ...{ schema: SCHEMA, replicas: ['a', 'b'] },
    options: { topology: { mode: 'primary-replica', primary: 'a' }, limits: { beatMs: 100 } },
  });
  await cluster.caughtUp();
  client = await connect({
    ...{ cluster: cluster.name, servers: cluster.broker.url! },
  });
}, 60_000);
afterAll(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

const failure = (thrown: unknown): AntiphonError => {
  if (thrown instanceof AntiphonError) return thrown;
  throw new Error('It did not fail as it should.', { cause: thrown });
};

/** What a loop over it ends with, after so many rows. */
async function ended(rows: AsyncIterable<unknown>): Promise<{ count: number; error?: AntiphonError }> {
  let count = 0;
  try {
    for await (const _ of rows) count++;
    return { count };
  } catch (error) {
    return { count, error: failure(error) };
  }
}

/** Whether what is written can go into the database file: an open snapshot forbids it. */
async function isFree(id: string): Promise<boolean> {
  await client.execute([{ sql: "UPDATE t SET v = v || '.' WHERE id = 1" }]);
  await cluster.caughtUp();
  const db = new DatabaseSync(cluster.file(id), { timeout: 0 });
  try {
    return db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.['busy'] === 0;
  } finally {
    db.close();
  }
}

describe('a stream of rows over NATS', () => {
  it('I10: gives every row once, in order, of one moment', async () => {
    let expected = 0;
    for await (const { id, v } of client.stream<{ id: number; v: string }>(ALL, [], NUMBER)) {
      expected++;
      if (id !== expected || !v.startsWith(`row ${id}`)) expect({ id, v }).toEqual(expected);
      if (id === 1) await client.execute([{ sql: 'UPDATE t SET v = ? WHERE id = ?', params: ['new', ROWS] }]);
    }
    expect(expected).toBe(ROWS);
    await cluster.caughtUp();
    const options = { after: (await client.read('SELECT 1')).position!, ...NUMBER };
    const rows: unknown[] = [];
    for await (const row of client.stream(`${ALL} LIMIT 2 OFFSET ${ROWS - 2}`, [], options)) rows.push(row);
    expect(rows).toEqual([
      { id: ROWS - 1, v: `row ${ROWS - 1}` },
      { id: ROWS, v: 'new' },
    ]);
    expect(await ended(client.stream('SELECT 1 WHERE 0'))).toEqual({ count: 0 });
  });

  it('ends at the replica with the loop, and keeps no snapshot', async () => {
    for await (const _ of client.stream(ALL, [], { prefer: 'primary' })) {
      expect(await isFree('a')).toBe(false);
      break;
    }
    await eventually('the snapshot is gone', () => isFree('a'));
    for (let n = 0; n < 6; n++) {
      for await (const _ of client.stream(ALL, [], { prefer: 'primary' })) break;
    }
    await eventually('all are gone', () => isFree('a'));
  });

  it('is refused with what is wrong, as a query is', async () => {
    expect((await ended(client.stream('SELECT nothing FROM t'))).error?.code).toBe('BAD_SQL');
    expect((await ended(client.stream('DELETE FROM t'))).error?.message).toMatch(/only reads/);
    expect(() => client.stream(ALL, [], { idleMs: 0 })).toThrow(/idleMs/);
    expect(() => client.stream(ALL, [], { timeoutMs: 1e9 })).toThrow(/a day/);
    expect(() => client.stream(ALL, [], { maxRows: 5 } as never)).toThrow(/maxRows/);
    expect((await ended(client.stream(5 as never))).error?.message).toMatch(/needs a statement|`sql`/);
  });

  it('says so when its time is up, and when its reader was away', async () => {
    const slow = await ended(
      (async function* () {
        for await (const row of client.stream(ALL, [], { timeoutMs: 500, prefer: 'primary' })) {
          yield row;
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      })(),
    );
    expect(slow.error?.code).toBe('TIMEOUT');
    expect(slow.error?.message).toContain('took longer than 500 ms');
    let count = 0;
    const away = async (): Promise<void> => {
      for await (const _ of client.stream(ALL, [], { idleMs: 300, prefer: 'primary' })) {
        count++;
        if (count === 1) await new Promise((resolve) => setTimeout(resolve, 1500));
      }
    };
    const error = failure(await away().catch((thrown: unknown) => thrown));
    expect(error.code).toBe('TIMEOUT');
    expect(error.message).toContain('Nobody asked for the next row');
    expect(count).toBeLessThan(ROWS);
    await eventually('the snapshot is gone', () => isFree('a'));
  });

  it('goes on while its reader takes a row now and then, however long a piece takes', async () => {
    let count = 0;
    const options = { idleMs: 600, prefer: 'primary' } as const;
    for await (const _ of client.stream(`${ALL} LIMIT 9000`, [], options)) {
      count++;
      // Pauses of a piece, and not of a row, are longer than `idleMs`.
      if (count % 400 === 0) await new Promise((resolve) => setTimeout(resolve, 150));
    }
    expect(count).toBe(9000);
  });

  it('ends with the caller’s signal and with the client', async () => {
    const ending = new AbortController();
    let seen = 0;
    const until = async (): Promise<void> => {
      for await (const _ of client.stream(ALL, [], { signal: ending.signal }))
        if (++seen === 10) ending.abort();
    };
    expect(failure(await until().catch((thrown: unknown) => thrown)).code).toBe('ABORTED');
    expect(seen).toBe(10);
    const other = await connect({ cluster: cluster.name, servers: cluster.broker.url! });
    const rows = other.stream(ALL);
    await rows.next();
    await other.close();
    const rest = await ended(rows);
    expect(rest.error?.code).toBe('CLOSED');
    expect(() => other.stream(ALL)).toThrow(/closed/);
    await eventually('the snapshot is gone', async () => (await isFree('a')) && (await isFree('b')));
  });

  it('ends with an error where an answer was lost on the way, long before its time is up', async () => {
    await using admin = await ClusterClient.open({
      ...{ cluster: cluster.name, nats: { servers: [cluster.broker.url!] } },
    });
    const real = admin.replica('a');
    let pieces = 0;
    // The replica has sent it, and nobody gets it.
    const replica = {
      path: real.path,
      tell: (...told: Parameters<ReplicaRef['tell']>) => real.tell(...told),
      ask: async (...asked: Parameters<ReplicaRef['ask']>): Promise<unknown> => {
        const [, request, options] = asked;
        const answer = await real.ask(...asked);
        const isLost = (request as unknown as { type: string }).type === 'next' && ++pieces === 2;
        if (isLost) await sleep(systemClock(), 60_000, options?.signal);
        return answer;
      },
    } as unknown as ReplicaRef;
    const source: StreamSource = {
      ...{ replica: () => replica, silenceMs: 60_000 },
      table: { watch: () => () => undefined } as never,
      router: {
        read: async ({ ask }: { ask: (id: string, of: object) => Promise<unknown> }) => ({
          replica: 'a',
          value: await ask('a', {
            timeoutMs: 10_000,
            signal: new AbortController().signal,
            isLast: () => true,
          }),
        }),
      } as never,
    };
    const startedMs = performance.now();
    const { count, error } = await ended(
      rowsOfReplica(source, {
        ...{ sql: `${ALL} LIMIT 15000`, params: [], promise: {}, needs: {} as never, shape: {} },
        ...{ timeoutMs: 60_000, idleMs: 30_000, signal: new AbortController().signal },
      }),
    );
    expect(error).toMatchObject({ code: 'TIMEOUT', context: { replica: 'a' } });
    expect(error?.message).toContain('was lost on the way. Open it again');
    expect(count).toBeGreaterThan(0);
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    expect(await isFree('a')).toBe(true);
  });

  it('is nobody else’s, and answers rubbish with an error', async () => {
    await using admin = await ClusterClient.open({
      ...{ cluster: cluster.name, nats: { servers: [cluster.broker.url!] } },
    });
    const ask = (request: unknown): Promise<unknown> =>
      admin
        .replica('a')
        .ask('stream', request as never)
        .catch((thrown: unknown) => failure(thrown).code);
    const stream = newId();
    expect(await ask({ type: 'next', stream })).toBe('BAD_OPTION');
    for (const wrong of [undefined, 5, {}, { type: 'open', stream }, { type: 'open', stream: 'x', sql: ALL }])
      expect(await ask(wrong)).toBe('BAD_OPTION');
    const opened = await ask({ type: 'open', stream, sql: ALL, params: [] });
    expect(opened).toMatchObject({ columns: ['id', 'v'] });
    expect(await ask({ type: 'open', stream, sql: ALL, params: [] })).toBe('BAD_OPTION');
    await ask({ type: 'end', stream });
    expect(await ask({ type: 'next', stream })).toBe('BAD_OPTION');
    expect(await ask({ type: 'end', stream })).toEqual({ rows: [] });
  });

  it('reads rows as large as a message, and says which is larger', async () => {
    const blob = `SELECT hex(randomblob(400000)) AS v UNION ALL SELECT 'small'`;
    expect((await ended(client.stream(blob))).count).toBe(2);
    const { error } = await ended(client.stream('SELECT hex(randomblob(800000)) AS v'));
    expect(error?.code).toBe('MESSAGE_TOO_LARGE');
  });

  it('takes another replica where one has as many open as it may', async () => {
    const open: AsyncGenerator<unknown>[] = [];
    for (let n = 0; n < 4; n++) {
      const rows = client.stream(ALL, [], { prefer: 'primary' });
      await rows.next();
      open.push(rows);
    }
    expect((await ended(client.stream('SELECT 1', [], { prefer: 'any' }))).count).toBe(1);
    for (const rows of open) await rows.return(undefined);
  });

  it('I10: ends with an error when its replica goes away amid it, and never silently', async () => {
    const rows = client.stream(ALL, [], { prefer: 'replicas' });
    await rows.next();
    await cluster.replica('b').close();
    const { count, error } = await ended(rows);
    expect(error?.message).toMatch(/ended before its last row|closed/);
    expect(count).toBeLessThan(ROWS);
    expect((await ended(client.stream(ALL))).count).toBe(ROWS);
  });
});
