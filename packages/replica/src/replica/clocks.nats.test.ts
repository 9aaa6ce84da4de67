import { type Clock, systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';

const DAY_MS = 86_400_000;
const TABLE = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)';

/** The wall clock of a machine, which is off by as much as `aheadMs` says. */
class OwnClock {
  aheadMs = 0;
  readonly clock: Clock = { ...systemClock(), nowMs: () => Date.now() + this.aheadMs };
}

function alarm(replica: SqliteReplica, name: string): string | undefined {
  return replica.status().alarms.find((each) => each.name === name)?.message;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function values(replica: SqliteReplica): Promise<string> {
  return (await replica.query('SELECT v FROM t ORDER BY id')).map(({ v }) => String(v)).join();
}

async function allEqual(replicas: readonly SqliteReplica[], rows: number): Promise<void> {
  await eventually(`all hold the same ${rows} rows`, async () => {
    const contents = await Promise.all(replicas.map((replica) => rowsOf(replica, 't')));
    return contents.every((content) => content === contents[0]) && (await count(replicas[0]!, 't')) === rows;
  });
}

describe('a clock two days ahead', () => {
  it('A.3: takes no writes while it is, burns nothing, and resumes automatically', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', `${TABLE}; INSERT INTO t VALUES (1, 'before')`);
    const a = await fixture.replica('a');
    const machine = new OwnClock();
    const b = await fixture.replicaWith({ clock: machine.clock }, 'b');
    await eventually('the row of a', async () => (await count(b, 't')) === 1);
    await b.execute([{ sql: "INSERT INTO t VALUES (2, 'right')" }]);
    const { lastCounter } = b.status();

    machine.aheadMs = 2 * DAY_MS;
    const refused = b.execute([{ sql: "INSERT INTO t VALUES (3, 'by the library')" }]);
    await expect(refused).rejects.toMatchObject({ code: 'CLOCK_SKEW', retriable: true });
    fixture.sql('b', "INSERT INTO t VALUES (3, 'by another program'); INSERT INTO t VALUES (4, 'too')");
    await eventually(
      'what waits is shown',
      () => alarm(b, 'clock')?.includes('2 changes of other programs wait') === true,
    );
    expect(b.status()).toMatchObject({ lastCounter, outbox: { unsealed: 2 }, clock: { refusing: true } });
    // The others see whose clock it is.
    await eventually(
      'a names b',
      () => alarm(a, 'clock b')?.includes('The clock of b is 2 d ahead') === true,
    );
    await a.execute([{ sql: "INSERT INTO t VALUES (5, 'of a')" }]);

    machine.aheadMs = 0;
    await b.execute([{ sql: "INSERT INTO t VALUES (6, 'after')" }]);
    await allEqual([a, b], 6);
    expect(a.status()).toMatchObject({ quarantined: 0, waitingFor: [] });
    expect(b.status().vector['b']).toBeLessThanOrEqual(lastCounter + 3);
    await eventually('nothing to tell any more', () => {
      const left = [a, b].flatMap((replica) => replica.status().alarms);
      return left.every(({ name }) => !name.includes('clock'));
    });
  });

  it('A.3: at the start as well, for the rows that a cluster is created with too', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', `${TABLE}; INSERT INTO t VALUES (1, 'before')`);
    const machine = new OwnClock();
    machine.aheadMs = 2 * DAY_MS;
    const impatient = { limits: { connectTimeoutMs: 1500 } };
    const creating = fixture.replicaWith({ clock: machine.clock }, 'a', impatient);
    await expect(creating).rejects.toMatchObject({ code: 'CLOCK_SKEW' });

    const late = fixture.replicaWith({ clock: machine.clock }, 'a');
    setTimeout(() => (machine.aheadMs = 0), 1000);
    const a = await late;
    const other = new OwnClock();
    other.aheadMs = 2 * DAY_MS;
    const b = await fixture.replicaWith({ clock: other.clock }, 'b');
    // A reader needs no clock.
    await allEqual([a, b], 1);
    await expect(b.execute([{ sql: 'DELETE FROM t' }])).rejects.toMatchObject({ code: 'CLOCK_SKEW' });
    other.aheadMs = 0;
    await b.execute([{ sql: "INSERT INTO t VALUES (2, 'now')" }]);
    await allEqual([a, b], 2);
  });

  it.each(['primary-replica', 'multi-primary'] as const)(
    'A.3: synchronous writes are refused, and nobody holds what others do not, %s',
    async (mode) => {
      await using fixture = await ClusterFixture.start();
      fixture.sql('a', TABLE);
      const topology = mode === 'multi-primary' ? ({ mode } as const) : ({ mode, primary: 'a' } as const);
      const options = { topology, update: { mode: 'sync' } } as const;
      const machine = new OwnClock();
      const a = await fixture.replicaWith({ clock: machine.clock }, 'a', options);
      const b = await fixture.replica('b', options);
      await a.execute([{ sql: 'INSERT INTO t VALUES (1, NULL)' }]);
      machine.aheadMs = 25 * 3_600_000;
      for (let id = 2; id < 5; id++) {
        const refused = a.execute([{ sql: 'INSERT INTO t VALUES (?, NULL)', params: [id] }]);
        await expect(refused).rejects.toMatchObject({ code: 'CLOCK_SKEW' });
      }
      expect(await b.query('SELECT count(*) AS n FROM t', [], { consistency: 'strong' })).toEqual([
        { n: 1n },
      ]);
      machine.aheadMs = 0;
      const written = await a.execute([{ sql: 'INSERT INTO t VALUES (5, NULL)' }]);
      expect(written.acks).toMatchObject({ by: ['a', 'b'], reached: true });
      await allEqual([a, b], 2);
    },
  );
});

describe('changes that were made while a replica did not run', () => {
  it('A.4: the later write wins, whoever seals first', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', `${TABLE}; INSERT INTO t VALUES (1, ''), (2, ''), (3, '')`);
    const a = await fixture.replica('a');
    const b = await fixture.replica('b');
    await allEqual([a, b], 3);
    await b.close();
    fixture.sql('b', "UPDATE t SET v = 'first' WHERE id = 1; DELETE FROM t WHERE id = 2");
    await pause(300);
    await a.execute([{ sql: "UPDATE t SET v = 'second'" }]);
    await pause(300);
    fixture.sql('b', "UPDATE t SET v = 'third' WHERE id = 3");
    await pause(300);
    const again = await fixture.replica('b');
    await allEqual([a, again], 3);
    await eventually('the last writes won', async () => (await values(a)) === 'second,second,third');
    expect(await values(again)).toBe('second,second,third');
    expect(again.status().lastCounter).toBe(2);
  });
});

describe('a clock that is set back', () => {
  it('A.3: goes on from the last time, in order, and says so', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', TABLE);
    const machine = new OwnClock();
    machine.aheadMs = 4 * 60_000;
    const a = await fixture.replicaWith({ clock: machine.clock }, 'a');
    const b = await fixture.replica('b');
    await a.execute([{ sql: "INSERT INTO t VALUES (1, 'first')" }]);
    machine.aheadMs = 0;
    await a.execute([{ sql: "UPDATE t SET v = 'second'" }]);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('second'));
    await b.execute([{ sql: "UPDATE t SET v = 'third'" }]);
    await eventually('a has it', async () => (await rowsOf(a, 't')).includes('third'));
    await eventually('a says so', () => alarm(a, 'hybrid-clock') !== undefined);
    await eventually(
      'b says whose',
      () => alarm(b, 'clock a')?.includes('Changes of a carry times') === true,
    );
    expect(a.status().clock.hybridAheadMs).toBeGreaterThan(3 * 60_000);
  });
});

/**
 * As a host would leave them behind on which the replicas and the server run, and whose clock was
 * ahead for a moment.
 */
function moveTimes(fixture: ClusterFixture, id: string, byMs: number): void {
  fixture.sql(id, `UPDATE _antiphon_state SET time = time + ${byMs * 1000}`);
}

describe('times two days ahead, where all clocks are right', () => {
  it.each([
    ['primary-replica, async', { topology: { mode: 'primary-replica', primary: 'a' } }],
    [
      'primary-replica, sync',
      {
        topology: { mode: 'primary-replica', primary: 'a' },
        update: { mode: 'sync', acks: 'all', minInSync: 2 },
      },
    ],
    ['multi-primary, sync', { update: { mode: 'sync', acks: 'all', minInSync: 2 } }],
  ] as const)('A.3: stop nothing where they decide nothing: %s', async (_, options) => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', `${TABLE}; INSERT INTO t VALUES (0, 'of today')`);
    for (const replica of [await fixture.replica('a', options), await fixture.replica('b', options)])
      await replica.close();
    for (const id of ['a', 'b']) moveTimes(fixture, id, 48 * 3_600_000);
    const a = await fixture.replica('a', options);
    const b = await fixture.replica('b', options);
    await eventually('a is written to', () =>
      a.execute([{ sql: "INSERT OR IGNORE INTO t VALUES (1, 'x')" }]).then(
        () => true,
        () => false,
      ),
    );
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('x'));
    expect([a, b].map((replica) => replica.status().quarantined)).toEqual([0, 0]);
  });

  it('A.3: where they decide, no change gets one, and none is lost', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', `${TABLE}; INSERT INTO t VALUES (0, 'of today')`);
    for (const replica of [await fixture.replica('a'), await fixture.replica('b')]) await replica.close();
    for (const id of ['a', 'b']) moveTimes(fixture, id, 48 * 3_600_000);
    const early = await fixture.replica('a');
    const write = (replica: SqliteReplica): Promise<unknown> =>
      replica.execute([{ sql: "INSERT INTO t VALUES (1, 'x')" }]);
    await expect(write(early)).rejects.toMatchObject({ code: 'CLOCK_SKEW' });
    await fixture.sqlWhenFree('a', "INSERT INTO t VALUES (2, 'y')");
    await eventually('it is said', () => alarm(early, 'clock')?.includes('1 changes of other') === true);
    await early.close();
    // A day and a moment later.
    for (const id of ['a', 'b']) moveTimes(fixture, id, -24 * 3_600_000 - 1000);
    const a = await fixture.replica('a');
    const b = await fixture.replica('b');
    await eventually('what waited has come', async () => (await rowsOf(b, 't')).includes('y'));
    await write(a);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('x'));
    expect([a, b].map((replica) => replica.status().quarantined)).toEqual([0, 0]);
  });
});
