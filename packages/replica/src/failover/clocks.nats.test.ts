import { systemClock, type Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { changed } from '../testing/changed.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const HOUR_MS = 3_600_000;
const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const failover = { leaseMs: 900, renewMs: 200, marginMs: 100, probeMs: 50, goneMs: 300 } as const;
const options = { topology, failover, limits: { beatMs: 200 } } as const;
const MODES = [{ mode: 'async' }, { mode: 'sync', acks: 1 }] as const;

function write(replica: SqliteReplica, id: number): Promise<unknown> {
  return replica.execute([{ sql: `INSERT INTO t VALUES (?, 'x')`, params: [id] }], { timeoutMs: 20_000 });
}

/** By so much each wall clock is wrong; what is measured with the other clock is right. */
let aheadMs: Record<string, number>;

function start(
  id: string,
  update: (typeof MODES)[number],
  own: { readonly failoverPriority?: number } = {},
): Promise<SqliteReplica> {
  const clock = changed(systemClock(), { nowMs: () => Date.now() + (aheadMs[id] ?? 0) });
  return fixture.replicaWith({ clock }, id, { ...options, ...own, update });
}

describe.each(MODES)('a clock that is an hour wrong, %o', (update) => {
  it('I7: behind, moves no primary, and hinders no takeover', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    aheadMs = { a: -HOUR_MS, b: -HOUR_MS };
    const a = await start('a', update);
    const b = await start('b', update);
    // Nobody takes the place of b while it is too busy to answer.
    const c = await start('c', update, { failoverPriority: 0 });
    await write(b, 1);
    await new Promise((resolve) => setTimeout(resolve, 3 * failover.leaseMs));
    expect(c.status().epoch).toMatchObject({ number: 1, primary: 'a' });
    await a.close();
    await eventually('b has taken over', () => b.status().role === 'primary');
    await write(c, 2);
    await eventually('c has it', async () => (await rowsOf(c, 't')).includes('2n'));
    await c.takeOver();
    await eventually('b follows', () => b.status().role === 'replica');
    await write(b, 3);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('3n'));
    expect(c.status().epoch).toMatchObject({ number: 3 });
    expect(b.status().alarms.filter(({ name }) => !name.includes('clock'))).toEqual([]);
  }, 60_000);

  it('I7: ahead, makes a replica no candidate, and a primary takes no writes until it is set', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    aheadMs = { b: HOUR_MS };
    const a = await start('a', update);
    const b = await start('b', update);
    const c = await start('c', update);
    await write(b, 1);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('1n'));
    await a.close();
    await eventually('c has taken over', () => c.status().role === 'primary');
    expect(c.status().epoch).toMatchObject({ number: 2 });
    await write(b, 2);
    await c.close();
    // Nobody else is there.
    await new Promise((resolve) => setTimeout(resolve, 3 * failover.leaseMs));
    expect(b.status()).toMatchObject({ role: 'replica', epoch: { number: 2 } });
    aheadMs['c'] = HOUR_MS;
    const again = await start('c', update);
    await eventually('it has no lease', () => again.status().lifecycle === 'suspended');
    const saysWhy = (): boolean =>
      again.status().alarms.some(({ name, message }) => name === 'lease' && message.includes('clock'));
    await eventually('it says why', saysWhy, 5000);
    // By hand it can be done, and helps nobody.
    await b.takeOver();
    await expect(write(b, 3)).rejects.toMatchObject({ code: 'CLOCK_SKEW' });
    aheadMs['b'] = 0;
    await write(b, 4);
    await eventually('c has it', async () => (await rowsOf(again, 't')).includes('4n'));
    expect(b.status()).toMatchObject({ role: 'primary', epoch: { number: 3 + 1 } });
  }, 90_000);
});
