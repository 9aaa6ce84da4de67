import {
  AntiphonError,
  type Bus,
  type Lease,
  type LeaseStandIn,
  type LeaseTake,
  type Log,
  type LogConnection,
  systemClock,
  type Topology,
} from '@antiphon/core';
import type { NatsHandle } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { type Logger, silentLogger } from '../config/logger.js';
import { changed } from '../testing/changed.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const failover = { leaseMs: 900, renewMs: 200, marginMs: 100, probeMs: 50, goneMs: 300 } as const;
function keepThread(forMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, forMs);
}

function nobodyStandsIn(): LeaseStandIn {
  return { tell: () => undefined, newest: () => undefined, busy: () => undefined, close: async () => {} };
}

const MODES = [{ mode: 'async' }, { mode: 'sync', acks: 'majority' }] as const;

function write(replica: SqliteReplica, id: number): Promise<unknown> {
  return replica.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, replica.id] }]);
}

it('I7: the file of a primary that does not run takes writes of other programs for a while only', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const options = { topology, failover: { ...failover, foreignLeaseMs: 1200 } };
  const insert = (id: number): void => fixture.sql('a', `INSERT INTO t VALUES (${id}, 'shell')`);
  const a = await fixture.replica('a', options);
  for (let id = 1; id <= 6; id++) {
    insert(id);
    await write(a, 100 + id);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  await a.close();
  insert(7);
  await new Promise((resolve) => setTimeout(resolve, 1300));
  expect(() => insert(8)).toThrow(/has not run, or not reached NATS, for a while.*write to the primary/);
  expect(() => fixture.sql('a', 'DELETE FROM t')).toThrow(/has not run, or not reached/);
  const again = await fixture.replica('a', options);
  insert(9);
  expect(await rowsOf(again, 't')).toContain('7');
});

it('I7: nor does that of a primary which is cut off, until it has its lease again', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  let isCutOff = false;
  const error = new AntiphonError('LOG_UNAVAILABLE', 'Cut.');
  const lease = (real: Lease): Lease =>
    changed(real, {
      take: (record, seq) =>
        isCutOff ? Promise.resolve({ type: 'unknown', error }) : real.take(record, seq),
      read: (signal) => (isCutOff ? Promise.reject(error) : real.read(signal)),
    });
  const options = { topology, failover: { ...failover, foreignLeaseMs: 1200 } };
  await fixture.replicaWith({ lease }, 'a', options);
  /** What it is refused with. */
  const refusal = (): string | undefined => {
    try {
      fixture.sql('a', `INSERT INTO t VALUES (NULL, 'shell')`);
      return undefined;
    } catch (thrown) {
      return String(thrown);
    }
  };
  expect(refusal()).toBeUndefined();
  isCutOff = true;
  await eventually('it is refused', () => refusal()?.includes('not reached NATS'));
  isCutOff = false;
  await eventually('it is taken again', () => refusal() === undefined);
});

it('I7: a replica whose clock is wrong is no candidate, and as the primary lets another one take over', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const options = { topology, failover, limits: { beatMs: 200 } };
  let aheadMs = 0;
  const clock = changed(systemClock(), { nowMs: () => Date.now() + aheadMs });
  const a = await fixture.replicaWith({ clock }, 'a', options);
  const b = await fixture.replica('b', options);
  await write(a, 1);
  await eventually('b has it', async () => (await rowsOf(b, 't')).includes('1'));
  aheadMs = 2 * 86_400_000;
  await eventually('b takes over', () => b.status().role === 'primary', 20_000);
  await write(b, 2);
  await eventually('a follows', () => a.status().lifecycle === 'following', 20_000);
  await b.close();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  expect(a.status().role).toBe('replica');
  aheadMs = 0;
  await eventually('a takes over', () => a.status().role === 'primary', 20_000);
});

it('I9: a primary whose thread was kept for longer than its lease is not ready, and says why', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const a = await fixture.replica('a', { topology, failover });
  await eventually('it is the primary', () => a.status().lifecycle === 'primary');
  keepThread(2 * failover.leaseMs);
  // In the turn in which it goes on: no timer has fired yet.
  expect(a.status()).toMatchObject({ role: 'primary', lifecycle: 'suspended' });
  expect(a.healthcheck()).toMatchObject({
    ...{ ready: false, state: 'suspended' },
    problems: [expect.stringMatching(/^a: This primary has no lease/) as unknown],
  });
  await eventually('it is ready again', () => a.healthcheck().ready);
  expect(a.healthcheck().problems).toEqual([]);
});

it.each([
  [60_000, true, /why nobody renewed the lease, and call again\.$/],
  [1000, false, /Write it in pieces, or raise `limits\.blockedMs` \(1 s\)\.$/],
] as const)(
  'I9: a write that outlasts the lease is told what helps, with blockedMs %i',
  async (blockedMs, retriable, wayOut) => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const lease = (real: Lease): Lease => {
      real.standIn = nobodyStandsIn;
      return real;
    };
    const a = await fixture.replicaWith({ lease }, 'a', { topology, failover, limits: { blockedMs } });
    await eventually('it is the primary', () => a.status().lifecycle === 'primary');
    const kept = a.transaction((tx) => {
      tx.run("INSERT INTO t VALUES (1, 'kept')");
      keepThread(2 * failover.leaseMs);
    });
    await expect(kept).rejects.toMatchObject({
      ...{ code: 'TIMEOUT', retriable, message: expect.stringMatching(wayOut) as string },
    });
    expect(await rowsOf(a, 't')).not.toContain('kept');
  },
);

it('I9: the first try takes the lease of a primary that has gone, and nobody waits for its answer', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const options = { topology, failover };
  let isGone = false;
  const takes: LeaseTake['type'][] = [];
  const asked: string[] = [];
  await fixture.replicaWith(
    {
      bus: (real) => changed(real, { subscribe: withoutMailbox(real, 'a') }),
      lease: (real) =>
        changed(real, {
          take: (record, seq) => (isGone ? new Promise(() => undefined) : real.take(record, seq)),
        }),
    },
    'a',
    options,
  );
  const b = await fixture.replicaWith(
    {
      bus: (real) => changed(real, { request: noting(real, asked) }),
      lease: (real) => changed(real, { take: notingTakes(real, takes) }),
    },
    'b',
    options,
  );
  await new Promise((resolve) => setTimeout(resolve, 3 * failover.renewMs));
  isGone = true;
  await eventually('b takes over', () => b.status().role === 'primary', 20_000);
  expect(takes[0]).toBe('taken');
  expect(asked.filter((subject) => subject.endsWith('.a.candidacy'))).toEqual([]);
});

/** Whoever asks it hears at once that nobody listens, as of a process that has ended. */
function withoutMailbox(real: Bus, id: string): Bus['subscribe'] {
  return (subject, handler, options) =>
    real.subscribe(subject.includes(`.replica.${id}.`) ? `nowhere.${id}` : subject, handler, options);
}

function noting(real: Bus, asked: string[]): Bus['request'] {
  return (subject, data, options) => {
    asked.push(subject);
    return real.request(subject, data, options);
  };
}

function notingTakes(real: Lease, takes: LeaseTake['type'][]): Lease['take'] {
  return async (record, expectedSeq) => {
    const take = await real.take(record, expectedSeq);
    takes.push(take.type);
    return take;
  };
}

it(
  'I7: who has just been started knows as well that primaries fail too often',
  { timeout: 60_000 },
  async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const links = new Map<string, NatsHandle>();
    const start = (id: string): Promise<SqliteReplica> =>
      fixture.replicaWith({ connected: (nats) => links.set(id, nats) }, id, { topology, failover });
    // In good order, it would hand over.
    const kill = async (replica: SqliteReplica): Promise<void> => {
      await links.get(replica.id)?.close();
      await replica.close();
    };
    let [primary, other] = [await start('a'), await start('b')];
    const election = (): string | undefined =>
      other.status().alarms.find(({ name }) => name === 'election')?.message;
    for (let round = 1; round <= 3; round++) {
      await kill(primary);
      await eventually('the other one takes over', () => other.status().role === 'primary');
      const next = await start(primary.id);
      [primary, other] = [other, next];
    }
    await kill(primary);
    await eventually('it waits', () => election()?.includes('too often'));
    expect(other.status().role).toBe('replica');
    expect(await other.takeOver()).toMatchObject({ elected: true });
  },
);

describe('why there is no lease is said', () => {
  const error = new AntiphonError('LOG_REFUSED', 'There is no room for it.');
  const alarmOf = (replica: SqliteReplica): string | undefined =>
    replica.status().alarms.find(({ name }) => name === 'lease')?.message;

  async function startA(lease: (real: Lease) => Lease): Promise<SqliteReplica> {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    return fixture.replicaWith({ lease }, 'a', { topology, failover });
  }

  it('by a primary whose renewals are refused, while it can read', async () => {
    let isFull = false;
    const a = await startA((real) =>
      changed(real, {
        take: (record, seq) =>
          isFull ? Promise.resolve({ type: 'unknown', error }) : real.take(record, seq),
      }),
    );
    await eventually('it has it', () => a.status().lifecycle === 'primary');
    isFull = true;
    await eventually('it says why', () => /cannot renew its lease: There is no room/.test(alarmOf(a) ?? ''));
    isFull = false;
    await eventually('it is over', () => alarmOf(a) === undefined);
  });

  it('by a primary whose lease another one keeps, without an epoch of its own', async () => {
    let isTaken = false;
    let seq = 1000;
    const theirs = { epoch: 9, holder: 'z', instance: 'other', leaseMs: 900 };
    const a = await startA((real) =>
      changed(real, {
        take: (record, expected) =>
          isTaken ? Promise.resolve({ type: 'lost' }) : real.take(record, expected),
        read: (signal) =>
          isTaken ? Promise.resolve({ seq: ++seq, record: { ...theirs, n: seq } }) : real.read(signal),
      }),
    );
    await eventually('it has it', () => a.status().lifecycle === 'primary');
    isTaken = true;
    await eventually('it says who', () => /z has it, for epoch 9/.test(alarmOf(a) ?? ''));
    isTaken = false;
    await eventually('it is over', () => alarmOf(a) === undefined);
  });

  it('by a follower that cannot read it', { timeout: 30_000 }, async () => {
    await startA((real) => real);
    let isUnread = true;
    const lease = (real: Lease): Lease =>
      changed(real, { read: (signal) => (isUnread ? Promise.reject(error) : real.read(signal)) });
    const b = await fixture.replicaWith({ lease }, 'b', { topology, failover });
    const said = /does not know whether the primary is there.* There is no room for it\.$/;
    await eventually('it says so', () => said.test(alarmOf(b) ?? ''), 20_000);
    isUnread = false;
    await eventually('it is over', () => alarmOf(b) === undefined);
  });
});

it('says in the log once that the primary has gone, and who takes its place', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const said: string[] = [];
  const logging = (id: string): Logger => {
    const note = (_: object, text: string): void => void said.push(`${id}: ${text}`);
    return { ...silentLogger, info: note, warn: note };
  };
  let link: NatsHandle | undefined;
  await fixture.replicaWith({ connected: (nats) => void (link = nats) }, 'a', { topology, failover });
  const b = await fixture.replica('b', { topology, failover, logger: logging('b') });
  const c = await fixture.replica('c', { topology, failover, logger: logging('c'), failoverPriority: 50 });
  said.length = 0;
  await link?.close();
  await eventually('b is the primary', () => b.status().role === 'primary');
  await eventually('c follows it', () => c.status().epoch?.primary === 'b');
  // Long enough for whatever else was said of it.
  await new Promise((resolve) => setTimeout(resolve, 2 * failover.leaseMs));
  const linesOf = (id: string): readonly string[] =>
    said.filter((line) => line.startsWith(id) && /primary|alarm/.test(line));
  const begun = expect.stringMatching(/The primary a has ended: nobody answers in its name\.$/) as string;
  const over = expect.stringMatching(/The alarm is over\.$/) as string;
  const role = expect.stringMatching(
    /the primary from entry \d+ of the log on, epoch 2 \(failover\)\.$/,
  ) as string;
  expect(linesOf('b')).toEqual([begun, 'b: b takes the place of the primary a.', over, role]);
  // It may have read of the new one before it missed the last one.
  expect([[begun, over, role], [role]]).toContainEqual(linesOf('c'));
});

it(
  'I7: a primary that cannot renew its lease itself loses it, however busy it is',
  { timeout: 60_000 },
  async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    let isDead = false;
    const error = new AntiphonError('LOG_UNAVAILABLE', 'The connection is dead.');
    // The other thread has a connection of its own.
    const lease = (real: Lease): Lease =>
      changed(real, {
        take: (record, seq) =>
          isDead ? Promise.resolve({ type: 'unknown', error }) : real.take(record, seq),
        read: (signal) => (isDead ? Promise.reject(error) : real.read(signal)),
      });
    const replica = await fixture.replicaWith({ lease }, 'a', { topology, failover });
    const busyFor = async (ms: number): Promise<boolean> => {
      const untilMs = performance.now() + ms;
      for (let n = 0; performance.now() < untilMs; n++) {
        const write = replica.transaction(() => keepThread(2 * failover.renewMs), { timeoutMs: 1000 });
        await write.catch(() => undefined);
        if (replica.status().lifecycle === 'suspended') return false;
      }
      return true;
    };
    expect(await busyFor(5000), 'as long as it can').toBe(true);
    isDead = true;
    expect(await busyFor(10 * failover.leaseMs)).toBe(false);
  },
);

it('I7: a write that runs again on a new connection keeps the lease of its primary', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const listeners = new Set<(connection: LogConnection) => void>();
  let isDead = false;
  const error = new AntiphonError('LOG_UNAVAILABLE', 'The connection is dead.');
  // The other thread has a connection of its own.
  const lease = (real: Lease): Lease =>
    changed(real, {
      take: (record, seq) => (isDead ? Promise.resolve({ type: 'unknown', error }) : real.take(record, seq)),
      read: (signal) => (isDead ? Promise.reject(error) : real.read(signal)),
    });
  const log = (real: Log): Log =>
    changed(real, {
      onConnection: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
      get: async (seq, signal) => {
        if (isDead) await new Promise((resolve) => setTimeout(resolve, failover.renewMs));
        isDead = false;
        return real.get(seq, signal);
      },
    });
  const update = { mode: 'sync', minInSync: 1 } as const;
  const a = await fixture.replicaWith({ lease, log }, 'a', { topology, failover, update });
  await write(a, 1);
  // The other thread takes a moment to start.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  let runs = 0;
  const twice = (): void => {
    keepThread(++runs === 1 ? 2 * failover.renewMs : 3 * failover.leaseMs);
    if (runs > 1) return;
    isDead = true;
    for (const listener of listeners) listener('disconnected');
    for (const listener of listeners) listener('connected');
  };
  const writing = a.transaction(
    (tx) => {
      tx.run("INSERT INTO t VALUES (2, 'kept')");
      twice();
    },
    { timeoutMs: 20_000 },
  );
  expect(await writing).toMatchObject({ outcome: 'committed' });
  expect(runs).toBe(2);
});

it('I7: a primary says when nobody could renew its lease during a long write', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  let tell: ((problem: AntiphonError | undefined) => void) | undefined;
  const lease = (real: Lease): Lease => {
    real.standIn = (given) => {
      tell = given.onProblem;
      return nobodyStandsIn();
    };
    return real;
  };
  const replica = await fixture.replicaWith({ lease }, 'a', { topology, failover });
  const alarm = (): string | undefined =>
    replica.status().alarms.find(({ name }) => name === 'lease-thread')?.message;
  await eventually('it holds the lease', () => tell !== undefined);
  tell?.(new AntiphonError('LOG_UNAVAILABLE', 'Nobody renews the lease.'));
  expect(alarm()).toBe('Nobody renews the lease.');
  tell?.(undefined);
  expect(alarm()).toBeUndefined();
});

describe.each(MODES)('a primary that has gone, %o', (update) => {
  it('I9: is followed by another one, by itself', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const members = new Map<string, SqliteReplica>();
    let link: NatsHandle | undefined;
    const connected = (nats: NatsHandle): unknown => (link = nats);
    members.set('a', await fixture.replicaWith({ connected }, 'a', { topology, failover, update }));
    for (const id of ['b', 'c']) members.set(id, await fixture.replica(id, { topology, failover, update }));
    await write(members.get('a') as SqliteReplica, 1);
    await eventually('c has it', async () =>
      (await rowsOf(members.get('c') as SqliteReplica, 't')).includes('1'),
    );
    // As for the others when its process is killed: in good order, it would hand over.
    await link?.close();
    await members.get('a')?.close();
    members.delete('a');
    const primary = await eventually('another one is the primary', () =>
      [...members.values()].find((replica) => replica.status().role === 'primary'),
    );
    await write(primary, 2);
    expect(primary.status().epoch).toMatchObject({ why: 'failover' });
    const again = await fixture.replica('a', { topology, failover, update });
    await eventually('it follows', async () => (await rowsOf(again, 't')).includes('2'));
    expect(again.status().role).toBe('replica');
  });

  it('I7: stays the primary while it is there, also over a restart of NATS', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', { topology, failover, update });
    const b = await fixture.replica('b', { topology, failover, update });
    const { number } = a.status().epoch ?? { number: -1 };
    await fixture.server.stop();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    if (update.mode === 'async') expect(a.status().lifecycle).toBe('suspended');
    await fixture.restartServer();
    await eventually('it takes writes', () =>
      write(a, 7).then(
        () => true,
        () => false,
      ),
    );
    await eventually('it is everywhere', async () => (await rowsOf(b, 't')).includes('7'));
    expect(a.status()).toMatchObject({ role: 'primary', epoch: { number, primary: 'a' } });
  });
});
