import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';
import { type Published, publishedIn, violationsIn } from '../testing/published.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);';
const PUBLISH = { subject: 'shop.{table}.{op}' } as const;
const STREAM = 'ANTIPHON-CHANGES_shop';
const PATIENCE_MS = 20_000;

const insert = (replica: SqliteReplica, ...ids: number[]): Promise<unknown> =>
  replica.execute(ids.map((id) => ({ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, `row ${id}`] })));

const idsOf = (messages: readonly Published[]): number[] =>
  messages.map(({ change }) => Number(change.key?.['id']));

/** Waits until so many are there, and checks that they are as they should be. */
async function published(cluster: ClusterFixture, count: number): Promise<readonly Published[]> {
  const nats = await cluster.nats();
  let messages: readonly Published[] = [];
  await eventually(
    `${count} changes are published`,
    async () => {
      messages = await publishedIn(nats, STREAM).catch(() => []);
      return messages.length >= count;
    },
    PATIENCE_MS,
  );
  expect(violationsIn(messages)).toEqual([]);
  expect(messages).toHaveLength(count);
  return messages;
}

describe('published changes', () => {
  it('are JSON on subjects of their own, in the order of the log', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', `${SCHEMA} CREATE TABLE "a.b c" (k TEXT PRIMARY KEY, i INTEGER, r REAL, b BLOB);`);
    const a = await cluster.replica('a', { publish: PUBLISH });
    await insert(a, 1, 2);
    await a.execute([
      { sql: 'UPDATE t SET v = ? WHERE id = 1', params: ['x'] },
      { sql: 'DELETE FROM t WHERE id = 2' },
    ]);
    const row = "INSERT INTO \"a.b c\" VALUES ('k', 9223372036854775807, 9e999, x'00ff')";
    await a.execute([{ sql: row }]);
    const messages = await published(cluster, 5);
    expect(messages.map(({ subject }) => subject)).toEqual([
      ...['shop.t.insert', 'shop.t.insert', 'shop.t.update', 'shop.t.delete', 'shop.a%2Eb%20c.insert'],
    ]);
    expect(messages[2]?.change).toEqual({
      ...{ id: 'a:2', index: 0, last: false, origin: 'a', counter: 2, table: 't', op: 'update' },
      ...{ time: expect.any(Number) as number, seq: expect.any(Number) as number },
      ...{ key: { id: 1 }, before: { v: 'row 1' }, after: { id: 1, v: 'x' } },
    });
    expect(messages[3]?.change).toMatchObject({ index: 1, last: true, before: { id: 2, v: 'row 2' } });
    expect(messages[4]?.change.after).toEqual({
      ...{ k: 'k', i: { integer: '9223372036854775807' }, r: { real: 'Infinity' }, b: { base64: 'AP8=' } },
    });
    expect(messages.map(({ messageId }) => messageId.split('~')[0])).toEqual([
      ...['a:1/0', 'a:1/1', 'a:2/0', 'a:2/1', 'a:3/0'],
    ]);
    expect(a.status().publishing).toMatchObject({ state: 'active', publishedSeq: 5, changes: 5 });
  });

  it('I17: come once each, whichever replica publishes', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { publish: PUBLISH });
    await insert(a, 1);
    await published(cluster, 1);
    const b = await cluster.replica('b', { publish: PUBLISH });
    await insert(b, 2, 3);
    await insert(a, 4);
    await published(cluster, 4);
    expect([a.status().publishing?.state, b.status().publishing?.state]).toEqual(['active', 'standby']);
    await cluster.closeReplica('a');
    await insert(b, 5);
    expect(idsOf(await published(cluster, 5)).sort()).toEqual([1, 2, 3, 4, 5]);
    expect(b.status().publishing?.state).toBe('active');
    const again = await cluster.replica('a', { publish: PUBLISH });
    await insert(again, 6);
    await published(cluster, 6);
    expect(again.status().publishing?.state).toBe('standby');
  });

  it('I17: come once each while two publish at once', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const [a, b] = [
      await cluster.replica('a', { publish: PUBLISH }),
      await cluster.replica('b', { publish: PUBLISH }),
    ];
    for (let id = 0; id < 400; id += 4) await Promise.all([insert(a, id, id + 1), insert(b, id + 2, id + 3)]);
    expect(idsOf(await published(cluster, 400)).sort((x, y) => x - y)).toEqual([...Array(400).keys()]);
  });

  it('I17: of a big transaction follow each other, whatever comes in parts', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { publish: PUBLISH });
    const b = await cluster.replica('b');
    const big = 'x'.repeat(3000);
    const many = Array.from({ length: 500 }, (_, id) => ({
      ...{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, big] },
    }));
    const writing = b.execute(many);
    for (let id = 1000; id < 1020; id++) await insert(a, id);
    await writing;
    const messages = await published(cluster, 520);
    const ofBig = messages.filter(({ change }) => change.origin === 'b');
    expect(ofBig.map(({ change }) => change.index)).toEqual([...Array(500).keys()]);
    expect(ofBig.filter(({ change }) => change.last)).toHaveLength(1);
  });

  it('I17: do not include what certification rejected', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql(
      'a',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); INSERT INTO t VALUES (1, 0)',
    );
    const options = { update: { mode: 'sync', minInSync: 2 }, publish: PUBLISH } as const;
    const a = await cluster.replica('a', options);
    const b = await cluster.replica('b', options);
    const bump = { sql: 'UPDATE t SET n = n + 1 WHERE id = 1' };
    const writes = Array.from({ length: 60 }, (_, n) => (n % 2 === 0 ? a : b).execute([bump]));
    const ended = await Promise.allSettled(writes);
    const committed = ended.filter(({ status }) => status === 'fulfilled').length;
    // The row from before, and each committed write, each of which saw the one before.
    const messages = await published(cluster, committed + 1);
    const after = messages.map(({ change }) => change.after?.['n']);
    expect(after).toEqual(Array.from({ length: committed + 1 }, (_, n) => n));
    expect(messages.map(({ change }) => change.seq)).toEqual(
      messages.map(({ change }) => change.seq).sort((x, y) => x - y),
    );
  });

  it('are published again from the beginning when somebody deletes the stream', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { publish: PUBLISH });
    await insert(a, 1, 2);
    await published(cluster, 2);
    const manager = await (await cluster.nats()).connection.jetstreamManager();
    await manager.streams.delete(STREAM);
    await insert(a, 3);
    expect(idsOf(await published(cluster, 3))).toEqual([1, 2, 3]);
  });

  it('stop with an alarm while the stream takes none, and go on without a loss', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { publish: PUBLISH });
    await insert(a, 1);
    await published(cluster, 1);
    const manager = await (await cluster.nats()).connection.jetstreamManager();
    const { config } = await manager.streams.info(STREAM);
    await manager.streams.update(STREAM, { ...config, max_msgs: 2, discard: 'new' as never });
    for (let id = 2; id < 6; id++) await insert(a, id);
    const alarmed = (): boolean => a.status().alarms.some(({ name }) => name === 'publishing');
    await eventually('there is an alarm', alarmed, PATIENCE_MS);
    expect(a.status().publishing).toMatchObject({ state: 'stopped', publishedSeq: 2 });
    expect(a.status().publishing?.problem).toMatch(/maximum messages exceeded/);
    await manager.streams.update(STREAM, { ...config, max_msgs: -1, discard: 'new' as never });
    expect(idsOf(await published(cluster, 5))).toEqual([1, 2, 3, 4, 5]);
    await eventually('the alarm is over', () => !alarmed(), PATIENCE_MS);
  });

  it('stop with an alarm when nobody can tell how far they are', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    let a = await cluster.replica('a', { publish: PUBLISH });
    await insert(a, 1);
    await published(cluster, 1);
    await cluster.closeReplica('a');
    const manager = await (await cluster.nats()).connection.jetstreamManager();
    await manager.streams.purge(STREAM);
    a = await cluster.replica('a', { publish: PUBLISH });
    await eventually('there is an alarm', () => a.status().alarms.length > 0, PATIENCE_MS);
    expect(a.status().publishing?.problem).toMatch(/is gone: it was deleted, or too old/);
    await manager.streams.delete(STREAM);
    expect(idsOf(await published(cluster, 1))).toEqual([1]);
  });

  it('I17: go on where they were when all of them are too old to be kept', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    let a = await cluster.replica('a', { publish: PUBLISH });
    await insert(a, 1, 2);
    await published(cluster, 2);
    const { registry } = await cluster.ports();
    const key = `published.${STREAM}`;
    await eventually('there is a copy', async () => (await registry.get(key)) !== undefined, PATIENCE_MS);
    await cluster.closeReplica('a');
    const nats = await cluster.nats();
    await (await nats.connection.jetstreamManager()).streams.purge(STREAM);
    a = await cluster.replica('a', { publish: PUBLISH });
    await insert(a, 3);
    expect(idsOf(await published(cluster, 1))).toEqual([3]);
    expect((await publishedIn(nats, STREAM)).map(({ seq }) => seq)).toEqual([3]);
  });

  it('leave a mark where one is larger than a message may be', async () => {
    await using cluster = await ClusterFixture.start('shop', { maxPayload: 64 * 1024 });
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { publish: PUBLISH });
    await a.execute([{ sql: 'INSERT INTO t VALUES (1, ?)', params: ['x'.repeat(100_000)] }]);
    await insert(a, 2);
    const [mark, next] = await published(cluster, 2);
    expect(mark?.change).toMatchObject({ key: { id: 1 }, op: 'insert', index: 0, last: true });
    expect(mark?.change.tooLarge).toBeGreaterThan(100_000);
    expect(mark?.change.after).toBeUndefined();
    expect(next?.change.after).toEqual({ id: 2, v: 'row 2' });
    expect(a.status().publishing?.tooLarge).toBe(1);
  });

  it('go nowhere when the stream is somebody else’s', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const manager = await (await cluster.nats()).connection.jetstreamManager();
    await manager.streams.add({ name: STREAM, subjects: ['other.*'] });
    const a = await cluster.replica('a', { publish: PUBLISH });
    await insert(a, 1);
    await eventually('it says so', () => a.status().publishing?.problem !== undefined, PATIENCE_MS);
    expect(a.status().publishing?.problem).toMatch(/takes other\.\*, and not shop\.\*\.\*/);
    expect((await manager.streams.info(STREAM)).state.messages).toBe(0);
  });
});
