import {
  type AppendResult,
  decodeBatches,
  encodeBatch,
  encodeEpochRecord,
  EPOCH_ORIGIN,
  type Topology,
  type TransactionId,
} from '@antiphon/core';
import { connectNats } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { newId } from '../config/ids.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const failover = { mode: 'manual' } as const;
/** What is written is sent when the test says so, by closing. */
const slow = { topology, failover, update: { mode: 'async', intervalMs: 3_600_000 } } as const;
const fast = { topology, failover } as const;

async function write(replica: SqliteReplica, id: number, v: string): Promise<void> {
  await replica.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, v] }]);
}

async function same(...replicas: readonly SqliteReplica[]): Promise<void> {
  await eventually('all have the same', async () => {
    const rows = await Promise.all(replicas.map((replica) => rowsOf(replica, 't')));
    return rows.every((one) => one === rows[0]);
  });
}

/**
 * What a process of `a` had committed, and was sending when the power went: the row `id`, as
 * the one that comes `ahead` after what the log has.
 */
async function lateMessage(id: number, ahead = 1): Promise<Uint8Array> {
  const nats = await connectNats({ servers: fixture.server.url });
  try {
    const { data = new Uint8Array() } = (await nats.log(fixture.cluster).lastOf('a')) ?? {};
    const [batch] = decodeBatches(data);
    if (batch?.kind !== 'transactions') throw new Error('it is no transaction');
    const [{ counter = 0, time = 0, changes = [] } = {}] = batch.transactions;
    const row = changes.map((change) => ({ ...change, row: [BigInt(id), 'late'] }));
    const lost = { counter: counter + ahead, time: time + 1, changes: row };
    return encodeBatch({ ...batch, firstCounter: lost.counter, time: lost.time, transactions: [lost] });
  } finally {
    await nats.close();
  }
}

async function appendAs(origin: string, data: Uint8Array): Promise<void> {
  const nats = await connectNats({ servers: fixture.server.url });
  try {
    const log = nats.log(fixture.cluster);
    await log.open({ create: false });
    const request = { origin, id: newId(), data };
    const result = await new Promise<AppendResult>((settled) => log.append(request, settled));
    expect(result).toMatchObject({ type: 'stored' });
  } finally {
    await nats.close();
  }
}

describe('a replica takes over', () => {
  it('I3, I9: and what only the last primary has goes to its rescue ledger', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', slow);
    const b = await fixture.replica('b', slow);
    const c = await fixture.replica('c', slow);
    await write(a, 1, 'only here');
    fixture.sql('a', `INSERT INTO t VALUES (2, 'shell')`);
    const taken = await b.takeOver();
    expect(taken).toMatchObject({ epoch: 2, primary: 'b', elected: true });
    expect(b.status()).toMatchObject({
      role: 'primary',
      lifecycle: 'primary',
      epoch: { number: 2, primary: 'b' },
    });
    await eventually('a knows it', () => a.status().lifecycle === 'following');
    expect(a.status()).toMatchObject({ lifecycle: 'following', epoch: { primary: 'b' } });
    expect(await rowsOf(a, 't')).toBe(await rowsOf(b, 't'));
    await expect(a.transaction(() => 'x')).rejects.toMatchObject({
      code: 'NOT_WRITABLE',
      context: { primary: 'b' },
    });
    expect(() => fixture.sql('a', `INSERT INTO t VALUES (8, 'x')`)).toThrow(/write to the primary/);
    await write(b, 3, 'of b');
    fixture.sql('b', `INSERT INTO t VALUES (4, 'shell of b')`);
    await b.close();
    const again = await fixture.replica('b', slow);
    await eventually('all of it has come', async () => (await rowsOf(c, 't')).includes('shell of b'));
    await same(a, again, c);
    expect(await rowsOf(a, 't')).not.toContain('only here');
  });

  it('I9: and says so, however long a write keeps it as soon as the log has decided', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    await fixture.replica('a', fast);
    const b = await fixture.replica('b', fast);
    const busy = (async () => {
      for await (const event of b.events())
        if (event.type === 'epoch' && event.epoch.primary === 'b')
          return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5500);
    })();
    expect(await b.takeOver({ timeoutMs: 5000 })).toMatchObject({ elected: true, primary: 'b' });
    await busy;
  });

  it('I9: and strong reads of the last one do not show the past', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', fast);
    const b = await fixture.replica('b', fast);
    await write(a, 1, 'x');
    const strong = (replica: SqliteReplica): Promise<unknown> =>
      replica.query('SELECT count(*) AS n FROM t', [], { consistency: 'strong' });
    expect(await strong(a)).toEqual([{ n: 1n }]);
    await b.takeOver();
    await write(b, 2, 'y');
    await expect(strong(a)).rejects.toMatchObject({
      ...{ code: 'NOT_IN_SYNC', retriable: true, context: { primary: 'b' } },
      message: expect.stringMatching(
        /cannot tell what was acknowledged since\. b is the primary now/,
      ) as string,
    });
    expect(await strong(b)).toEqual([{ n: 2n }]);
    await expect(strong(a)).rejects.toMatchObject({ code: 'NOT_PRIMARY', context: { primary: 'b' } });
  });

  it('I12: and strong reads keep the chain of what it sends', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', fast);
    const b = await fixture.replica('b', fast);
    await b.takeOver();
    for (let id = 1; id <= 200; id++) {
      await write(b, id, 'x');
      const options = { consistency: 'strong' } as const;
      expect(await b.query('SELECT count(*) AS n FROM t', [], options)).toEqual([{ n: BigInt(id) }]);
    }
    await eventually('a has all', async () => (await rowsOf(a, 't')).includes('200'));
    const log = (await fixture.nats()).log('shop');
    const { lastSeq } = await log.open({ create: false });
    const entries = await Promise.all(Array.from({ length: lastSeq }, (_, index) => log.get(index + 1)));
    const ids = entries.filter((entry) => entry?.origin === 'b').map((entry) => entry?.attempt ?? '');
    expect(ids).toHaveLength(200);
    const attempts = ids.map((id) => id.slice(id.indexOf('~')));
    expect(new Set(attempts).size, 'begun once').toBe(1);
  });

  it('I12: and strong reads show nothing old in the second reign of one process', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', fast);
    const b = await fixture.replica('b', fast);
    const strong = (replica: SqliteReplica): Promise<unknown> =>
      replica.query('SELECT count(*) AS n FROM t', [], { consistency: 'strong' });
    for (let n = 0; n < 3; n++) await strong(a);
    await b.takeOver();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    await a.takeOver();
    await write(a, 1, 'x');
    for (let n = 0; n < 3; n++) expect(await strong(a)).toEqual([{ n: 1n }]);
    await write(a, 2, 'y');
    expect(await strong(a)).toEqual([{ n: 2n }]);
    await same(a, b);
    expect(a.status()).toMatchObject({ lifecycle: 'primary', outbox: { unpublished: 0 } });
  });

  it('I2, I3: in turns, each with a tail that is rescued under numbers of its own', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', slow);
    const b = await fixture.replica('b', slow);
    for (let round = 1; round <= 3; round++)
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        await write(from, round, `tail of ${from.id}`);
        expect(await to.takeOver()).toMatchObject({ primary: to.id, elected: true });
        await eventually('the other one follows', () => from.status().lifecycle === 'following');
        await same(a, b);
      }
    expect(await rowsOf(a, 't')).toBe('[]');
    expect(a.status().vector).toEqual(b.status().vector);
  });

  it('I3, I9: while the last primary is stopped, which gives up its tail when it comes back', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    let a = await fixture.replica('a', fast);
    const b = await fixture.replica('b', fast);
    await write(a, 1, 'everywhere');
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('everywhere'));
    await a.close();
    fixture.sql('a', `UPDATE t SET v = 'shell, while it is stopped'`);
    await b.takeOver();
    await write(b, 2, 'of b');
    a = await fixture.replica('a', fast);
    await eventually('a follows', async () => (await rowsOf(a, 't')).includes('of b'));
    await same(a, b);
    expect(await rowsOf(a, 't')).not.toContain('stopped');
    expect(a.status().role).toBe('replica');
  });

  it('I6, I7, I8: in a synchronous cluster, where nothing acknowledged is lost', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const sync = { ...fast, update: { mode: 'sync', acks: 'majority' } } as const;
    const members = [
      await fixture.replica('a', sync),
      await fixture.replica('b', sync),
      await fixture.replica('c', sync),
    ];
    const acknowledged = new Set<number>();
    let next = 1;
    let stopped = false;
    const writing = members.map(async (replica) => {
      while (!stopped) {
        const id = next++;
        await write(replica, id, replica.id).then(
          () => acknowledged.add(id),
          (error: unknown) => {
            if (!['NOT_WRITABLE', 'OUTCOME_UNKNOWN'].includes((error as { code: string }).code)) throw error;
          },
        );
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    for (let round = 0; round < 6; round++) {
      const taken = await members[(round + 1) % 3]?.takeOver();
      expect(taken?.elected).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    stopped = true;
    await Promise.all(writing);
    await same(...members);
    const [a] = members;
    const rows = (await a?.query<{ id: bigint }>('SELECT id FROM t', [], { consistency: 'strong' })) ?? [];
    const present = new Set(rows.map(({ id }) => Number(id)));
    expect([...acknowledged].filter((id) => !present.has(id))).toEqual([]);
    expect(acknowledged.size).toBeGreaterThan(5);
  });

  it('I6: and who waits for all goes on at once, without the last primary, which was killed', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const sync = { ...fast, update: { mode: 'sync', acks: 'all', minInSync: 2 } } as const;
    const nats = await connectNats({ servers: fixture.server.url });
    const around = { log: () => nats.log(fixture.cluster), bus: () => nats.bus() };
    await fixture.replicaWith(around, 'a', { ...sync, limits: { closeTimeoutMs: 500 } });
    const b = await fixture.replica('b', sync);
    const c = await fixture.replica('c', sync);
    await eventually('all are in sync', () => b.status().sync?.inSync.length === 3);
    // Nobody says that it leaves.
    await nats.close();
    const fromMs = performance.now();
    await b.takeOver();
    const { acks } = await b.execute([{ sql: 'INSERT INTO t VALUES (1, ?)', params: ['of b'] }]);
    expect(performance.now() - fromMs).toBeLessThan(1000);
    expect(acks).toMatchObject({ level: 'all', reached: true, by: ['b', 'c'] });
    for (const replica of [b, c])
      expect(replica.status().sync).toMatchObject({ inSync: ['b', 'c'], known: ['a', 'b', 'c'] });
    // Also a member that reads the set from its database.
    await c.close();
    const again = await fixture.replica('c', sync);
    await eventually('it is back', () => b.status().sync?.inSync.join() === 'b,c');
    expect(again.status().sync?.inSync).toEqual(['b', 'c']);
  });

  it('I8: and tells of whatever the log had not got by then that it was rejected', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', slow);
    const b = await fixture.replica('b', slow);
    const { id } = await a.execute([{ sql: 'INSERT INTO t VALUES (1, ?)', params: ['only here'] }]);
    await b.takeOver();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    const rejected = { outcome: 'rejected', reason: expect.stringContaining('rescue ledger of a') as string };
    for (const replica of [a, b]) expect(await replica.outcome(id ?? '')).toMatchObject(rejected);
    await a.takeOver();
    await a.close();
    // Numbers that are spent and in no entry of the log are none that the log has lost.
    const again = await fixture.replica('a', slow);
    await again.caughtUp();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(again.status().stalled).toBeUndefined();
    await write(again, 2, 'later');
    await eventually('b follows', () => b.status().lifecycle === 'following');
    for (const replica of [again, b]) {
      expect(await replica.outcome(id ?? ''), 'its number is spent').toMatchObject(rejected);
      expect(replica.status().vector['a']).toBeGreaterThanOrEqual(Number(id?.counter));
    }
  });

  it('I8: and any replica tells that what a deposed one did not get into the log never comes', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const sync = { ...fast, update: { mode: 'sync', acks: 'logged' } } as const;
    const a = await fixture.replica('a', sync);
    const b = await fixture.replica('b', sync);
    const token = `${'0123456789abcdef'.repeat(2)}1`;
    await expect(b.outcome(`a:7~${token}`)).resolves.toMatchObject({ outcome: 'rejected' });
    await expect(b.outcome('a:7')).resolves.toMatchObject({ outcome: 'unknown' });
    const [epoch] = await a.query<{ instance: string }>('SELECT instance FROM _antiphon_epochs');
    const own = `a:7~${epoch?.instance.replaceAll('-', '')}1`;
    await expect(b.outcome(own)).resolves.toMatchObject({ outcome: 'unknown' });
    await b.takeOver();
    for (const replica of [a, b])
      await expect(replica.outcome(own)).resolves.toMatchObject({ outcome: 'rejected' });
  });

  it('I2, I3: and what a power loss took, and came too late into the log, is in the ledger', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const first = await fixture.replica('a', fast);
    const b = await fixture.replica('b', fast);
    await write(first, 1, 'in the log');
    await same(first, b);
    const late = await lateMessage(2);
    await first.close();
    // Idle, and behind the number that it does not know of.
    const a = await fixture.replica('a', fast);
    await appendAs('a', late);
    await eventually('it is in the ledger', () => a.status().rescued === 1);
    await eventually('a takes writes again', () => a.status().epoch?.number === 3);
    await write(a, 3, 'behind it');
    await same(a, b);
    await b.takeOver();
    await eventually('a knows it', () => a.status().lifecycle === 'following');
    await appendAs('a', await lateMessage(9));
    await eventually('it is in the ledger', () => a.status().rescued === 2);
    const { transactions } = await a.rescue.list();
    expect(transactions).toMatchObject([{ reason: 'rescued', changes: 1 }, { changes: 1 }]);
    for (const { id } of transactions) await a.rescue.reapply(id);
    await same(a, b);
    expect(await rowsOf(b, 't')).toMatch(/in the log.*late.*behind it.*late/);
    expect(a.status().alarms).toEqual([]);
  });

  it('I3, I8: also where its number was given again; of what is renumbered nobody says that it is rejected', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const first = await fixture.replica('a', fast);
    const b = await fixture.replica('b', fast);
    await write(first, 1, 'in the log');
    await same(first, b);
    const [again, beyond] = [await lateMessage(7), await lateMessage(9, 4)];
    await first.close();
    const a = await fixture.replica('a', slow);
    const insert = async (id: number): Promise<TransactionId> => {
      const { id: given } = await a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, 'new'] }]);
      if (given === undefined) throw new Error('it has no id');
      return given;
    };
    const twice = await insert(2);
    await appendAs('a', again);
    await eventually('it is in the ledger', () => a.status().rescued === 1);
    expect(a.status()).toMatchObject({ role: 'primary', epoch: { number: 2 } });
    expect((await a.rescue.list()).transactions).toMatchObject([{ transaction: `a:${twice.counter}` }]);
    await same(a, b);
    const pending = [await insert(3), await insert(4)];
    await appendAs('a', beyond);
    await eventually('a takes writes again', () => a.status().epoch?.number === 3);
    await eventually('both late ones are in the ledger', () => a.status().rescued === 2);
    await eventually('b has read the epoch', () => b.status().epoch?.number === 3);
    const reason = expect.stringMatching(/^it was undone, and written again as a:\d+$/) as string;
    const there = expect.stringContaining('antiphon rescue list --all --replica a') as string;
    for (const id of pending) {
      expect(await a.outcome(id)).toMatchObject({ outcome: 'committed', reason });
      expect(await b.outcome(id)).toMatchObject({ outcome: 'unknown', reason: there });
    }
    for (const replica of [a, b])
      expect(await replica.outcome(twice)).toMatchObject({ outcome: 'committed' });
    await same(a, b);
    expect((await rowsOf(b, 't')).match(/new/g)).toHaveLength(3);
  });

  it('and refuses where the cluster has no failover', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    await fixture.replica('a', { topology });
    const b = await fixture.replica('b', { topology });
    await expect(b.takeOver()).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('I7: and nobody does where it has none, whatever is put into the log', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', { topology });
    const b = await fixture.replica('b', { topology });
    const claim = { primary: 'b', instance: 'somebody', after: 0, by: 'b', why: 'failover' } as const;
    const data = encodeEpochRecord({ ...claim, epoch: 1, atMs: 1, leaves: [] });
    const log = (await fixture.nats()).log('shop');
    await log.open({ create: false });
    const stored = await new Promise<AppendResult>((resolve) =>
      log.append({ origin: EPOCH_ORIGIN, id: 'claim', data }, resolve),
    );
    if (stored.type !== 'stored') throw stored.error;
    await eventually('a has read it', () => a.status().position.seq >= stored.seq);
    await write(a, 1, 'of the primary');
    fixture.sql('a', `INSERT INTO t VALUES (2, 'shell')`);
    await eventually('b has both', async () => (await rowsOf(b, 't')).includes('shell'));
    await same(a, b);
    expect(a.status()).toMatchObject({ role: 'primary', counts: { fenced: 0 } });
    await b.close();
    await same(a, await fixture.replica('b', { topology }));
  });
});
