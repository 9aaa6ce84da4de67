import { encodeBatch, registerMember, sleep, systemClock, type AppendResult } from '@antiphon/core';
import { streamName } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { expect, expectTypeOf, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import type { ChangeOf, CommittedChange } from './changes.js';

const SCHEMA = `
  CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);
  CREATE TABLE orders (id INTEGER PRIMARY KEY, "user" INTEGER);
`;

interface Tables {
  users: { id: number; name: string };
  orders: { id: number; user: number };
}

async function taken(changes: AsyncGenerator<CommittedChange>, count: number): Promise<CommittedChange[]> {
  const seen: CommittedChange[] = [];
  for await (const change of changes) if (seen.push(change) === count) break;
  return seen;
}

/** Of a member that nobody knows yet: these transactions, in this order. */
async function appendOfGhost(cluster: ClusterFixture, counters: readonly number[]): Promise<void> {
  const log = (await cluster.nats()).log(cluster.cluster);
  await log.open({ create: false });
  for (const counter of counters) {
    const time = Date.now() * 1000;
    const changes = [{ op: 'insert' as const, table: 0, row: [BigInt(counter), 'by a ghost'] }];
    const data = encodeBatch({
      ...{ kind: 'transactions', origin: 'ghost', firstCounter: counter, epoch: 0, time, context: {} },
      schemaVersion: 1,
      tables: [{ name: 'users', columns: ['id', 'name'], key: [0] }],
      transactions: [{ counter, time, changes }],
    });
    await new Promise((settled) => log.append({ origin: 'ghost', id: `g${counter}`, data }, settled));
  }
}

async function registerGhost(cluster: ClusterFixture): Promise<void> {
  const registry = (await cluster.nats()).registry(cluster.cluster);
  const record = { joinedAtMs: 1, engine: 'sqlite', version: '0', instance: 'g' };
  await registerMember(registry, { id: 'ghost', ...record });
}

it('begins at the call, whenever it is first read', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  await a.execute([{ sql: "INSERT INTO users VALUES (1, 'before')" }]);
  const changes = a.changes();
  await a.execute([{ sql: "INSERT INTO users VALUES (2, 'after the call')" }]);
  await a.caughtUp();
  expect(await taken(changes, 1)).toMatchObject([{ op: 'insert', after: { id: 2n } }]);
});

it('ends at once with return(), also while its next change is waited for, and leaves nothing', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  const manager = await (await cluster.nats()).connection.jetstreamManager();
  const consumers = async (): Promise<number> =>
    (await manager.streams.info(streamName(cluster.cluster))).state.consumer_count;
  const before = await consumers();
  const streams = Array.from({ length: 5 }, () => a.changes({ tables: ['users'] }));
  const waiting = streams.map((stream) => stream.next());
  await eventually('they read', async () => (await consumers()) >= before + streams.length);
  const end = { done: true, value: undefined };
  expect(await Promise.all(streams.map((stream) => stream.return()))).toEqual(streams.map(() => end));
  expect(await Promise.all(waiting)).toEqual(streams.map(() => end));
  await eventually('nobody reads for them', async () => (await consumers()) === before);
});

it("marks a transaction's last change, of those that are asked for, and goes on behind it", async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  const [all, ofUsers] = [a.changes(), a.changes({ tables: ['users'] })];
  await a.execute([
    { sql: "INSERT INTO users VALUES (1, 'x'), (2, 'y')" },
    { sql: 'INSERT INTO orders VALUES (1, 1)' },
  ]);
  await a.execute([{ sql: "UPDATE users SET name = 'z' WHERE id = 2" }]);
  const marks = (seen: readonly CommittedChange[]): unknown[] =>
    seen.map(({ table, op, last }) => [table, op, last]);
  const seen = await taken(all, 4);
  expect(marks(seen)).toEqual([
    ['users', 'insert', false],
    ['users', 'insert', false],
    ['orders', 'insert', true],
    ['users', 'update', true],
  ]);
  expect(marks(await taken(ofUsers, 3))).toEqual([
    ['users', 'insert', false],
    ['users', 'insert', true],
    ['users', 'update', true],
  ]);
  for (const [index, { cursor }] of seen.slice(0, 3).entries())
    expect(await taken(a.changes({ from: cursor }), 3 - index)).toEqual(seen.slice(index + 1));
});

it.each(['primary-replica', 'multi-primary'] as const)(
  'goes on behind each change of a synchronous group: %s',
  async (mode) => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const update = { mode: 'sync', minInSync: 1, acks: 'local' } as const;
    const topology = mode === 'multi-primary' ? { mode } : ({ mode, primary: 'a' } as const);
    const a = await cluster.replica('a', { topology, update });
    const changes = a.changes();
    const [count, rows] = [12, "(?1, 'x'), (?1 + 100, 'y')"];
    await Promise.all(
      Array.from({ length: count }, (_, n) =>
        a.execute([{ sql: `INSERT INTO users VALUES ${rows}`, params: [n] }]),
      ),
    );
    const seen = await taken(changes, 2 * count);
    const groups = new Set(seen.map(({ seq }) => seq));
    expect(groups.size).toBeLessThan(count);
    expect(seen.filter(({ last }) => last)).toHaveLength(count);
    for (const [index, { cursor }] of seen.slice(0, -1).entries()) {
      const rest = seen.slice(index + 1);
      expect(await taken(a.changes({ from: cursor }), rest.length), `behind ${index}`).toEqual(rest);
    }
  },
);

it('passes over a group that no replica applies, though nobody has kept a verdict on it', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const update = { mode: 'sync', minInSync: 1, acks: 'local' } as const;
  const a = await cluster.replica('a', { topology: { mode: 'multi-primary' }, update });
  const changes = a.changes();
  await a.execute([{ sql: "INSERT INTO users VALUES (1, 'x')" }]);
  const log = (await cluster.nats()).log('shop');
  const group = await log.lastOf('a');
  const copied = { origin: 'stranger', id: 'stranger-1', data: group?.data ?? new Uint8Array(0) };
  const stored = await new Promise<AppendResult>((settled) => log.append(copied, settled));
  expect(stored.type).toBe('stored');
  await a.execute([{ sql: "INSERT INTO users VALUES (2, 'y')" }]);
  expect(await taken(changes, 2)).toMatchObject([{ after: { id: 1n } }, { after: { id: 2n } }]);
  expect(a.status().quarantined).toBe(1);
});

it('shows what was quarantined and is applied later, in the order of its origin', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a', { topology: { mode: 'multi-primary' } });
  const changes = a.changes({ integers: 'number' });
  await appendOfGhost(cluster, [2, 1]);
  await eventually('both are quarantined', () => a.status().quarantined === 2);
  await a.execute([{ sql: "INSERT INTO users VALUES (10, 'x')" }]);
  expect(await changes.next()).toMatchObject({ value: { after: { id: 10 } } });
  await registerGhost(cluster);
  for (let round = 0; round < 2; round++) await a.quarantine.retry();
  await a.execute([{ sql: "INSERT INTO users VALUES (11, 'y')" }]);
  const seen = await taken(changes, 3);
  expect(seen.map(({ after }) => after?.['id'])).toEqual([1, 2, 11]);
});

it('waits for NATS when it is to read again what was applied later', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a', { topology: { mode: 'multi-primary' } });
  const changes = a.changes({ integers: 'number' });
  await appendOfGhost(cluster, [1]);
  await eventually('it is quarantined', () => a.status().quarantined === 1);
  await a.execute([{ sql: "INSERT INTO users VALUES (10, 'x')" }]);
  expect(await changes.next()).toMatchObject({ value: { after: { id: 10 } } });
  await registerGhost(cluster);
  await a.quarantine.retry();
  await eventually('it is applied', () => a.status().vector['ghost'] === 1);
  await cluster.server.kill();
  await eventually('it notices', () => a.status().connection !== 'connected');
  const next = changes.next();
  await sleep(systemClock(), 1500);
  await cluster.server.restart();
  expect(await next).toMatchObject({ value: { after: { id: 1 } } });
  await changes.return();
});

it('gives integers as numbers when asked to, and never a rounded one', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  await a.execute([{ sql: "INSERT INTO users VALUES (1, 'x')" }]);
  await a.execute([{ sql: "INSERT INTO users VALUES (9007199254740993, 'y')" }]);
  const numbers = { integers: 'number' } as const;
  const [small] = await taken(a.changes({ from: 'beginning', ...numbers }), 1);
  expect(JSON.parse(JSON.stringify(small))).toMatchObject({ key: { id: 1 }, after: { id: 1, name: 'x' } });
  await expect(taken(a.changes({ from: 'beginning', ...numbers }), 2)).rejects.toMatchObject({
    code: 'BAD_OPTION',
    message: expect.stringContaining('users.id') as string,
  });
  const users = await a.query<Tables['users']>('SELECT * FROM users WHERE id = 1', [], numbers);
  expect(users[0]?.id).toBe(1);
  await expect(a.query('SELECT max(id) AS top FROM users', [], numbers)).rejects.toMatchObject({
    code: 'BAD_OPTION',
    message: expect.stringContaining('top') as string,
  });
  await expect(a.query('SELECT 1', [], { integers: 'string' as never })).rejects.toMatchObject({
    code: 'BAD_OPTION',
  });
  expect(() => a.changes({ integers: 'string' as never })).toThrow(
    expect.objectContaining({ code: 'BAD_OPTION' }) as Error,
  );
});

it('knows the rows of the tables that it is told about', () => {
  const name = (change: ChangeOf<Tables>): string | number => {
    if (change.table === 'users') {
      expectTypeOf(change.key.id).toEqualTypeOf<number | undefined>();
      return change.op === 'delete' ? change.before.name : change.after.name;
    }
    expectTypeOf(change).toEqualTypeOf<CommittedChange<Tables['orders'], 'orders'>>();
    return change.after?.user ?? change.before?.user ?? 0;
  };
  expect(name).toBeTypeOf('function');
});
