import { describe, expect, it } from 'vitest';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';
import type { UpdateOptions } from '@antiphon/core';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)';
const MAJORITY: UpdateOptions = { mode: 'sync', acks: 'majority', minInSync: 1 };

async function started(
  cluster: ClusterFixture,
  ids: readonly string[],
  update: UpdateOptions,
): Promise<readonly SqliteReplica[]> {
  cluster.sql(ids[0] ?? '', SCHEMA);
  const replicas: SqliteReplica[] = [];
  for (const id of ids) replicas.push(await cluster.replica(id, { update }));
  return replicas;
}

let row = 0;
const write = (replica: SqliteReplica, timeoutMs = 3000) =>
  replica.execute([{ sql: 'INSERT INTO t VALUES (?, 0)', params: [++row] }], { timeoutMs });

const membersOf = (replica: SqliteReplica): readonly string[] =>
  [replica.id, ...replica.status().members.map(({ id }) => id)].sort();

describe('a member that is gone', () => {
  it('is counted by no majority once it was removed, however many were replaced', async () => {
    await using cluster = await ClusterFixture.start();
    const all = [...(await started(cluster, ['r1', 'r2', 'r3'], MAJORITY))];
    for (let n = 4; n <= 7; n++) {
      const fresh = await cluster.replica(`r${n}`, { update: MAJORITY });
      const old = all.shift() as SqliteReplica;
      all.push(fresh);
      await old.close();
      const writer = all[0] as SqliteReplica;
      const removal = await writer.removeMember(old.id);
      const left = all.map(({ id }) => id).sort();
      expect(removal).toMatchObject({ id: old.id, members: left, sync: { known: left } });
      for (const replica of all) {
        const { acks } = await write(replica);
        expect(acks).toMatchObject({ level: 'majority', reached: true });
        expect(acks?.missing).not.toContain(old.id);
      }
      await eventually('nobody shows it', () =>
        all.every((replica) => replica.status().sync?.known.includes(old.id) === false),
      );
    }
  });

  it('does not count although it acknowledged before, and counts again when it has come back', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b, c] = (await started(cluster, ['a', 'b', 'c'], MAJORITY)) as [
      SqliteReplica,
      SqliteReplica,
      SqliteReplica,
    ];
    await write(c);
    await c.close();
    await a.removeMember('c');
    // Again: nothing changes, nothing fails.
    await a.removeMember('c');
    await b.close();
    await expect(write(a, 500)).rejects.toMatchObject({
      code: 'NOT_IN_SYNC',
      context: { inSync: ['a'], needed: 2 },
    });
    // With nothing in its file, as after the loss of a disk.
    const back = await cluster.replica('c', { update: MAJORITY, file: cluster.file('c-anew') });
    await eventually('it is known again', () => a.status().sync?.known.includes('c') === true);
    expect((await write(a)).acks).toMatchObject({ by: ['a', 'c'], missing: ['b'], reached: true });
    await eventually('it is shown', () => membersOf(a).join() === 'a,b,c');
    expect(await rowsOf(back, 't')).toBe(await rowsOf(a, 't'));
  });

  it('leaves writes that nobody can decide any more, and whoever asks is told how to decide', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b, c] = (await started(cluster, ['a', 'b', 'c'], MAJORITY)) as [
      SqliteReplica,
      SqliteReplica,
      SqliteReplica,
    ];
    const lost = 'b:999~lost';
    const reason = (text: string): unknown => expect.stringContaining(text);
    await b.close();
    expect(await c.outcome(lost)).toMatchObject({ outcome: 'unknown', reason: reason('only b can tell') });
    await a.removeMember('b');
    for (const replica of [a, c]) {
      const outcome = await replica.outcome(lost);
      expect(outcome).toMatchObject({ outcome: 'unknown', reason: reason('was removed from cluster') });
      expect(outcome.reason).toContain('Make sure that no process of b is running, then ask again');
    }
  });

  it('is not waited for longer than asked, whatever does not answer', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b] = (await started(cluster, ['a', 'b'], MAJORITY)) as [SqliteReplica, SqliteReplica];
    for (const timeoutMs of [Number.NaN, -1, 0]) {
      const bad = { code: 'BAD_OPTION', message: expect.stringContaining('timeoutMs') as unknown };
      await expect(a.removeMember('b', { timeoutMs })).rejects.toMatchObject(bad);
      await expect(a.caughtUp({ timeoutMs })).rejects.toMatchObject(bad);
      await expect(a.outcome('a:999~x', { timeoutMs })).rejects.toMatchObject(bad);
    }
    await b.close();
    await cluster.server.stop();
    const startedMs = performance.now();
    await expect(a.removeMember('b', { timeoutMs: 300 })).rejects.toMatchObject({
      code: expect.stringMatching(/^(TIMEOUT|LOG_UNAVAILABLE)$/) as unknown,
    });
    expect(performance.now() - startedMs).toBeLessThan(1000);
  });

  it('must not run, unless it is removed by force: it ends then', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b] = (await started(cluster, ['a', 'b', 'c'], MAJORITY)) as [SqliteReplica, SqliteReplica];
    await expect(a.removeMember('b')).rejects.toMatchObject({ code: 'MEMBER_RUNNING' });
    expect(a.status().sync?.known).toEqual(['a', 'b', 'c']);
    await a.removeMember('b', { force: true });
    expect(await b.ended).toMatchObject({ code: 'MEMBER_REMOVED' });
    await expect(write(b)).rejects.toMatchObject({ code: 'CLOSED' });
    expect((await write(a)).acks).toMatchObject({ by: ['a', 'c'], missing: [], reached: true });
    expect(a.status().sync?.known).toEqual(['a', 'c']);
  });

  it('cannot be nobody, this replica, or the primary', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const options = { update: MAJORITY, topology: { mode: 'primary-replica', primary: 'a' } } as const;
    const a = await cluster.replica('a', options);
    const b = await cluster.replica('b', options);
    for (const [replica, id] of [
      [a, 'nobody'],
      [a, 'not an id'],
      [a, 'a'],
      [b, 'a'],
    ] as const) {
      await expect(replica.removeMember(id, { force: true })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    }
  });

  it('keeps no messages from being pruned, and what it wrote is applied by who comes later', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b] = (await started(cluster, ['a', 'b'], { mode: 'async' })) as [SqliteReplica, SqliteReplica];
    await write(b);
    await b.caughtUp();
    await b.close();
    await write(a);
    await eventually('it is published', () => a.status().outbox.unpublished === 0);
    expect(a.status().outbox.messages).toBeGreaterThan(0);
    expect(await a.removeMember('b')).toEqual({ id: 'b', members: ['a'] });
    await eventually('it is pruned', () => a.status().outbox.messages === 0);
    const later = await cluster.replica('c', { update: { mode: 'async' } });
    await later.caughtUp();
    expect(later.status()).toMatchObject({ quarantined: 0 });
    expect(await rowsOf(later, 't')).toBe(await rowsOf(a, 't'));
    const back = await cluster.replica('b', { update: { mode: 'async' } });
    await write(back);
    await eventually('it is there', async () => (await rowsOf(later, 't')) === (await rowsOf(back, 't')));
    await eventually('all know each other', () =>
      [a, later, back].every((replica) => membersOf(replica).join() === 'a,b,c'),
    );
  });
});

describe.each([{ mode: 'async' }, { mode: 'sync', acks: 'majority' }] as const)(
  'a primary that is gone, %o',
  (update) => {
    it('I9: is removed once another one has taken over, and joins again as a follower', async () => {
      await using cluster = await ClusterFixture.start();
      cluster.sql('a', SCHEMA);
      const options = {
        ...{ update, failover: { mode: 'manual' } as const },
        topology: { mode: 'primary-replica', primary: 'a' } as const,
      };
      const a = await cluster.replica('a', options);
      const b = await cluster.replica('b', options);
      const c = await cluster.replica('c', options);
      await write(a);
      await a.close();
      await expect(b.removeMember('a')).rejects.toMatchObject({
        code: 'BAD_OPTION',
        message: expect.stringContaining('antiphon failover') as string,
      });
      await b.takeOver();
      expect(await c.removeMember('a')).toMatchObject({ id: 'a', members: ['b', 'c'] });
      await write(c);
      // What the log has not got yet would go to the ledger of b.
      await eventually('c has it', async () => (await rowsOf(c, 't')).split('},').length === 2);
      // Also while another one takes over.
      const [again] = await Promise.all([cluster.replica('a', options), c.takeOver()]);
      await eventually('all know', () => [again, b].every((one) => one.status().epoch?.primary === 'c'));
      await write(again);
      await eventually('all have the same', async () => {
        const rows = await Promise.all([again, b, c].map((replica) => rowsOf(replica, 't')));
        return rows.every((one) => one === rows[0] && one.split('},').length === 3);
      });
      expect(again.status()).toMatchObject({ role: 'replica', epoch: { primary: 'c' }, rescued: 0 });
      await eventually('it is a member', () => membersOf(b).join() === 'a,b,c');
    });
  },
);
