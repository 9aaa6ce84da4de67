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
      ...{ k: 'k', i: '9223372036854775807', r: { real: 'Infinity' }, b: { base64: 'AP8=' } },
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
    expect(idsOf(await published(cluster, 5))).toEqual([1, 2, 3, 4, 5]);
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
});
