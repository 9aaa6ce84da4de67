import { cpSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { streamName, type NatsHandle } from '@antiphon/nats';
import { describe, expect, it } from 'vitest';
import { AntiphonError, encodeBeat, type Log } from '@antiphon/core';
import { ClusterFixture, count, type SqliteReplica } from '../testing/cluster-fixture.js';
import { changed } from '../testing/changed.js';
import { eventually } from '@antiphon/testing';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);';

/** As an administrator would. */
async function updateStream(nats: NatsHandle, cluster: string, change: object): Promise<void> {
  const { config } = await nats.api.streamInfo(streamName(cluster));
  const request = new TextEncoder().encode(JSON.stringify({ ...config, ...change }));
  const subject = `$JS.API.STREAM.UPDATE.${streamName(cluster)}`;
  const outcome = await nats.requester.request(subject, request, { timeoutMs: 5000 });
  if (outcome.type !== 'reply') throw new Error(outcome.type);
  const { error } = JSON.parse(new TextDecoder().decode(outcome.message.data)) as { error?: object };
  if (error !== undefined) throw new Error(JSON.stringify(error));
}

function alarms(replica: SqliteReplica): readonly string[] {
  return replica.status().alarms.map(({ name }) => name);
}

/** Looks often: an alarm that comes and goes is none. */
async function staysAlarmed(replica: SqliteReplica, name: string, forMs: number): Promise<void> {
  await eventually(`${name} is alarmed`, () => alarms(replica).includes(name), 5000);
  for (const untilMs = performance.now() + forMs; performance.now() < untilMs; await sleep(10)) {
    expect(alarms(replica)).toContain(name);
  }
}

/** Once entries are read from it, it does not tell how far it goes until it `answers` again. */
function silentLog(log: Log, state: { answers: boolean }): Log {
  const identity: Log['identity'] = (signal) =>
    state.answers
      ? log.identity(signal)
      : Promise.reject(new AntiphonError('LOG_UNAVAILABLE', 'No answer (made up).', { retriable: true }));
  const read: Log['read'] = (options) => {
    state.answers = false;
    return log.read(options);
  };
  return changed(log, { identity, read });
}

describe('an alarm lasts as long as its cause', () => {
  it.each([{ mode: 'async' }, { mode: 'sync', acks: 'local', minInSync: 1 }] as const)(
    'a log that is full, update %j',
    async (update) => {
      await using cluster = await ClusterFixture.start();
      cluster.sql('a', SCHEMA);
      const a = await cluster.replica('a', { update });
      const b = await cluster.replica('b', { update });
      const nats = await cluster.nats();
      await updateStream(nats, cluster.cluster, { max_bytes: 1000 });
      const write = (id: number) =>
        a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, 'x'.repeat(900)] }], {
          timeoutMs: 1000,
        });
      const refused = await write(1).then(
        () => 'committed',
        (error: unknown) => (error as { code: string }).code,
      );
      // At its deadline it may just have been sent once more.
      expect(refused).toMatch(update.mode === 'async' ? 'committed' : /^(LOG_REFUSED|OUTCOME_UNKNOWN)$/);
      await staysAlarmed(a, 'publish', 1500);
      const message = a.status().alarms.find(({ name }) => name === 'publish')?.message;
      expect(message).toMatch(
        update.mode === 'async' ? /are kept and sent again/ : /are rejected until it does/,
      );
      await eventually('health says so', () => !a.healthcheck().ready, 10_000);
      expect(a.healthcheck().problems).toEqual([expect.stringMatching(/^a: The log does not take/)]);
      expect(b.healthcheck()).toMatchObject({ ready: true, problems: [] });
      await updateStream(nats, cluster.cluster, { max_bytes: -1 });
      // Also when nobody writes meanwhile.
      await eventually('the alarm is over', () => !alarms(a).includes('publish'));
      const { totals } = a.status();
      await sleep(2500);
      expect(a.status().totals['publishedMessages']).toBe(totals['publishedMessages']);
      await write(2);
      const rows = update.mode === 'async' ? 2 : 1;
      await eventually('b has everything', async () => (await count(b, 't')) === rows);
    },
  );

  it('a log that stands still, with nothing to send: over with the first answer', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a');
    await cluster.server.kill();
    await eventually('the log is alarmed', () => alarms(a).includes('log'), 10_000);
    await cluster.server.restart();
    await eventually('nothing is alarmed', () => alarms(a).length === 0, 10_000);
  });

  it('a follower finds out without a group of its own: no replica accepts one', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const topology = { mode: 'primary-replica', primary: 'a' } as const;
    const options = { topology, update: { mode: 'sync', acks: 'local', minInSync: 1 } } as const;
    const a = await cluster.replica('a', options);
    const state = { answers: true };
    const b = await cluster.replicaWith({ log: (log) => silentLog(log, state) }, 'b', options);
    await eventually('publishing is alarmed', () => alarms(b).includes('publish'), 10_000);
    // Each entry that comes in is a turn of b's committer.
    for (let id = 1; id <= 20; id++) await a.execute([{ sql: 'INSERT INTO t VALUES (?, 1)', params: [id] }]);
    await eventually('b has them', async () => (await count(b, 't')) === 20);
    expect(alarms(b)).toContain('publish');
    state.answers = true;
    await eventually('the alarm is over', () => !alarms(b).includes('publish'), 10_000);
    const { log } = await cluster.ports();
    expect(await log.lastOf('a')).toBeDefined();
    expect(await log.lastOf('b')).toBeUndefined();
  });

  it('another process under the same id: over once it is silent', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { limits: { beatMs: 100 } });
    const nats = await cluster.nats();
    const other = {
      ...{ id: 'a', instance: 'other', startedAtMs: Date.now() + 60_000, lifecycle: 'following' },
      ...{
        generation: 'g',
        seq: 0,
        appliedSeq: 0,
        waitsFor: {},
        waitsWhy: {},
        strangers: [],
        vector: {},
        lagEntries: 0,
        lagMs: 0,
        unpublished: 0,
        nowMs: 0,
        reads: { weight: 1, isDrained: false },
      },
    };
    const beating = setInterval(
      () => nats.bus().publish(`antiphon.${cluster.cluster}.beat.a`, encodeBeat(other)),
      100,
    );
    await staysAlarmed(a, 'duplicate', 1500);
    clearInterval(beating);
    await eventually('the alarm is over', () => alarms(a).length === 0, 5000);
  });
});

it('a log that lost its head goes on for who had read it, with an alarm: nobody can join any more', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  const b = await cluster.replica('b');
  for (const id of [1, 2, 3]) await a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, 'x'] }]);
  await eventually('b has them', async () => (await count(b, 't')) === 3);
  // A log of which nothing is left that the last look saw counts as purged.
  const sinceMs = Date.now();
  const looked = (): boolean => [a, b].every((one) => one.status().log.seenAtMs > sinceMs);
  await eventually('both have seen its end', looked);
  const nats = await cluster.nats();
  const { state } = await nats.api.streamInfo(streamName(cluster.cluster));
  expect([...alarms(a), ...alarms(b)]).toEqual([]);
  const request = new TextEncoder().encode(JSON.stringify({ seq: state.last_seq }));
  await nats.requester.request(`$JS.API.STREAM.PURGE.${streamName(cluster.cluster)}`, request, {
    timeoutMs: 5000,
  });
  await eventually('both have an alarm', () => [a, b].every((one) => alarms(one).includes('trimmed')));
  const message = a.status().alarms.find(({ name }) => name === 'trimmed')?.message;
  expect(message).toMatch(
    new RegExp(`^The log begins at entry ${state.last_seq}:.*can no longer join.*way 4`),
  );
  await b.execute([{ sql: "INSERT INTO t VALUES (4, 'x')" }]);
  await eventually('a has it', async () => (await count(a, 't')) === 4);
  expect([a, b].map((one) => one.status().stalled)).toEqual([undefined, undefined]);
});

it('an entry that was removed from the middle of the log is an alarm for who had read it, too', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a');
  for (const id of [1, 2, 3]) {
    await a.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, 'x'] }]);
    await eventually('it is published', () => a.status().outbox.unpublished === 0);
  }
  const nats = await cluster.nats();
  const { state } = await nats.api.streamInfo(streamName(cluster.cluster));
  expect(alarms(a)).not.toContain('removed');
  const request = new TextEncoder().encode(JSON.stringify({ seq: state.last_seq - 1 }));
  await nats.requester.request(`$JS.API.STREAM.MSG.DELETE.${streamName(cluster.cluster)}`, request, {
    timeoutMs: 5000,
  });
  await eventually('a has an alarm', () => alarms(a).includes('removed'));
  expect(a.status().alarms.find(({ name }) => name === 'removed')?.message).toMatch(/^1 entry .*way 4/);
});

describe('a replica that has stalled still says what is so', () => {
  const limits = { beatMs: 100 };

  it('a log that answers again, although it is another one', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { limits });
    const { server } = cluster;
    await server.kill();
    const old = `${server.storeDir}-old`;
    cpSync(server.storeDir, old, { recursive: true });
    await server.restart();
    await a.execute([{ sql: 'INSERT INTO t VALUES (1, 2)' }]);
    await eventually('it is published', () => a.status().outbox.unpublished === 0, 10_000);
    await server.kill();
    await eventually('the log is alarmed', () => alarms(a).includes('log'), 10_000);
    rmSync(server.storeDir, { recursive: true, force: true });
    cpSync(old, server.storeDir, { recursive: true });
    await server.restart();
    await eventually('a has stalled', () => a.status().stalled?.code === 'LOG_REPLACED', 10_000);
    await eventually('nothing is alarmed', () => alarms(a).length === 0, 10_000);
    await server.kill();
    await eventually('the log is alarmed again', () => alarms(a).includes('log'), 10_000);
  });

  it('a table that is back, whose rows may have changed unseen, is not held as gone', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', `${SCHEMA} CREATE TABLE o (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1, 'x')`);
    const a = await cluster.replica('a', { limits });
    await cluster.sqlWhenFree('a', 'DROP TABLE t');
    await eventually('a holds', () => a.status().holding?.table === 't');
    expect(alarms(a)).toEqual(['apply']);
    await cluster.sqlWhenFree('a', SCHEMA);
    await eventually('a has stalled', () => a.status().stalled?.tables?.includes('t') === true);
    expect(a.status().holding).toBeUndefined();
    expect(alarms(a)).toEqual([]);
    await cluster.sqlWhenFree('a', 'DROP TABLE o; CREATE TABLE o (id INTEGER PRIMARY KEY)');
    await eventually('the other one is named, too', () => a.status().stalled?.tables?.length === 2);
    await cluster.sqlWhenFree('a', "INSERT INTO t VALUES (1, 'x')");
    await a.recapture('t');
    expect(a.status().stalled).toMatchObject({ code: 'SCHEMA_DRIFT', tables: ['o'] });
    await a.recapture('o');
    await eventually('it resumes automatically', () => a.status().lifecycle === 'following');
    expect(alarms(a)).toEqual([]);
  });
});
