import { remoteRef } from '@antiphon/actor';
import { mailboxPrefix, type Topology } from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import type { ReplicaEvent } from '../replica/replica-event.js';
import type { MailboxProtocol } from '../service/mailbox-protocol.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
/** What is written is sent when the test says so, by closing. */
const slow = {
  topology,
  failover: { mode: 'manual' },
  update: { mode: 'async', intervalMs: 3_600_000 },
} as const;
const SCHEMA = `CREATE TABLE t (id INTEGER PRIMARY KEY, v, big TEXT);
  CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT);
  CREATE TRIGGER noted AFTER INSERT ON t BEGIN INSERT INTO audit (what) VALUES (NEW.v); END;
  INSERT INTO t VALUES (1, 'one', NULL)`;

const run = (replica: SqliteReplica, sql: string): Promise<unknown> => replica.execute([{ sql }]);

/** The ledger of `a`, which `b` has deposed, after these writes of it. */
async function deposed(
  ...writes: readonly string[]
): Promise<{ readonly a: SqliteReplica; readonly b: SqliteReplica; readonly events: ReplicaEvent[] }> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', SCHEMA);
  const a = await fixture.replica('a', slow);
  const b = await fixture.replica('b', slow);
  await eventually('b has the first row', async () => (await rowsOf(b, 't')).includes('one'));
  const events: ReplicaEvent[] = [];
  void (async () => {
    for await (const event of a.events()) events.push(event);
  })();
  for (const sql of writes) await run(a, sql);
  await b.takeOver();
  await eventually('a follows', () => a.status().lifecycle === 'following');
  return { a, b, events };
}

describe('the rescue ledger', () => {
  it('I10: shows what was rescued, and alarms as long as nobody has decided', async () => {
    const { a, events } = await deposed(
      "INSERT INTO t VALUES (2, x'ff', 'b')",
      "UPDATE t SET v = 'y' WHERE id = 1",
    );
    const { transactions, more, kept } = await a.rescue.list();
    expect({ more, kept }).toEqual({ more: false, kept: 2 });
    const [first, second] = transactions;
    expect(transactions).toMatchObject([
      { reason: 'rescued', state: 'kept', changes: 2, transaction: `a:${first?.counter}` },
      { changes: 1, tables: ['t'] },
    ]);
    const shown = await a.rescue.show(first?.id ?? 0);
    expect(shown).toMatchObject({
      more: false,
      shown: [{ table: 't', after: [2n, new Uint8Array([255]), 'b'] }, { table: 'audit' }],
    });
    expect(await a.rescue.show(second?.id ?? 0, { after: 1 })).toMatchObject({ shown: [], more: false });
    const status = a.status();
    expect(status).toMatchObject({ rescued: 2, epoch: { primary: 'b', why: 'forced' } });
    expect(status.epoch?.sinceMs).toBeGreaterThan(Date.now() - 60_000);
    expect(status.alarms).toContainEqual(expect.objectContaining({ name: 'rescue' }));
    expect(a.healthcheck()).toMatchObject({
      ready: true,
      problems: [expect.stringMatching(/2 transactions of a/)],
    });
    for (const { id } of transactions)
      expect(await a.rescue.dismiss(id)).toMatchObject({ id, state: 'dismissed' });
    expect(a.status()).toMatchObject({ rescued: 0, alarms: [] });
    expect(a.healthcheck().problems).toEqual([]);
    const id = first?.id ?? 0;
    expect(await a.rescue.dismiss(id), 'twice is like once').toMatchObject({ id, state: 'dismissed' });
    await expect(a.rescue.reapply(id)).rejects.toThrow(/was dismissed\. .*`antiphon rescue export/);
    for (const none of [99, 0, 1.5])
      await expect(a.rescue.show(none)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    expect((await a.rescue.list({ state: 'dismissed', afterId: first?.id ?? 0 })).transactions).toHaveLength(
      1,
    );
    await eventually('its end was told', () =>
      events.some((event) => event.type === 'rescue' && event.transactions === 0),
    );
    expect(events.filter(({ type }) => type === 'epoch')).toMatchObject([
      { epoch: { number: 1, primary: 'a' } },
      { epoch: { number: 2, primary: 'b' } },
    ]);
    expect(events.filter(({ type }) => type === 'alarm')).toMatchObject([
      { phase: 'begin' },
      { phase: 'end' },
    ]);
  });

  it('I12: a session that has seen what is in it is told so, on every replica', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', SCHEMA);
    const a = await fixture.replica('a', slow);
    const b = await fixture.replica('b', slow);
    const { position } = await a.execute([{ sql: "INSERT INTO t VALUES (2, 'two', NULL)" }]);
    const after = { consistency: 'session', after: position } as const;
    const sql = 'SELECT count(*) AS n FROM t';
    expect(await a.query(sql, [], after)).toEqual([{ n: 2n }]);
    const lost = { code: 'SESSION_LOST', context: { id: expect.stringMatching(/^a:\d+$/) as string } };
    const waiting = b.query(sql, [], { ...after, timeoutMs: 20_000 });
    await Promise.all([expect(waiting).rejects.toMatchObject(lost), b.takeOver()]);
    await eventually('a follows', () => a.status().lifecycle === 'following');
    await expect(a.query(sql, [], after)).rejects.toMatchObject(lost);
    // Its next transactions have other numbers.
    await b.switchOver('a');
    const bus = (await fixture.nats()).bus();
    const mailbox = remoteRef<MailboxProtocol>(bus, mailboxPrefix(fixture.cluster, 'a'));
    const fresh = await mailbox.ask('query', { sql, params: [], maxRows: 1 });
    for (const replica of [a, b])
      await replica.query(sql, [], { consistency: 'session', after: fresh.position! });
    const next = await a.execute([{ sql: "INSERT INTO t VALUES (3, 'three', NULL)" }]);
    for (const replica of [a, b]) await expect(replica.query(sql, [], after)).rejects.toMatchObject(lost);
    const since = { consistency: 'session', after: next.position } as const;
    expect(await a.query(sql, [], since)).toEqual([{ n: 2n }]);
  });

  const numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)';
  const endless = `${numbers} SELECT count(*) FROM n`;

  it('I12: a session that waits for a reading process is told what was undone meanwhile', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', SCHEMA);
    const a = await fixture.replica('a', { ...slow, store: sqlite({ file: fixture.file('a'), readers: 1 }) });
    const b = await fixture.replica('b', slow);
    const { position } = await a.execute([{ sql: "INSERT INTO t VALUES (2, 'two', NULL)" }]);
    const report = new AbortController();
    const { signal } = report;
    const ended = expect(a.query(endless, [], { signal })).rejects.toMatchObject({ code: 'ABORTED' });
    const after = { consistency: 'session', after: position } as const;
    const waiting = a.query('SELECT count(*) AS n FROM t', [], after);
    const lost = { code: 'SESSION_LOST', context: { id: expect.stringMatching(/^a:\d+$/) as string } };
    const told = expect(waiting).rejects.toMatchObject(lost);
    await b.takeOver();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    report.abort();
    await Promise.all([ended, told]);
  });

  it('I12: a read shows nothing that its session token does not know', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', SCHEMA);
    const a = await fixture.replica('a', slow);
    const b = await fixture.replica('b', slow);
    await a.execute([{ sql: "INSERT INTO t VALUES (2, 'two', NULL)" }]);
    const bus = (await fixture.nats()).bus();
    const mailbox = remoteRef<MailboxProtocol>(bus, mailboxPrefix(fixture.cluster, 'a'));
    await mailbox.ask('query', { sql: 'SELECT 1', params: [], maxRows: 1 });
    // The process that reads is there, so the snapshot is taken at once. The query lasts while it
    // sees the row that is undone, longer than a take-over on a busy machine.
    const slowly = `${numbers} SELECT i FROM n LIMIT (SELECT iif(count(*) = 2, 60000000, 1) FROM t)`;
    const sql = `SELECT (SELECT count(*) FROM t) AS n, (SELECT max(i) FROM (${slowly})) AS slow`;
    let answered = false;
    const reading = mailbox
      .ask('query', { sql, params: [], maxRows: 1 }, { timeoutMs: 90_000 })
      .finally(() => (answered = true));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await b.takeOver();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    expect(answered, 'it was undone amid the query').toBe(false);
    const { rows, position } = await reading;
    expect(rows[0]?.[0], 'it was undone').toBe(1n);
    for (const replica of [a, b])
      await replica.query('SELECT 1', [], { consistency: 'session', after: position! });
  });

  it('I12: what a read has seen of other programs counts for its session as well', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', SCHEMA);
    await fixture.replica('a', slow);
    const b = await fixture.replica('b', slow);
    await fixture.sqlWhenFree('a', "INSERT INTO t VALUES (2, 'of a shell', NULL)");
    const bus = (await fixture.nats()).bus();
    const mailbox = remoteRef<MailboxProtocol>(bus, mailboxPrefix(fixture.cluster, 'a'));
    const sql = 'SELECT count(*) FROM t';
    const seen = await mailbox.ask('query', { sql, params: [], maxRows: 1 });
    expect(seen.rows).toEqual([[2n]]);
    const after = { consistency: 'session', after: seen.position!, timeoutMs: 300 } as const;
    await expect(b.query(sql, [], after), 'it is not there yet').rejects.toMatchObject({ code: 'TIMEOUT' });
    await b.takeOver();
    await expect(b.query(sql, [], after)).rejects.toMatchObject({ code: 'SESSION_LOST' });
  });

  it('I10: is written again on the primary, once, with what triggers had done', async () => {
    const { a, b } = await deposed('INSERT INTO t VALUES (2, 1.5, NULL)', 'UPDATE t SET v = 2 WHERE id = 2');
    const [first, second] = (await a.rescue.list()).transactions;
    const [id = 0, secondId = 0] = [first?.id, second?.id];
    // Its row is not there before the first one is.
    expect(await a.rescue.reapply(secondId)).toMatchObject({
      ...{ outcome: 'conflicts', written: 0, conflicting: 1, earlier: [id], primary: 'b' },
      conflicts: [{ table: 't', key: [2n], before: [2n, 1.5, null], after: [2n, 2n, null] }],
    });
    const answer = await a.rescue.reapply(id);
    expect(answer).toMatchObject({
      outcome: 'reapplied',
      written: 2,
      present: 0,
      conflicting: 0,
      earlier: [],
    });
    expect(answer.transaction).toMatch(/^b:\d+$/);
    const { transaction } = answer;
    expect(await a.rescue.reapply(id)).toMatchObject({
      outcome: 'done',
      transaction,
      primary: 'b',
      written: 0,
    });
    expect(await a.rescue.dismiss(id)).toMatchObject({ state: 'reapplied', reappliedAs: transaction });
    expect(await rowsOf(b, 'audit')).toBe('[{"id":"1n","what":"one"},{"id":"2n","what":"1.5"}]');
    expect(await a.rescue.reapply(secondId)).toMatchObject({ outcome: 'reapplied', earlier: [] });
    expect((await a.rescue.list()).transactions).toMatchObject([
      { state: 'reapplied', reappliedAs: answer.transaction },
      { state: 'reapplied' },
    ]);
    // What is left from before is sent at the start.
    await b.close();
    await fixture.replica('b', slow);
    let rows = '';
    await eventually(
      'a has it',
      async () => {
        rows = await rowsOf(a, 't');
        return rows === '[{"id":"1n","v":"one","big":null},{"id":"2n","v":"2n","big":null}]';
      },
      { seen: () => rows },
    );
  });

  it('I10: finds it there already where its owner had crashed before it was noted', async () => {
    const { a, b } = await deposed("INSERT INTO t VALUES (2, 'x', NULL)");
    const [{ id } = { id: 0 }] = (await a.rescue.list()).transactions;
    // As if a had ended in between.
    await run(b, "INSERT INTO t VALUES (2, 'x', NULL)");
    expect(await a.rescue.reapply(id)).toMatchObject({ outcome: 'present', written: 0, present: 2 });
    expect((await a.rescue.list()).transactions).toMatchObject([{ state: 'reapplied' }]);
    expect(a.status().rescued).toBe(0);
  });

  it('I10: changes nothing where others have written, unless it is told to', async () => {
    const big = 'x'.repeat(1000);
    const { a, b } = await deposed(`UPDATE t SET v = 'mine', big = '${big}' WHERE id = 1`);
    await run(b, "UPDATE t SET v = 'theirs' WHERE id = 1");
    const [{ id } = { id: 0 }] = (await a.rescue.list()).transactions;
    const answer = await a.rescue.reapply(id);
    expect(answer).toMatchObject({
      ...{ outcome: 'conflicts', conflicting: 1 },
      conflicts: [
        {
          before: [1n, 'one', null],
          after: [1n, 'mine', { start: 'x'.repeat(200), length: 1000 }],
          here: [1n, 'theirs', null],
        },
      ],
    });
    expect(a.status().rescued).toBe(1);
    expect(await rowsOf(b, 't')).toContain('theirs');
    expect(await a.rescue.reapply(id, { force: true })).toMatchObject({ outcome: 'reapplied', written: 1 });
    expect(await rowsOf(b, 't')).toContain(big);
  });

  it('I10: stays where it is while the primary is away, and where it is too large', async () => {
    const { a, b } = await deposed(
      "INSERT INTO t VALUES (2, 'x', NULL)",
      "WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, 'v', hex(randomblob(200)) FROM n",
    );
    const [first, second] = (await a.rescue.list()).transactions;
    await expect(a.rescue.reapply(second?.id ?? 0)).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    const page = await a.rescue.show(second?.id ?? 0);
    expect(page).toMatchObject({ more: true, changes: 5982 });
    await b.close();
    await expect(a.rescue.reapply(first?.id ?? 0)).rejects.toMatchObject({ code: 'NO_ACTOR' });
    expect(a.status().rescued).toBe(2);
    // Where it is the primary again, it needs nobody.
    await a.takeOver();
    expect(await a.rescue.reapply(first?.id ?? 0)).toMatchObject({ outcome: 'reapplied', primary: 'a' });
    expect(await rowsOf(a, 't')).toContain('"x"');
  });

  it('I6, I10: goes through the log in a synchronous cluster, where other programs had written', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', SCHEMA);
    const update = { mode: 'sync', acks: 'all', foreignWrites: 'async' } as const;
    const sync = { topology, failover: { mode: 'manual' }, update } as const;
    await (await fixture.replica('a', sync)).caughtUp();
    const b = await fixture.replica('b', sync);
    await b.caughtUp();
    await fixture.closeReplica('a');
    fixture.sql('a', "UPDATE t SET v = 'shell' WHERE id = 1");
    await b.takeOver();
    const a = await fixture.replica('a', sync);
    await eventually('a has a ledger', () => a.status().rescued === 1);
    const [{ id, transaction } = { id: 0, transaction: '' }] = (await a.rescue.list()).transactions;
    expect(await b.outcome(transaction)).toMatchObject({ outcome: 'rejected' });
    await eventually('a is in sync', () => b.status().sync?.inSync.includes('a') === true);
    const answer = await a.rescue.reapply(id);
    expect(answer).toMatchObject({ outcome: 'reapplied', written: 1, primary: 'b' });
    expect(await a.outcome(answer.transaction ?? '')).toMatchObject({ outcome: 'committed' });
    // All have it, as any write that waits for them.
    for (const replica of [a, b]) expect(await rowsOf(replica, 't')).toContain('shell');
  });
});
