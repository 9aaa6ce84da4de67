import { DatabaseSync } from 'node:sqlite';
import {
  type AntiphonError,
  ConflictError,
  decodeControl,
  encodeControl,
  type SyncUpdate,
  systemClock,
  type Topology,
} from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, rowsOf, type SqliteReplica, type StartOptions } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';
import { verifyCluster } from '../service/verify.js';

const SCHEMA = `
  CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT UNIQUE COLLATE NOCASE);
  INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 0);
`;
const IDS = ['a', 'b', 'c'] as const;
const TOPOLOGIES: readonly Topology[] = [
  { mode: 'primary-replica', primary: 'a' },
  { mode: 'multi-primary' },
];

async function startThree(
  cluster: ClusterFixture,
  topology: Topology,
  update: Omit<SyncUpdate, 'mode'> = {},
  limits: StartOptions['limits'] = {},
): Promise<readonly [SqliteReplica, SqliteReplica, SqliteReplica]> {
  cluster.sql('a', SCHEMA);
  const options = { topology, update: { mode: 'sync', minInSync: 2, ...update }, limits } as const;
  const a = await cluster.replica('a', options);
  const [b, c] = await Promise.all([cluster.replica('b', options), cluster.replica('c', options)]);
  return [a, b, c];
}

/** Straight from the file, as another program sees it. */
function inFile(cluster: ClusterFixture, id: string, sql: string): unknown {
  const db = new DatabaseSync(cluster.file(id), { readOnly: true });
  try {
    return Object.values(db.prepare(sql).get() ?? {})[0];
  } finally {
    db.close();
  }
}

describe.each(TOPOLOGIES)('synchronous writes, %j', (topology) => {
  it('I8: that are under way when the replica closes in good order are not left in doubt', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await startThree(cluster, topology);
    const statement = { sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 3' };
    const levels = ['all', 'local', 'logged', 'majority'] as const;
    const writes = Array.from({ length: 24 }, (_, n) => a.execute([statement], { acks: levels[n % 4]! }));
    const ended = Promise.allSettled(writes);
    await writes[0];
    await a.close();
    const reasons = (await ended).flatMap((one) =>
      one.status === 'rejected' ? [String((one.reason as AntiphonError).code)] : [],
    );
    expect(reasons.filter((code) => code !== 'CLOSED')).toEqual([]);
  });

  it('I8: are finished by close() also while the log is asked, and none is taken any more', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await startThree(cluster, topology);
    const sent = (): number => a.status().totals['publishedMessages'] ?? 0;
    const before = sent();
    const statement = { sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 3' };
    const asked = a.execute([statement], { acks: 'local' });
    while (sent() === before) await new Promise((resolve) => setImmediate(resolve));
    const waiting = a.execute([statement]);
    const closing = a.close();
    await expect(a.execute([statement])).rejects.toMatchObject({ code: 'CLOSED' });
    await closing;
    expect(await asked).toMatchObject({ outcome: 'committed', acks: { reached: true } });
    expect(await waiting).toMatchObject({ outcome: 'committed', acks: { reached: true } });
  });

  it('I8: of callers over the bus are answered by close() as those in this process are', async () => {
    await using cluster = await ClusterFixture.start();
    // Closing waits that long for the one that does not acknowledge.
    const [a] = await startThree(cluster, topology, {}, { closeTimeoutMs: 2000 });
    const bus = (await cluster.nats()).bus();
    const ask = async (acks: 3 | 'local'): Promise<unknown> => {
      const request = {
        statements: [{ sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 3', params: [] }],
        ...{ acks, timeoutMs: 60_000 },
      };
      const subject = `antiphon.${cluster.cluster}.replica.a.execute`;
      return decodeControl(await bus.request(subject, encodeControl(request), { timeoutMs: 20_000 }));
    };
    // One that is busy with something else acknowledges nothing.
    using busy = new DatabaseSync(cluster.file('c'));
    busy.exec('BEGIN IMMEDIATE');
    const committed = ask(3);
    await eventually('it waits for c', () => a.status().sync?.unacknowledged === 1);
    using other = new DatabaseSync(cluster.file('a'));
    other.exec('BEGIN IMMEDIATE');
    const waiting = ask('local');
    await eventually('both are under way', () => a.status().sync?.waiting === 1);
    await a.close();
    expect(await committed).toMatchObject({
      ok: {
        outcome: 'committed',
        id: { origin: 'a' },
        acks: { by: ['a', 'b'], missing: ['c'], reached: false },
      },
    });
    expect(await waiting).toMatchObject({ error: { code: 'CLOSED' } });
    for (const db of [busy, other]) db.exec('ROLLBACK');
    expect(inFile(cluster, 'a', 'SELECT balance FROM accounts WHERE id = 3')).toBe(1);
  });

  it('I8: are counted as waiting for as long as another program holds the lock', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await startThree(cluster, topology);
    using other = new DatabaseSync(cluster.file('a'));
    other.exec('BEGIN IMMEDIATE');
    const written = a.execute([{ sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 3' }]);
    await eventually('it waits', () => a.status().sync?.waiting === 1);
    const seen = new Set<unknown>();
    for (let n = 0; n < 100; n++) {
      seen.add(a.status().sync?.waiting);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect([...seen]).toEqual([1]);
    other.exec('ROLLBACK');
    expect(await written).toMatchObject({ outcome: 'committed' });
    expect(a.status().sync).toMatchObject({ waiting: 0, inFlight: 0 });
  });

  it('I3: are published again one by one, when somebody misses them', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b, c] = await startThree(cluster, topology);
    for (let n = 0; n < 5; n++)
      await a.execute([{ sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 3' }]);
    const bus = (await cluster.nats()).bus();
    const before = a.status().totals['publishedMessages'] ?? 0;
    const answer = await bus.request(
      `antiphon.${cluster.cluster}.replica.a.resend`,
      encodeControl({ from: 2 }),
      { timeoutMs: 2000 },
    );
    // What was judged by its place in the log stays there.
    const again = topology.mode === 'multi-primary' ? 0 : 5;
    expect(decodeControl(answer)).toMatchObject({ ok: { state: again > 0 ? 'sending' : 'refused' } });
    await eventually(
      'published again',
      () => (a.status().totals['publishedMessages'] ?? 0) === before + again,
    );
    await a.execute([{ sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 3' }]);
    for (const replica of [a, b, c]) {
      await replica.caughtUp();
      expect(replica.status()).toMatchObject({ quarantined: 0, waitingFor: [] });
      expect(await replica.query('SELECT balance FROM accounts WHERE id = 3')).toEqual([{ balance: 6n }]);
    }
  });

  it('I6: are in every database file when they are acknowledged by all', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await startThree(cluster, topology);
    for (let balance = 1; balance <= 30; balance++) {
      const result = await a.transaction((tx) => {
        tx.run('UPDATE accounts SET balance = ? WHERE id = 3', [balance]);
        return balance;
      });
      expect(result).toMatchObject({
        outcome: 'committed',
        value: balance,
        acks: { level: 'all', by: ['a', 'b', 'c'], missing: [], reached: true },
      });
      for (const id of IDS) {
        expect(inFile(cluster, id, 'SELECT balance FROM accounts WHERE id = 3')).toBe(balance);
      }
    }
    expect(a.status().sync).toMatchObject({ inSync: ['a', 'b', 'c'], degraded: false, unacknowledged: 0 });
  });

  it('commit many at once, and a failing statement rejects its own write only', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b, c] = await startThree(cluster, topology);
    const writes = Array.from({ length: 200 }, (_, n) =>
      a.execute([{ sql: 'INSERT INTO accounts VALUES (?, ?)', params: [n % 10 === 9 ? 1 : 1000 + n, n] }]),
    );
    const settled = await Promise.allSettled(writes);
    settled.forEach((result, n) => {
      if (n % 10 !== 9) return expect(result.status).toBe('fulfilled');
      expect(result.status === 'rejected' && (result.reason as AntiphonError).code).toBe('CONSTRAINT');
    });
    const rows = await rowsOf(a, 'accounts');
    for (const replica of [b, c]) expect(await rowsOf(replica, 'accounts')).toBe(rows);
    expect(JSON.parse(rows)).toHaveLength(183);
  });

  it('I6: name who has acknowledged, for every level', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await startThree(cluster, topology);
    const write = (acks: 'local' | 'logged' | 'majority' | 'all' | number) =>
      a.execute([{ sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 1' }], { acks });
    for (const acks of ['local', 'logged', 1, 'majority', 2, 3, 'all'] as const) {
      const { acks: reached } = await write(acks);
      expect(reached).toMatchObject({ level: acks, reached: true });
      const needed = acks === 'all' ? 3 : acks === 'majority' ? 2 : typeof acks === 'number' ? acks : 1;
      expect(reached?.by.length).toBeGreaterThanOrEqual(needed);
      expect(reached?.by).toContain('a');
    }
    await expect(write(0)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const late = await a
      .execute([{ sql: 'UPDATE accounts SET balance = 0 WHERE id = 1' }], { acks: 5, timeoutMs: 300 })
      .catch((error: unknown) => error);
    expect(late).toMatchObject({ code: 'NOT_IN_SYNC' });
  });

  it('I8: can be asked for later, on any replica', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b] = await startThree(cluster, topology);
    const { id, position } = await a.execute([{ sql: 'UPDATE accounts SET balance = 5 WHERE id = 1' }]);
    if (id === undefined) throw new Error('no id');
    const told = { outcome: 'committed', position: { seq: position.seq } };
    expect(await a.outcome(id)).toMatchObject(told);
    expect(await b.outcome(`${id.origin}:${id.counter}`)).toMatchObject(told);
    expect(await b.outcome(`${id.origin}:${id.counter}~another`)).toMatchObject({ outcome: 'rejected' });
    const next = `a:${id.counter + 1}~lost`;
    expect(await b.outcome(next)).toMatchObject({ outcome: 'unknown' });
    // Its origin decides, for everybody; what was never tried costs nothing.
    expect(await a.outcome('a:999999')).toMatchObject({ outcome: 'unknown' });
    expect(await a.outcome('a:999999~made1up')).toMatchObject({ outcome: 'rejected' });
    expect(a.status().lastCounter).toBeLessThan(id.counter + 5);
    expect(await a.outcome(next)).toMatchObject({ outcome: 'rejected' });
    expect(await b.outcome(next)).toMatchObject({ outcome: 'rejected' });
    await a.execute([{ sql: 'UPDATE accounts SET balance = 6 WHERE id = 1' }]);
    await expect(a.outcome('nonsense')).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('I12: session reads show what was written before, strong ones everything acknowledged', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b, c] = await startThree(cluster, topology);
    const sql = 'SELECT balance FROM accounts WHERE id = 3';
    for (let balance = 1; balance <= 20; balance++) {
      const update = [{ sql: 'UPDATE accounts SET balance = ? WHERE id = 3', params: [balance] }];
      const { position } = await a.execute(update, { acks: 'logged' });
      const [session, strong] = await Promise.all([
        b.query(sql, [], { consistency: 'session', after: position }),
        c.query(sql, [], { consistency: 'strong' }),
      ]);
      expect(session).toEqual([{ balance: BigInt(balance) }]);
      expect(strong).toEqual([{ balance: BigInt(balance) }]);
    }
    await expect(b.query(sql, [], { consistency: 'session' })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const far = { generation: b.status().position.generation, seq: 1_000_000 };
    await expect(
      b.query(sql, [], { consistency: 'session', after: far, timeoutMs: 50 }),
    ).rejects.toMatchObject({ code: 'TIMEOUT', retriable: true });
  });

  it('I6: too few in sync reject, or degrade and say so, and recover by themselves', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const update = { mode: 'sync', minInSync: 2, onShortfall: 'degrade' } as const;
    const a = await cluster.replica('a', { topology, update });
    const write = () => a.execute([{ sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 1' }]);
    expect(await write()).toMatchObject({ outcome: 'committed', degraded: true });
    await eventually('alarmed', () => a.status().alarms.some(({ name }) => name === 'in-sync'));
    expect(a.status().sync).toMatchObject({ degraded: true, inSync: ['a'] });
    await cluster.replica('b', { topology, update });
    const whole = await write();
    expect(whole.degraded).toBeUndefined();
    expect(whole.acks).toMatchObject({ by: ['a', 'b'], reached: true });
    await eventually('no alarm', () => a.status().alarms.every(({ name }) => name !== 'in-sync'));
  });

  it('I6: without enough in sync nothing is written', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { topology, update: { mode: 'sync' } });
    const write = a.execute([{ sql: 'UPDATE accounts SET balance = 7 WHERE id = 1' }]);
    await expect(write).rejects.toMatchObject({ code: 'NOT_IN_SYNC', retriable: true });
    expect(inFile(cluster, 'a', 'SELECT balance FROM accounts WHERE id = 1')).toBe(100);
    const alone = await a.execute([{ sql: 'UPDATE accounts SET balance = 8 WHERE id = 1' }], {
      acks: 'local',
    });
    expect(alone.acks).toMatchObject({ by: ['a'], reached: true });
  });

  it('refuse other programs, which cannot wait, and say how to write', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await startThree(cluster, topology);
    for (const id of IDS) {
      expect(() => cluster.sql(id, 'UPDATE accounts SET balance = 0')).toThrow(/antiphon/);
    }
    await a.execute([{ sql: 'UPDATE accounts SET balance = 1 WHERE id = 1' }]);
    expect(inFile(cluster, 'c', 'SELECT sum(balance) FROM accounts')).toBe(101);
  });

  it('I4: capture other programs asynchronously where the operator allows it', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b, c] = await startThree(cluster, topology, { foreignWrites: 'async' });
    for (let n = 0; n < 20; n++) {
      cluster.sql('a', `INSERT INTO accounts VALUES (${100 + n}, ${n})`);
      await a.execute([{ sql: 'INSERT INTO accounts VALUES (?, ?)', params: [200 + n, n] }]);
    }
    await eventually('everything is everywhere', async () => {
      const rows = await Promise.all([a, b, c].map((replica) => rowsOf(replica, 'accounts')));
      return JSON.parse(rows[0] ?? '').length === 43 && rows.every((one) => one === rows[0]);
    });
  });
});

describe('certification', () => {
  it('I4: no update is lost: increments at three primaries add up to the number of commits', async () => {
    await using cluster = await ClusterFixture.start();
    const replicas = await startThree(cluster, { mode: 'multi-primary' });
    let committed = 0;
    const increment = async (replica: SqliteReplica): Promise<void> => {
      for (let n = 0; n < 15; n++) {
        try {
          await replica.transaction((tx) => {
            const row = tx.get<{ balance: number }>('SELECT balance FROM accounts WHERE id = 3');
            tx.run('UPDATE accounts SET balance = ? WHERE id = 3', [(row?.balance ?? 0) + 1]);
          });
          committed++;
        } catch (error) {
          expect(error).toBeInstanceOf(ConflictError);
        }
      }
    };
    await Promise.all(replicas.flatMap((replica) => [increment(replica), increment(replica)]));
    expect(committed).toBeGreaterThan(0);
    for (const replica of replicas) {
      const [row] = await replica.query('SELECT balance FROM accounts WHERE id = 3', [], {
        consistency: 'strong',
      });
      expect(row?.['balance']).toBe(BigInt(committed));
    }
  });

  it('prevents write skew between transactions that lock what they read', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b] = await startThree(cluster, { mode: 'multi-primary' });
    const withdraw = (replica: SqliteReplica, id: number) =>
      replica.transaction((tx) => {
        for (const key of [1, 2]) tx.lock('accounts', key);
        const row = tx.get<{ total: number }>(
          'SELECT sum(balance) AS total FROM accounts WHERE id IN (1, 2)',
        );
        if ((row?.total ?? 0) < 200) return false;
        tx.run('UPDATE accounts SET balance = balance - 200 WHERE id = ?', [id]);
        return true;
      });
    for (let round = 0; round < 10; round++) {
      await a.execute([{ sql: 'UPDATE accounts SET balance = 100 WHERE id IN (1, 2)' }]);
      const results = await Promise.all([withdraw(a, 1), withdraw(b, 2)]);
      expect(results.filter(({ value }) => value)).toHaveLength(1);
      expect(inFile(cluster, 'a', 'SELECT sum(balance) FROM accounts WHERE id IN (1, 2)')).toBe(0);
    }
  });

  it('keeps unique keys unique, and rejects the second', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b, c] = await startThree(cluster, { mode: 'multi-primary' });
    for (let round = 0; round < 10; round++) {
      const insert = (replica: SqliteReplica, id: number, name: string) =>
        replica.execute([{ sql: 'INSERT INTO names VALUES (?, ?)', params: [id, name] }]);
      const results = await Promise.allSettled([
        insert(a, 10 * round + 1, `ada${round}`),
        insert(b, 10 * round + 2, `ADA${round}`),
        insert(c, 10 * round + 3, `Ada${round}`),
      ]);
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const result of results) {
        if (result.status === 'rejected') expect((result.reason as AntiphonError).code).toBe('CONSTRAINT');
      }
    }
    const rows = await Promise.all([a, b, c].map((replica) => rowsOf(replica, 'names')));
    expect(new Set(rows).size).toBe(1);
    expect([a, b, c].map((replica) => replica.status().quarantined)).toEqual([0, 0, 0]);
  });

  it('shows only what was committed in change feeds, and verifies equal', async () => {
    await using cluster = await ClusterFixture.start();
    const replicas = await startThree(cluster, { mode: 'multi-primary' });
    const [a, b, c] = replicas;
    const changes = c.changes({ tables: ['accounts'] });
    const first = changes.next();
    const seen: number[] = [];
    let committed = 0;
    const increment = (replica: SqliteReplica) =>
      replica.transaction((tx) => {
        const row = tx.get<{ balance: number }>('SELECT balance FROM accounts WHERE id = 3');
        tx.run('UPDATE accounts SET balance = ? WHERE id = 3', [(row?.balance ?? 0) + 1]);
      });
    for (let round = 0; round < 10; round++) {
      const results = await Promise.allSettled(replicas.map(increment));
      committed += results.filter(({ status }) => status === 'fulfilled').length;
    }
    for (let next = await first; seen.length < committed; next = await changes.next()) {
      if (next.done !== true) seen.push(Number(next.value.after?.['balance']));
      if (seen.length === committed) break;
    }
    // Each one exactly once: what certification rejected is in the log, and not here.
    expect(seen).toEqual(Array.from({ length: committed }, (_, n) => n + 1));
    const nats = await cluster.nats();
    const result = await verifyCluster({
      bus: nats.bus(),
      registry: nats.registry(cluster.cluster),
      clock: systemClock(),
      cluster: cluster.cluster,
    });
    expect(result).toMatchObject({ outcome: 'equal', absent: [] });
    expect([a, b].map((replica) => replica.status().alarms)).toEqual([[], []]);
  });

  it('comes to the same verdicts after a restart', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b, c] = await startThree(cluster, { mode: 'multi-primary' });
    const options = { topology: { mode: 'multi-primary' }, update: { mode: 'sync', minInSync: 2 } } as const;
    const contend = async (replicas: readonly SqliteReplica[]): Promise<void> => {
      await Promise.allSettled(
        replicas.flatMap((replica) =>
          Array.from({ length: 40 }, () =>
            replica.execute([{ sql: 'UPDATE accounts SET balance = balance + 1 WHERE id = 3' }], {
              acks: 'logged',
            }),
          ),
        ),
      );
    };
    await contend([a, b, c]);
    await c.close();
    await contend([a, b]);
    const again = await cluster.replica('c', options);
    const late = await cluster.replica('d', options);
    await contend([a, b, again, late]);
    await Promise.all([a, b, again, late].map((replica) => replica.caughtUp()));
    const rows = await Promise.all([a, b, again, late].map((replica) => rowsOf(replica, 'accounts')));
    expect(new Set(rows).size).toBe(1);
  });
});
