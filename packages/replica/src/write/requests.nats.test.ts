import {
  AntiphonError,
  type AppendRequest,
  type Clock,
  type Log,
  systemClock,
  type Topology,
} from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { v7 } from 'uuid';
import { afterEach, describe, expect, it } from 'vitest';
import { newId } from '../config/ids.js';
import { changed } from '../testing/changed.js';
import { ClusterFixture, count, rowsOf } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const fast = { topology, failover: { mode: 'manual' } } as const;
const slow = { ...fast, update: { mode: 'async', intervalMs: 3_600_000 } } as const;
const insert = (id: number) => [{ sql: 'INSERT INTO t VALUES (?)', params: [id] }];
const REQUESTS = '_antiphon_requests';

async function start(): Promise<void> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
}

describe('requests are remembered', () => {
  it('only those with an id; in a table that no user sees', async () => {
    await start();
    const a = await fixture.replica('a', { ...fast, tables: ['t'] });
    const b = await fixture.replica('b', { ...fast, tables: ['t'] });
    await a.execute(insert(1));
    await a.transaction((tx) => tx.run('INSERT INTO t VALUES (2)'));
    expect(await count(a, REQUESTS)).toBe(0);
    await a.execute(insert(3), { requestId: 'one' });
    await b.execute(insert(4));
    await eventually('b has them', async () => (await count(b, REQUESTS)) === 2);
    for (const replica of [a, b]) {
      const seen: string[] = [];
      for await (const change of replica.changes({ from: 'beginning' })) {
        expect(change.last).toBe(true);
        seen.push(`${change.table}:${String(change.after?.['id'])}`);
        if (seen.length === 4) break;
      }
      expect(seen).toEqual(['t:1', 't:2', 't:3', 't:4']);
      expect(() => replica.changes({ tables: [REQUESTS] })).toThrow(
        /does not replicate .* It replicates t\. Correct the name\.$/,
      );
      expect(replica.status().leftOut ?? []).toEqual([]);
    }
    await expect(a.execute([{ sql: `DELETE FROM ${REQUESTS}` }])).rejects.toMatchObject({ code: 'BAD_SQL' });
    await b.close();
    const again = await fixture.replica('b', { ...fast, tables: ['t'] });
    expect(await again.execute(insert(3), { requestId: 'one' })).toMatchObject({ repeated: true });
    // Whoever joins later has them as well, also with tables of its own that are alike.
    fixture.sql('c', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const c = await fixture.replica('c', fast);
    await c.caughtUp();
    expect(await rowsOf(c, REQUESTS)).toBe(await rowsOf(a, REQUESTS));
  });

  it('I8: also where only a repetition has no answer: the id that is told is that of the request', async () => {
    await start();
    let lose = false;
    const log = (real: Log): Log =>
      changed(real, {
        append: (request: AppendRequest, settle) => {
          if (!lose || request.origin !== 'a') return real.append(request, settle);
          settle({ type: 'unknown', error: new AntiphonError('LOG_UNAVAILABLE', 'It is away.') });
        },
      });
    const sync = { ...fast, update: { mode: 'sync', acks: 'logged' } } as const;
    const a = await fixture.replicaWith({ log }, 'a', sync);
    await a.execute(insert(1), { requestId: 'pay-1' });
    lose = true;
    const again = a.execute(insert(1), { requestId: 'pay-1', timeoutMs: 700 });
    await expect(again).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', id: 'pay-1' });
    lose = false;
    expect(await a.outcome('pay-1')).toMatchObject({ outcome: 'committed' });
    expect(await a.execute(insert(1), { requestId: 'pay-1' })).toMatchObject({ repeated: true });
  });

  it('and forgotten after an hour, when no repetition is taken any more', async () => {
    await start();
    const clock: Clock = { ...systemClock(), setTimer: hurried(systemClock()) };
    const a = await fixture.replicaWith({ clock }, 'a', fast);
    await a.execute(insert(1), { requestId: 'new' });
    const rows = Array.from({ length: 2500 }, (_, index) => `('old ${index}', ${index}, '[]')`);
    await fixture.sqlWhenFree('a', `INSERT INTO ${REQUESTS} VALUES ${rows.join(', ')}`);
    await eventually('only the new one is left', async () => (await count(a, REQUESTS)) === 1);
    const late = v7({ msecs: Date.now() - 3_700_000 });
    await expect(a.execute(insert(2), { requestId: late })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringContaining('62 minutes ago') as string,
    });
    expect(await count(a, 't')).toBe(1);
  });

  it('for a bounded time, also where the id names a time that is far ahead', async () => {
    await start();
    const a = await fixture.replica('a', fast);
    const requestId = 'ffffffff-ffff-7000-8000-000000000000';
    await a.execute(insert(1), { requestId });
    expect(await a.execute(insert(1), { requestId })).toMatchObject({ repeated: true });
    const [row] = await a.query<{ at: number }>(`SELECT at FROM ${REQUESTS}`, [], { integers: 'number' });
    expect(row?.at).toBeGreaterThan(Date.now());
    expect(row?.at).toBeLessThanOrEqual(Date.now() + 600_000);
  });

  it('I12: the session of a repetition goes on where its note is undone and the write is not', async () => {
    await start();
    let lose = false;
    const lost = new AntiphonError('LOG_UNAVAILABLE', 'Lost on its way.', { retriable: true });
    const log = (real: Log): Log =>
      changed(real, {
        append: (request: AppendRequest, settle) => {
          if (!lose || request.origin !== 'a') return real.append(request, settle);
          setTimeout(() => settle({ type: 'unknown', error: lost }), 100);
        },
      });
    const a = await fixture.replicaWith({ log }, 'a', fast);
    const b = await fixture.replica('b', fast);
    const first = await a.execute(insert(1), { requestId: 'order-1' });
    await eventually('it is there', async () => (await count(b, 't')) === 1);
    lose = true;
    const again = await a.execute(insert(1), { requestId: 'order-1' });
    expect(again).toMatchObject({ repeated: true, position: { vector: { a: first.id?.counter } } });
    await b.takeOver();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    for (const replica of [a, b])
      expect(
        await replica.query('SELECT id FROM t', [], { consistency: 'session', after: again.position }),
      ).toEqual([{ id: 1n }]);
    expect((await a.rescue.list()).transactions).toEqual([]);
  });

  it('I8: a repetition that is undone takes nothing with it, and says nothing of the write', async () => {
    await start();
    const a = await fixture.replica('a', fast);
    const b = await fixture.replica('b', slow);
    const c = await fixture.replica('c', fast);
    const first = await a.execute(insert(1), { requestId: 'one' });
    for (const replica of [b, c])
      await eventually('it is there', async () => (await count(replica, 't')) === 1);
    await b.takeOver();
    const again = await c.execute(insert(1), { requestId: 'one' });
    expect(again).toMatchObject({ repeated: true, value: [1] });
    expect(again).not.toHaveProperty('id');
    await c.takeOver();
    await eventually('b follows', () => b.status().lifecycle === 'following');
    expect(await b.rescue.list()).toMatchObject({ transactions: [], kept: 0 });
    for (const replica of [a, b, c]) {
      expect(await replica.outcome('one')).toMatchObject({ outcome: 'committed' });
      const { origin, counter } = first.id ?? { origin: '', counter: 0 };
      expect(await replica.outcome(`${origin}:${counter}`)).toMatchObject({ outcome: 'committed' });
    }
  });

  it('I8: not where what they wrote was rewound: then it is written again', async () => {
    await start();
    const a = await fixture.replica('a', slow);
    const b = await fixture.replica('b', slow);
    const requestId = newId();
    await a.execute(insert(1), { requestId });
    await b.takeOver();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    expect(await count(a, 't')).toBe(0);
    const written = await a.execute(insert(1), { requestId });
    expect(written).toMatchObject({ id: { origin: 'b' } });
    expect(written.repeated).toBeUndefined();
    expect(await a.execute(insert(1), { requestId })).toMatchObject({ repeated: true });
    expect(await count(b, 't')).toBe(1);
  });

  it('and refused where nothing is remembered, or the id is none', async () => {
    await start();
    const a = await fixture.replica('a', { topology });
    await expect(a.execute(insert(1), { requestId: newId() })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    for (const requestId of ['', 'x'.repeat(201), 'line\nbreak', 'order:42', 7 as unknown as string])
      await expect(a.execute(insert(1), { requestId })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const options = { requestId: newId() } as object;
    await expect(a.transaction(() => 1, options)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect((await fixture.replica('b', { topology })).execute(insert(1))).rejects.toMatchObject({
      code: 'NOT_WRITABLE',
    });
  });
});

/** A minute is a moment. */
function hurried(real: Clock): Clock['setTimer'] {
  return (delayMs, fire) => real.setTimer(delayMs === 60_000 ? 50 : delayMs, fire);
}
