import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';
import type { ReplicaEvent } from './replica-event.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);';

/** Reads until it ends. */
function follow(replica: SqliteReplica, options?: { signal: AbortSignal }) {
  const events: ReplicaEvent[] = [];
  const reading = async (): Promise<string> => {
    for await (const event of replica.events(options)) events.push(event);
    return 'ended';
  };
  const done = reading().catch((error: unknown) => (error as { code: string }).code);
  const of = (type: ReplicaEvent['type']): string[] => events.filter((one) => one.type === type).map(shown);
  return { events, done, of };
}

function shown(event: ReplicaEvent): string {
  if (event.type === 'state') return event.state;
  if (event.type === 'connection') return event.connection;
  if (event.type === 'alarm') return `${event.phase} ${event.alarm.name}`;
  if (event.type === 'hold') return `${event.phase} ${event.holding.code}`;
  if (event.type === 'stall') return `${event.phase} ${event.stall.code}`;
  return event.type;
}

describe('events', () => {
  it('begin with how it is, and end when the replica has closed, or with the signal', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a');
    await a.caughtUp();
    const ending = new AbortController();
    const [one, two] = [follow(a), follow(a, { signal: ending.signal })];
    await eventually('it is in step', () => one.of('state').at(-1) === 'following');
    expect(one.of('connection')).toEqual(['connected']);
    ending.abort();
    expect(await two.done).toBe('ABORTED');
    const left = a.events();
    await left.next();
    await left.return?.();
    expect(await left.next()).toMatchObject({ done: true });
    await a.close();
    expect(await one.done).toBe('ended');
    expect(one.of('state').slice(-2)).toEqual(['closing', 'closed']);
    expect(one.events.every(({ atMs }) => Math.abs(atMs - Date.now()) < 60_000)).toBe(true);
    expect(() => a.events({ signl: 1 } as never)).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION' }) as Error,
    );
  });

  it('tell of an alarm, and of the connection, when it begins and when it ends', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a');
    const events = follow(a);
    await cluster.server.kill();
    await eventually('the log is alarmed', () => events.of('alarm').includes('begin log'), 15_000);
    expect(a.healthcheck()).toMatchObject({ live: true, ready: false });
    await cluster.server.restart();
    await eventually('it is over', () => events.of('alarm').includes('end log'), 15_000);
    expect(events.of('connection')).toEqual(['connected', 'disconnected', 'connected']);
  });

  it('tell of a hold, a stall and their ends', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a');
    const b = await cluster.replica('b');
    const events = follow(b);
    expect(b.healthcheck()).toMatchObject({ live: true });
    cluster.sql('b', 'ALTER TABLE t RENAME COLUMN v TO w');
    await a.execute([{ sql: "INSERT INTO t VALUES (1, 'x')" }]);
    await eventually('it holds', () => events.of('hold').includes('begin SCHEMA_DRIFT'), 10_000);
    const { sinceMs } = b.status().holding!;
    // The entry and the look at the schema are refused by turns.
    await eventually('it was tried again', () => (b.status().holding?.attempts ?? 0) >= 6, 20_000);
    expect(events.of('hold')).toEqual(['begin SCHEMA_DRIFT']);
    expect(b.status().holding).toMatchObject({ sinceMs });
    expect(b.healthcheck()).toMatchObject({ live: true, ready: false, state: 'holding' });
    cluster.sql('b', 'ALTER TABLE t RENAME COLUMN w TO v');
    await eventually('the hold is over', () => events.of('hold').at(-1) === 'end SCHEMA_DRIFT', 15_000);
    const rebuilt = 'CREATE TABLE n (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO n SELECT * FROM t;';
    await cluster.sqlWhenFree('b', `${rebuilt} DROP TABLE t; ALTER TABLE n RENAME TO t`);
    await eventually('it has stalled', () => events.of('stall').includes('begin SCHEMA_DRIFT'), 10_000);
    expect(b.healthcheck()).toMatchObject({ live: true, ready: false, state: 'stalled' });
    await b.recapture('t');
    await eventually('the stall is over', () => events.of('stall').includes('end SCHEMA_DRIFT'), 10_000);
    await eventually('it is ready', () => b.healthcheck().ready, 10_000);
    for (const type of ['hold', 'stall', 'alarm'] as const) {
      const [begun, ended] = ['begin', 'end'].map((phase) =>
        events.of(type).filter((one) => one.startsWith(phase)),
      );
      expect(ended).toHaveLength(begun!.length);
    }
  });

  it('tell of conflicts', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', `${SCHEMA} INSERT INTO t VALUES (1, 'x')`);
    const a = await cluster.replica('a', { update: { mode: 'async', intervalMs: 300 } });
    const b = await cluster.replica('b', { update: { mode: 'async', intervalMs: 300 } });
    await b.caughtUp();
    const [ofA, ofB] = [follow(a), follow(b)];
    await Promise.all(
      [a, b].map((replica) => replica.execute([{ sql: `UPDATE t SET v = '${replica.id}' WHERE id = 1` }])),
    );
    await eventually('both have it', () => [ofA, ofB].every(({ of }) => of('conflict').length > 0), 15_000);
    const [event] = ofA.events.filter(({ type }) => type === 'conflict');
    expect(event).toMatchObject({ count: 1, reports: [{ table: 't', key: ['1'] }] });
    expect(ofA.of('alarm')).toContain('begin conflicts');
  });
});

describe('healthcheck()', () => {
  it('says whether to restart it and whether to send it requests', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a');
    await eventually('it is ready', () => a.healthcheck({ maxLagSeconds: 5 }).ready);
    expect(a.healthcheck()).toEqual({ live: true, ready: true, state: 'following', problems: [] });
    for (const options of [{ maxLag: 1 }, { maxLagSeconds: 0 }, { maxLagSeconds: '5' }, null])
      expect(() => a.healthcheck(options as never)).toThrow(
        expect.objectContaining({ code: 'BAD_OPTION' }) as Error,
      );
    await a.close();
    expect(a.healthcheck()).toMatchObject({ live: false, ready: false, state: 'closed' });
  });
});
