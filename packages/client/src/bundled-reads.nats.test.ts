import { msgpackCodec } from '@antiphon/actor';
import { connectNats, type NatsHandle } from '@antiphon/nats';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Client } from './client.js';
import { connect } from './connect.js';

const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, data BLOB)';
const topology = { mode: 'primary-replica', primary: 'a' } as const;
const BY_KEY = 'SELECT id FROM t WHERE id = ?';
/** Some hundredths of a second. */
const SLOW =
  'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) AS n FROM n';
const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
const NUMBER = { integers: 'number' } as const;
const ROWS = 100;

let cluster: TestCluster;
let client: Client;
let spy: NatsHandle;
/** How many reads came in each message, and where. */
let messages: { readonly replica: string; readonly reads: number }[];

beforeEach(async () => {
  cluster = await TestCluster.start({
    ...{ schema, replicas: ['a', 'b', 'c'] },
    options: { topology, limits: { beatMs: 100 } },
  });
  const servers = cluster.broker.url!;
  client = await connect({ cluster: cluster.name, servers });
  spy = await connectNats({ servers, name: 'spy' });
  messages = [];
  spy.bus().subscribe(`antiphon.${cluster.name}.replica.*.query`, ({ subject, data }) => {
    const request = msgpackCodec.decode(data);
    const reads = Array.isArray(request) ? request.length : typeof request === 'string' ? 0 : 1;
    messages.push({ replica: subject.split('.')[3] ?? '', reads });
  });
  const params = (id: number): [number, string] => [id, 'x'.repeat(id)];
  const insert = { sql: 'INSERT INTO t (id, v) VALUES (?, ?)' };
  await client.execute(
    Array.from({ length: ROWS }, (_, index) => ({ ...insert, params: params(index + 1) })),
  );
  await cluster.caughtUp();
  // Each replica has said by then that it takes several reads in a message.
  await Promise.all(keys(20).map(find));
  messages = [];
});

afterEach(async () => {
  await spy.close();
  await client.close();
  await cluster[Symbol.asyncDispose]();
});

const keys = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index + 1);
const find = async (id: number): Promise<number | undefined> =>
  (await client.query<{ id: number }>(BY_KEY, [id], NUMBER))[0]?.id;
const caught = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);
const readsOf = (replica: string): number =>
  messages.reduce((sum, one) => sum + (one.replica === replica ? one.reads : 0), 0);

describe('reads of one turn', () => {
  it('go to each replica in one message, and one that is alone goes alone', async () => {
    expect(await Promise.all(keys(64).map(find))).toEqual(keys(64));
    await eventually('all were heard', () => readsOf('b') + readsOf('c') === 64);
    expect(messages.filter(({ reads }) => reads > 0)).toHaveLength(2);
    messages = [];
    expect(await find(7)).toBe(7);
    await eventually('it was heard', () => messages.length > 0);
    expect(messages).toMatchObject([{ reads: 1 }]);
  });

  it('do not wait for a slow one among them, which ends at its own limit', async () => {
    let isSlowOver = false;
    const slow = caught(client.query(ENDLESS, [], { timeoutMs: 3000 })).finally(() => (isSlowOver = true));
    expect(await Promise.all(keys(40).map(find))).toEqual(keys(40));
    expect(isSlowOver).toBe(false);
    expect(await slow).toMatchObject({ code: 'TIMEOUT' });
  });

  it('have each its own error, limits and signal', async () => {
    const controller = new AbortController();
    const wrong = caught(client.query('SELECT * FROM nowhere'));
    const tooMany = caught(client.query('SELECT id FROM t', [], { maxRows: 5 }));
    const aborted = caught(client.query(ENDLESS, [], { signal: controller.signal }));
    const session = client.session();
    const seen = session.query<{ n: number }>('SELECT count(*) AS n FROM t', [], NUMBER);
    const others = keys(20).map(find);
    expect(await Promise.all(others)).toEqual(keys(20));
    controller.abort();
    expect(await wrong).toMatchObject({ code: 'BAD_SQL', message: expect.stringContaining('nowhere') });
    expect(await tooMany).toMatchObject({ code: 'BAD_SQL', context: { maxRows: 5 } });
    expect(await aborted).toMatchObject({ code: 'ABORTED' });
    expect(await seen).toEqual([{ n: ROWS }]);
    await session.execute([{ sql: 'INSERT INTO t (id) VALUES (1000)' }]);
    const [after, ...rest] = await Promise.all([
      session.query(BY_KEY, [1000], NUMBER),
      ...keys(20).map(find),
    ]);
    expect(after).toEqual([{ id: 1000 }]);
    expect(rest).toEqual(keys(20));
  });

  it('are asked of another replica, each once, where the one that had them was killed', async () => {
    const asked = keys(12).map(() => client.read<{ n: number }>(SLOW, [], { ...NUMBER, timeoutMs: 60_000 }));
    await eventually('they are on their way', () => readsOf('b') > 0 && readsOf('c') > 0);
    const [lost, kept] = [readsOf('b'), readsOf('c')];
    expect(lost + kept).toBe(12);
    await cluster.killReplica('b');
    const answers = await Promise.all(asked);
    expect(answers.every(({ rows }) => rows[0]?.n === 300_000)).toBe(true);
    const saved = answers.filter(({ replica }) => replica === 'b').length;
    expect(answers.length - saved).toBe(answers.filter(({ replica }) => replica === 'c').length);
    expect(readsOf('b')).toBe(lost);
    expect(readsOf('c')).toBe(kept + lost - saved);
  });

  it('are answered to the last by a replica that is drained, and no new ones go there', async () => {
    const asked = keys(64).map(find);
    cluster.replica('b').reads.drain();
    expect(await Promise.all(asked)).toEqual(keys(64));
    await eventually('the client knows', () => client.explain().replicas.length === 1);
    messages = [];
    expect(await Promise.all(keys(64).map(find))).toEqual(keys(64));
    expect(readsOf('b')).toBe(0);
  });

  it('may be larger together than a message is, in both directions', async () => {
    const size = 300_000;
    await client.execute([{ sql: 'UPDATE t SET data = zeroblob(?) WHERE id <= 8', params: [size] }]);
    await cluster.caughtUp();
    const large = keys(8).map((id) =>
      client.query<{ data: Uint8Array }>('SELECT data FROM t WHERE id = ?', [id]),
    );
    const given = keys(8).map((id) =>
      client.query<{ n: number }>('SELECT length(?) + ? AS n', [new Uint8Array(size), id], NUMBER),
    );
    const tooLarge = caught(client.query('SELECT zeroblob(2000000)'));
    expect(await Promise.all(keys(50).map(find))).toEqual(keys(50));
    for (const rows of await Promise.all(large)) expect(rows[0]?.data).toHaveLength(size);
    expect(await Promise.all(given)).toEqual(keys(8).map((id) => [{ n: size + id }]));
    expect(await tooLarge).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
  });
});
