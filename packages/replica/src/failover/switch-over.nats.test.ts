import { DatabaseSync } from 'node:sqlite';
import { remoteRef } from '@antiphon/actor';
import {
  AntiphonError,
  type AppendRequest,
  type AppendResult,
  type Log,
  type LogReader,
  mailboxPrefix,
  type Topology,
} from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import type { MailboxProtocol } from '../internal.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const options = { topology, failover: { mode: 'manual' } } as const;
const MODES = [{ mode: 'async' }, { mode: 'sync', acks: 'majority' }] as const;

function write(replica: SqliteReplica, id: number): Promise<unknown> {
  return replica.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, replica.id] }]);
}

describe.each(MODES)('a switchover, %o', (update) => {
  it('I3, I9: loses nothing of writers that go on, and rescues nothing', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const members: SqliteReplica[] = [];
    for (const id of ['a', 'b', 'c']) members.push(await fixture.replica(id, { ...options, update }));
    const acknowledged = new Set<number>();
    const failures = new Set<string>();
    let next = 1;
    let stopped = false;
    const writing = members.map(async (replica) => {
      while (!stopped) {
        const id = next++;
        await write(replica, id).then(
          () => acknowledged.add(id),
          (error: unknown) => failures.add((error as { code: string }).code),
        );
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    let [from, to, third] = members as [SqliteReplica, SqliteReplica, SqliteReplica];
    for (let round = 0; round < 5; round++) {
      const done = await from.switchOver(to.id);
      expect(done).toMatchObject({ primary: to.id, elected: true });
      expect(from.status().role).toBe('replica');
      await eventually('the successor writes', () => to.status().lifecycle === 'primary');
      [from, to, third] = [to, third, from];
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    stopped = true;
    await Promise.all(writing);
    expect([...failures]).toEqual([]);
    await eventually('all have the same', async () => {
      const rows = await Promise.all(members.map((replica) => rowsOf(replica, 't')));
      return rows.every((one) => one === rows[0]);
    });
    const rows = await members[0]?.query<{ id: number }>('SELECT id FROM t', [], { integers: 'number' });
    const present = new Set(rows?.map(({ id }) => id));
    expect([...acknowledged].filter((id) => !present.has(id))).toEqual([]);
    expect(present.size).toBe(acknowledged.size);
    expect(acknowledged.size).toBeGreaterThan(5);
  });
});

/** A log of which the replica reads nothing while it is held. */
class HeldReading {
  #release: () => void = () => undefined;
  #free: Promise<void> = Promise.resolve();

  hold(): void {
    this.#free = new Promise((resolve) => (this.#release = resolve));
  }

  release(): void {
    this.#release();
  }

  readonly of = (real: Log): Log => {
    const read = async (...args: Parameters<Log['read']>): Promise<LogReader> => {
      const reader = await real.read(...args);
      const next: LogReader['next'] = async (limits) => {
        const entries = await reader.next(limits);
        await this.#free;
        return entries;
      };
      return { next, ack: (seq) => reader.ack(seq), close: () => reader.close() };
    };
    return new Proxy(real, {
      get(target, name) {
        if (name === 'read') return read;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  };
}

describe('a switchover to one that does not follow yet', () => {
  const reading = new HeldReading();
  afterEach(() => reading.release());

  /** b has just taken over, and a has not read that yet. */
  async function justDeposed(): Promise<{ readonly a: SqliteReplica; readonly b: SqliteReplica }> {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replicaWith({ log: reading.of }, 'a', options);
    const b = await fixture.replica('b', options);
    await write(a, 1);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('1'));
    reading.hold();
    expect(await b.takeOver()).toMatchObject({ elected: true });
    return { a, b };
  }

  it('I7: waits for a primary that was deposed a moment ago, while writes go on', async () => {
    const { a, b } = await justDeposed();
    let isOver = false;
    const over = b.switchOver('a').finally(() => (isOver = true));
    over.catch(() => undefined);
    for (let id = 2; id < 6; id++) {
      await write(b, id);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect([isOver, b.status().lifecycle]).toEqual([false, 'primary']);
    reading.release();
    expect(await over).toMatchObject({ elected: true, primary: 'a' });
    await eventually('a is the primary', () => a.status().lifecycle === 'primary');
    await write(a, 6);
    await eventually('both have all', async () => (await rowsOf(b, 't')).includes('6'));
    expect(await rowsOf(a, 't')).toBe(await rowsOf(b, 't'));
  });

  it('I7: is refused when its time is up, and has held no write', async () => {
    const { b } = await justDeposed();
    const states = new Set<string>();
    const watching = setInterval(() => states.add(b.status().lifecycle), 5);
    const error: unknown = await b.switchOver('a', { timeoutMs: 400 }).catch((thrown: unknown) => thrown);
    clearInterval(watching);
    expect(error).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(
        /^a cannot become the primary: it is still primary after \d+ ms\. b stays the primary\./,
      ) as string,
    });
    expect([...states]).toEqual(['primary']);
  });

  it('is refused at once where it does not end by itself', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', options);
    const b = await fixture.replica('b', options);
    fixture.sql('b', 'CREATE UNIQUE INDEX only_here ON t (v)');
    await write(a, 1);
    await write(a, 2);
    await eventually('b holds', () => b.status().lifecycle === 'holding');
    const askedMs = performance.now();
    await expect(a.switchOver('b', { timeoutMs: 20_000 })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringMatching(/^b cannot become the primary now: it is holding\./) as string,
    });
    expect(performance.now() - askedMs).toBeLessThan(5000);
    await write(a, 3);
  });
});

describe('a switchover that does not come about', () => {
  it('I7: is not done when the primary reads the question after its time', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', options);
    await fixture.replica('b', options);
    const bus = (await fixture.nats()).bus();
    const mailbox = remoteRef<MailboxProtocol>(bus, mailboxPrefix(fixture.cluster, 'a'));
    const askedFor = (beforeMs: number): Promise<unknown> =>
      mailbox.ask('switchOver', { to: 'b', timeoutMs: 5000, beforeMs }, { timeoutMs: 20_000 });
    const { nowMs } = a.status();
    await expect(askedFor(nowMs - 1)).rejects.toMatchObject({
      ...{ code: 'TIMEOUT', context: { remoteCode: 'TIMEOUT' } },
      message: expect.stringMatching(/read the question too late\. It stays the primary/) as string,
    });
    await write(a, 1);
    expect(a.status()).toMatchObject({ lifecycle: 'primary', epoch: { number: 1, primary: 'a' } });
    expect(await askedFor(nowMs + 60_000)).toMatchObject({ elected: true, primary: 'b' });
  });

  it('to nobody changes nothing', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', options);
    const b = await fixture.replica('b', options);
    await expect(a.switchOver('a')).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect(a.switchOver('x')).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect(b.switchOver('a')).rejects.toMatchObject({
      code: 'NOT_WRITABLE',
      context: { primary: 'a' },
    });
    await b.close();
    await expect(a.switchOver('b')).rejects.toMatchObject({
      code: 'NO_ACTOR',
      message: expect.stringMatching(/^b does not answer, .* a stays the primary\./) as string,
    });
    await write(a, 1);
    expect(a.status()).toMatchObject({ lifecycle: 'primary', epoch: { number: 1, primary: 'a' } });
  });

  it('I7: changes nothing where another program has locked the database of the primary', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', options);
    const b = await fixture.replica('b', options);
    const other = new DatabaseSync(fixture.file('a'));
    other.exec(`BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 'shell')`);
    const over = a.switchOver('b', { timeoutMs: 500 });
    await expect(over).rejects.toMatchObject({
      code: 'STORE_BUSY',
      message: expect.stringContaining('a stays the primary') as string,
    });
    await new Promise((resolve) => setTimeout(resolve, 2000));
    other.exec('COMMIT');
    other.close();
    await write(a, 2);
    await eventually('b has both', async () => (await rowsOf(b, 't')).includes('shell'));
    expect(a.status()).toMatchObject({ lifecycle: 'primary', rescued: 0, epoch: { number: 1 } });
  });

  /** Of a hand-over its record waits in `late`. */
  function delaying(late: (() => void)[]): (real: Log) => Log {
    return (real) =>
      new Proxy(real, {
        get(target, name) {
          if (name === 'append')
            return (request: AppendRequest, settle: (result: AppendResult) => void): void => {
              if (!request.id.includes(':by:')) return target.append(request, settle);
              late.push(() => target.append(request, settle));
            };
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
  }

  it.each(MODES)('I7: keeps transactions waiting until it is decided who writes, %o', async (update) => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const late: (() => void)[] = [];
    const a = await fixture.replicaWith({ log: delaying(late) }, 'a', { ...options, update });
    const b = await fixture.replica('b', { ...options, update });
    await write(a, 1);
    const insert = (id: number): Promise<unknown> =>
      a.transaction((tx) => tx.run('INSERT INTO t VALUES (?, ?)', [id, 'a']));
    const back = expect(a.switchOver('b', { timeoutMs: 500 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    await eventually('it drains', () => a.status().lifecycle === 'draining');
    await Promise.all([back, insert(2)]);
    await eventually('it is the primary again', () => a.status().lifecycle === 'primary');
    await write(a, 3);
    const over = a.switchOver('b');
    await eventually('it drains again', () => a.status().lifecycle === 'draining' && late.length === 2);
    const told = expect(insert(4)).rejects.toMatchObject({
      ...{ code: 'NOT_WRITABLE', retriable: false, context: { primary: 'b' } },
    });
    late[1]?.();
    await Promise.all([over, told]);
    await write(a, 5);
    const sql = 'SELECT id FROM t ORDER BY id';
    const rows = await b.query<{ id: number }>(sql, [], { consistency: 'strong', integers: 'number' });
    expect(rows.map(({ id }) => id)).toEqual([1, 2, 3, 5]);
  });

  it('I9: is not held up by a synchronous attempt that the log did not answer', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    let isLossy = false;
    let lost = 0;
    const error = new AntiphonError('TIMEOUT', 'The log did not answer.');
    const log = (real: Log): Log =>
      new Proxy(real, {
        get(target, name) {
          if (name === 'append')
            return (request: AppendRequest, settle: (result: AppendResult) => void): void => {
              if (!isLossy || request.origin !== 'a') return target.append(request, settle);
              isLossy = false;
              lost++;
              setTimeout(() => settle({ type: 'unknown', error }), 500);
            };
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
    const update = { mode: 'sync', acks: 'majority' } as const;
    const a = await fixture.replicaWith({ log }, 'a', { ...options, update });
    const b = await fixture.replica('b', { ...options, update });
    await write(a, 1);
    isLossy = true;
    const writing = write(a, 2);
    await eventually('it has no answer', () => lost === 1);
    expect(await a.switchOver('b')).toMatchObject({ primary: 'b', elected: true });
    await writing;
    const sql = 'SELECT id FROM t ORDER BY id';
    const rows = await b.query<{ id: number }>(sql, [], { consistency: 'strong', integers: 'number' });
    expect(rows.map(({ id }) => id)).toEqual([1, 2]);
  });

  it('I7, I15: is taken back when the log does not answer, and a late hand-over counts for nobody', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const late: (() => void)[] = [];
    const a = await fixture.replicaWith({ log: delaying(late) }, 'a', options);
    const b = await fixture.replica('b', options);
    await write(a, 1);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('1'));
    const over = a.switchOver('b', { timeoutMs: 500 });
    const failed = expect(over).rejects.toMatchObject({ code: 'TIMEOUT' });
    await eventually('it drains', () => a.status().lifecycle === 'draining');
    const waiting = write(a, 2);
    expect(() => fixture.sql('a', `INSERT INTO t VALUES (3, 'shell')`)).toThrow(/write to the primary/);
    await failed;
    await waiting;
    await eventually('it is the primary again', () => a.status().epoch?.number === 2);
    expect(late).toHaveLength(1);
    late[0]?.();
    fixture.sql('a', `INSERT INTO t VALUES (4, 'shell')`);
    await eventually('b has all', async () => (await rowsOf(b, 't')).includes('shell'));
    expect(a.status()).toMatchObject({ role: 'primary', epoch: { number: 2, primary: 'a' } });
    expect(b.status().epoch).toMatchObject({ number: 2, primary: 'a' });
    expect(await rowsOf(a, 't')).toBe(await rowsOf(b, 't'));
  });
});
