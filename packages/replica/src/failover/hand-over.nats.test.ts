import type { Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
/** So patient that nothing but a hand-over explains another primary. */
const failover = { leaseMs: 60_000, renewMs: 500, marginMs: 250, goneMs: 60_000 } as const;
const MODES = [{ mode: 'async' }, { mode: 'sync', acks: 'majority' }] as const;
const IDS = ['a', 'b', 'c'];

function write(replica: SqliteReplica, id: number): Promise<unknown> {
  return replica.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, replica.id] }]);
}

async function started(options: object): Promise<Map<string, SqliteReplica>> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const members = new Map<string, SqliteReplica>();
  for (const id of IDS) members.set(id, await fixture.replica(id, { topology, failover, ...options }));
  return members;
}

function get(members: ReadonlyMap<string, SqliteReplica>, id: string): SqliteReplica {
  const replica = members.get(id);
  if (replica === undefined) throw new Error(`no replica ${id}`);
  return replica;
}

function primaryOf(members: ReadonlyMap<string, SqliteReplica>): Promise<SqliteReplica> {
  return eventually('one is the primary', () =>
    [...members.values()].find((replica) => replica.status().lifecycle === 'primary'),
  );
}

describe.each(MODES)('a primary that closes in good order, %o', (update) => {
  it('I9: hands over first, so that a rolling restart loses nothing and fails no write elsewhere', async () => {
    const members = await started({ update });
    const acknowledged = new Set<number>();
    const failures: unknown[] = [];
    let next = 1;
    let longestMs = 0;
    let stopped = false;
    const writing = IDS.map(async (id) => {
      while (!stopped) {
        const replica = members.get(id);
        const number = next++;
        const sentMs = performance.now();
        await (replica === undefined ? Promise.resolve() : write(replica, number)).then(
          () => {
            if (replica !== undefined) acknowledged.add(number);
            longestMs = Math.max(longestMs, performance.now() - sentMs);
          },
          // What is asked of the one that closes is told so, and written nowhere.
          (error: unknown) => (error as { code: string }).code === 'CLOSED' || failures.push(error),
        );
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    for (let round = 0; round < 4; round++) {
      const primary = await primaryOf(members);
      const { id } = primary;
      if (update.mode === 'async') {
        await fixture.sqlWhenFree(id, `INSERT INTO t VALUES (${1_000_000 + round}, 'shell')`);
        acknowledged.add(1_000_000 + round);
      }
      members.delete(id);
      await primary.close();
      await primaryOf(members);
      members.set(id, await fixture.replica(id, { topology, failover, update }));
    }
    stopped = true;
    await Promise.all(writing);
    expect(failures).toEqual([]);
    const all = [...members.values()];
    await eventually('all have the same', async () => {
      const rows = await Promise.all(all.map((replica) => rowsOf(replica, 't')));
      return rows.every((one) => one === rows[0]);
    });
    const rows = await all[0]?.query<{ id: number }>('SELECT id FROM t', [], { integers: 'number' });
    expect(rows?.map(({ id }) => id).sort((x, y) => x - y)).toEqual([...acknowledged].sort((x, y) => x - y));
    for (const replica of all) expect(replica.status()).toMatchObject({ rescued: 0 });
    expect(longestMs).toBeLessThan(5000);
  }, 60_000);

  it('I9: or keeps the role when all end at once, and the last one does not wait for others', async () => {
    let members = await started({ update });
    await write(get(members, 'b'), 1);
    const closedMs = performance.now();
    await Promise.all([...members.values()].map((replica) => replica.close()));
    expect(performance.now() - closedMs).toBeLessThan(5000);
    members = new Map();
    for (const id of ['c', 'b', 'a'])
      members.set(id, await fixture.replica(id, { topology, failover: { ...failover }, update }));
    const primary = await primaryOf(members);
    await write(primary, 2);
    for (const id of IDS) if (id !== primary.id) await get(members, id).close();
    const lastMs = performance.now();
    await primary.close();
    expect(performance.now() - lastMs).toBeLessThan(2000);
    const again = await fixture.replica(primary.id, { topology, failover, update });
    await eventually('it is the primary again', () => again.status().role === 'primary');
  }, 60_000);
});

describe('a primary that closes', () => {
  it('keeps the role where failover is manual', async () => {
    const members = await started({ failover: { mode: 'manual' } });
    await get(members, 'a').close();
    const again = await fixture.replica('a', { topology, failover: { mode: 'manual' } });
    expect(again.status().epoch).toMatchObject({ primary: 'a', why: 'restart' });
  });

  it('I7: while it hands over to somebody else already, lets that come about', async () => {
    const members = await started({});
    const over = get(members, 'a').switchOver('c');
    const closed = get(members, 'a').close();
    await Promise.allSettled([over, closed]);
    members.delete('a');
    const primary = await primaryOf(members);
    await write(get(members, 'b'), 1);
    expect(primary.status().epoch).toMatchObject({ number: 2, why: 'switchover' });
  });

  it('does not hand over to one that closes as well', async () => {
    const members = await started({});
    const [b, a] = [get(members, 'b').close(), get(members, 'a').close()];
    await Promise.all([a, b]);
    expect(get(members, 'c').status().epoch).toMatchObject({ primary: 'c', why: 'switchover' });
  });
});
