import { DatabaseSync } from 'node:sqlite';
import { remoteRef } from '@antiphon/actor';
import { AntiphonError, type Log, mailboxPrefix, type Topology } from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../config/logger.js';
import type { PeerProtocol } from '../state/peer.js';
import { changed } from '../testing/changed.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const options = { topology, failover: { mode: 'manual' } } as const;
const RIVAL_ROUNDS = 40;
/** Of 30 kB each: several parts, of several pieces each where messages are small. */
const BIG_ROWS = 30;

async function members(...ids: readonly string[]): Promise<SqliteReplica[]> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const made: SqliteReplica[] = [];
  for (const id of ids) made.push(await fixture.replica(id, options));
  return made;
}

describe('a primary that is deposed', () => {
  it('I9: takes no writes of other programs within two seconds, however idle it is', async () => {
    const [a, b] = (await members('a', 'b')) as [SqliteReplica, SqliteReplica];
    fixture.sql('a', "INSERT INTO t VALUES (1, 'shell')");
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('shell'));
    expect(await b.takeOver()).toMatchObject({ elected: true });
    const isRefused = (): boolean => {
      try {
        fixture.sql('a', "UPDATE t SET v = v WHERE id = 1 AND v = 'nobody'");
        fixture.sql('a', 'UPDATE t SET v = v WHERE id = 1');
        return false;
      } catch (error) {
        return /write to the primary/.test(String(error));
      }
    };
    await eventually('its file is closed to others', isRefused, 2000);
    // It has undone what only it had; then it applies the record.
    await eventually('a follows', () => a.status().role === 'replica');
  });

  it('I3, I9: undoes a transaction of another program that was open meanwhile', async () => {
    const [a, b] = (await members('a', 'b')) as [SqliteReplica, SqliteReplica];
    await a.execute([{ sql: "INSERT INTO t VALUES (1, 'everywhere')" }]);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('everywhere'));
    const shell = new DatabaseSync(fixture.file('a'), { timeout: 5000 });
    shell.exec("BEGIN IMMEDIATE; UPDATE t SET v = 'shell' WHERE id = 1; INSERT INTO t VALUES (2, 'shell')");
    expect(await b.takeOver()).toMatchObject({ elected: true });
    await b.execute([{ sql: "UPDATE t SET v = 'of b' WHERE id = 1" }]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    shell.exec("INSERT INTO t VALUES (3, 'shell'); COMMIT");
    shell.close();
    await eventually('a follows', async () => (await rowsOf(a, 't')).includes('of b'));
    expect(await rowsOf(a, 't')).toBe('[{"id":"1n","v":"of b"}]');
    const { transactions, kept } = await a.rescue.list();
    expect(kept).toBe(1);
    const { shown } = await a.rescue.show(transactions[0]?.id ?? 0);
    expect(shown.map(({ op, key }) => [op, ...key].join(' '))).toEqual(['update 1', 'insert 2', 'insert 3']);
  });
});

it('says in the log of each replica who is the primary now, and why', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const said: string[] = [];
  const logging = (id: string): object => ({
    logger: { ...silentLogger, info: (_: object, text: string) => void said.push(`${id}: ${text}`) },
  });
  const a = await fixture.replica('a', { ...options, ...logging('a') });
  const b = await fixture.replica('b', { ...options, ...logging('b') });
  const told = (text: RegExp): Promise<unknown> =>
    eventually(`it says ${text.source}`, () => said.some((line) => text.test(line)));
  await b.takeOver();
  await told(/^b: b is the primary from entry \d+ of the log on, epoch 2 \(forced\)\.$/);
  await told(/^a: a follows b, the primary from entry \d+ of the log on, epoch 2 \(forced\)\.$/);
  await eventually('a follows', () => a.status().lifecycle === 'following');
  await b.switchOver('a');
  await told(/^a: a is the primary from .* epoch 3 \(switchover\)/);
  await told(/^b: b follows a, the primary from .* epoch 3 \(switchover\)/);
});

describe('a primary that is deposed amid the answers to a big transaction', () => {
  const limits = { packBytes: 1500 };
  it.each([
    ['the first part', 1, {}],
    ['the second part', 2, {}],
    ['one piece of a part', 1, { maxPayload: 65_536 }],
    ['three pieces of a part', 3, { maxPayload: 65_536 }],
  ])('I3, I4: has it like everybody, after %s', async (_, answers, settings) => {
    fixture = await ClusterFixture.start('shop', settings);
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    let left = Infinity;
    const held: (() => void)[] = [];
    const log = (real: Log): Log =>
      changed(real, {
        append: (request, settled) =>
          real.append(request, (result) => {
            const error = new AntiphonError('TIMEOUT', 'The log does not answer.');
            if (request.origin !== 'a' || left-- > 0) return settled(result);
            held.push(() => settled({ type: 'unknown', error }));
          }),
      });
    const a = await fixture.replicaWith({ log }, 'a', { ...options, limits });
    const b = await fixture.replica('b', { ...options, limits });
    await a.execute([{ sql: "INSERT INTO t VALUES (0, 'small')" }]);
    await eventually('it is published', () => a.status().outbox.unpublished === 0);
    left = answers;
    const params = (id: number): [number, string] => [id, 'x'.repeat(30_000)];
    await a.execute(
      Array.from({ length: BIG_ROWS }, (_row, n) => ({
        sql: 'INSERT INTO t VALUES (?, ?)',
        params: params(n + 1),
      })),
    );
    const ids = async (replica: SqliteReplica): Promise<readonly unknown[]> =>
      (await replica.query('SELECT id FROM t ORDER BY id')).map(({ id }) => id);
    await eventually('b has it', async () => (await ids(b)).length === BIG_ROWS + 1);
    await b.takeOver();
    expect(held.length, 'there are more parts or pieces').toBeGreaterThan(0);
    for (const answer of held) answer();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    await b.execute([{ sql: "INSERT INTO t VALUES (99, 'of b')" }]);
    await eventually('a has read it', async () => (await ids(a)).includes(99n));
    expect(await ids(a)).toEqual(await ids(b));
    expect((await a.rescue.list()).transactions).toEqual([]);
  });
});

describe('a primary that is deposed while the log does not take what it sends', () => {
  it('does not alarm for good what only a primary does', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    let isCut = false;
    const log = (real: Log): Log =>
      changed(real, {
        append: (request, settled) => {
          if (!isCut) return real.append(request, settled);
          settled({ type: 'unknown', error: new AntiphonError('TIMEOUT', 'The log does not answer.') });
        },
      });
    const a = await fixture.replicaWith({ log }, 'a', options);
    const b = await fixture.replica('b', options);
    isCut = true;
    await a.execute([{ sql: "INSERT INTO t VALUES (1, 'unsent')" }]);
    await eventually('a alarms it', () => a.status().alarms.some(({ name }) => name === 'publish'));
    await b.takeOver();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    expect(a.status().alarms.map(({ name }) => name)).toEqual(['rescue']);
    expect(a.healthcheck()).toMatchObject({ ready: true });
  });
});

describe('a primary that is deposed and cannot undo what only it has', () => {
  it('I9: does not pass for the primary, and names the one that is', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const store = sqlite({ file: fixture.file('a'), busyTimeoutMs: 100 });
    const a = await fixture.replica('a', { ...options, store });
    const b = await fixture.replica('b', options);
    const ending = new AbortController();
    const seen: (string | undefined)[] = [];
    const watching = (async () => {
      for await (const event of a.events({ signal: ending.signal }))
        if (event.type === 'epoch') seen.push(event.epoch.primary);
    })().catch(() => undefined);
    const shell = new DatabaseSync(fixture.file('a'), { timeout: 5000 });
    shell.exec("BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 'shell')");
    expect(await b.takeOver()).toMatchObject({ elected: true });
    await eventually('it has read the epoch', () => a.status().role === 'replica', 5000);
    expect(a.status().epoch).toMatchObject({ number: 2, primary: 'b', why: 'forced' });
    expect(a.status().position.seq).toBeLessThan(a.status().epoch?.seq ?? 0);
    const bus = (await fixture.nats()).bus();
    const asked = remoteRef<PeerProtocol>(bus, mailboxPrefix('shop', 'a'), { timeoutMs: 5000 });
    expect(await asked.ask('candidacy'), 'what is in its way').toMatchObject({
      primary: 'b',
      eligible: false,
    });
    await eventually('it waits for the file', () => a.status().lifecycle === 'holding', 20_000);
    expect(a.status().role).toBe('replica');
    expect(seen.at(-1)).toBe('b');
    expect(await asked.ask('candidacy')).toMatchObject({
      ...{ epoch: 2, primary: 'b', eligible: false },
      why: expect.stringMatching(/cannot be applied here: .*End the other program's transaction/) as string,
    });
    // What is called on it is written where the primary is.
    await a.execute([{ sql: "INSERT INTO t VALUES (2, 'forwarded')" }]);
    await expect(a.transaction((tx) => tx.run("INSERT INTO t VALUES (3, 'here')"))).rejects.toMatchObject({
      code: 'NOT_WRITABLE',
      context: { primary: 'b' },
    });
    expect(await rowsOf(b, 't')).toMatch(/forwarded/);
    // However long that lasts, it goes on soon after.
    await new Promise((resolve) => setTimeout(resolve, 6000));
    shell.exec('ROLLBACK');
    shell.close();
    await eventually('it follows', () => a.status().lifecycle === 'following', 8000);
    expect(a.status()).toMatchObject({ role: 'replica', epoch: { number: 2, primary: 'b' } });
    expect(seen.filter((primary) => primary === 'b')).toHaveLength(1);
    ending.abort();
    await watching;
  });
});

describe('several replicas that claim at the same moment', () => {
  it('I7: one of them is the primary, and all say the same', { timeout: 60_000 }, async () => {
    const all = await members('a', 'b', 'c');
    for (let round = 1; round <= RIVAL_ROUNDS; round++) {
      const taken = await Promise.all(all.map((replica) => replica.takeOver()));
      await eventually('all have read the same epochs', () => {
        const epochs = all.map((replica) => JSON.stringify(replica.status().epoch));
        return new Set(epochs).size === 1;
      });
      const primaries = all.filter((replica) => replica.status().role === 'primary');
      expect(primaries.map(({ id }) => id)).toEqual([all[0]?.status().epoch?.primary]);
      for (const one of taken)
        for (const other of taken) if (one.epoch === other.epoch) expect(one.primary).toBe(other.primary);
      await primaries[0]?.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [round, 'x'] }]);
    }
    await eventually('all have the same', async () => {
      const rows = await Promise.all(all.map((replica) => rowsOf(replica, 't')));
      return rows.every((one) => one === rows[0]);
    });
    // What a primary had not sent when the next round came is in its ledger.
    const ledgers = await Promise.all(all.map((replica) => replica.rescue.list()));
    const kept = ledgers.reduce((sum, ledger) => sum + ledger.kept, 0);
    expect((await rowsOf(all[0] as SqliteReplica, 't')).split('"id"').length - 1 + kept).toBe(RIVAL_ROUNDS);
  });
});
