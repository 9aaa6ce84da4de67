import { eventually } from '@antiphon/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { TestReplicaOptions } from '@antiphon/test-cluster';
import { Served } from './testing/served.js';
import { type JsonAnswer, SubjectClient } from './testing/subject-client.js';

const [READ, WRITE, NAME] = ['antiphon.test.read', 'antiphon.test.write', 'antiphon-test'];
const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n';
const ONE = { sql: 'SELECT 1' };
/** A request to a replica that is gone has no answer: so long it is waited for. */
const QUICK = { timeout: 1500 };

let served: Served;
let client: SubjectClient;

async function start(replicas: number, options: TestReplicaOptions = {}): Promise<void> {
  served = await Served.start(replicas, options);
  client = await SubjectClient.connect(served.cluster.broker.url);
}
async function stop(): Promise<void> {
  await client[Symbol.asyncDispose]();
  await served[Symbol.asyncDispose]();
}

async function listen(endpoint: string, ids: readonly string[]): Promise<void> {
  await eventually(`${ids.join(', ')} and nobody else answers on ${endpoint}`, async () => {
    const listening = await client.listening(NAME, endpoint);
    return listening.join() === ids.join();
  });
}

/** As an application does it: again until there is an answer that stays. */
async function persistently(subject: string, body: unknown): Promise<JsonAnswer> {
  let answer: JsonAnswer | undefined;
  await eventually('a certain answer', async () => {
    answer = await client.json(subject, body, QUICK).catch(() => undefined);
    const { code, retriable = false } = answer?.body.error ?? {};
    return answer !== undefined && retriable !== true && code !== 'OUTCOME_UNKNOWN';
  });
  return answer!;
}

describe('of three replicas', () => {
  beforeAll(async () => {
    await start(3, { failover: { mode: 'manual' } });
    for (const id of ['r1', 'r2', 'r3']) served.subjects(id);
    await listen('read', ['r1', 'r2', 'r3']);
  });
  afterAll(stop);

  it('one that is drained gets no reads until it is resumed, and nobody is left without an answer', async () => {
    const { reads } = served.replica('r2');
    // The processes that read are started on demand, which may take seconds on a busy machine.
    for (const id of ['r1', 'r2', 'r3']) await served.replica(id).query('SELECT 1');
    const asked = Array.from({ length: 100 }, async (_, n) => {
      if (n === 50) reads.drain();
      return client.json(READ, ONE);
    });
    for (const answer of await Promise.all(asked)) expect(answer.body['rows']).toEqual([{ 1: 1 }]);
    await listen('read', ['r1', 'r3']);
    await listen('write', ['r1', 'r2', 'r3']);
    const before = await client.requestsOf(NAME, 'read');
    for (let n = 0; n < 40; n++) await client.json(READ, ONE);
    const then = await client.requestsOf(NAME, 'read');
    expect(then['r2']).toBe(before['r2']);
    reads.resume();
    await listen('read', ['r1', 'r2', 'r3']);
    for (let n = 0; n < 40; n++) await client.json(READ, ONE);
    expect((await client.requestsOf(NAME, 'read'))['r2']).toBeGreaterThan(before['r2'] ?? 0);
  });

  it('all are there again after NATS was away', async () => {
    await served.cluster.broker.stop();
    await served.cluster.broker.start();
    await listen('read', ['r1', 'r2', 'r3']);
    expect((await persistently(READ, ONE)).body['rows']).toEqual([{ 1: 1 }]);
  });

  it('the others answer when one is killed, and a write is written once across a failover', async () => {
    await served.cluster.killReplica('r3');
    for (let n = 0; n < 20; n++) expect((await persistently(READ, ONE)).code).toBe('');
    await listen('read', ['r1', 'r2']);
    const sql = 'INSERT INTO other (note) VALUES (?)';
    const request = { statements: [{ sql, params: ['once'] }], requestId: 'order-7', timeoutMs: 1000 };
    const asked = client.json(WRITE, request, QUICK).catch(() => undefined);
    await served.cluster.killReplica('r1');
    await served.replica('r2').takeOver();
    await asked;
    const written = await persistently(WRITE, request);
    expect(written.body).toMatchObject({ outcome: 'committed', changes: [1] });
    const again = await persistently(WRITE, request);
    expect(again.body).toMatchObject({ changes: [1], repeated: true });
    const session = { consistency: 'session', after: again.body['position'] };
    const read = await client.json(READ, { sql: 'SELECT note FROM other', ...session });
    expect(read.body['rows']).toEqual([{ note: 'once' }]);
  });
});

describe('without failover', () => {
  afterEach(stop);

  it('only the one that writes is asked for writes', async () => {
    await start(2);
    for (const id of ['r1', 'r2']) served.subjects(id);
    await listen('read', ['r1', 'r2']);
    await listen('write', ['r1']);
  });
});

describe('limits', () => {
  afterEach(stop);

  it('hold, and a service that closes answers what it has begun', async () => {
    await start(1);
    const limits = { bodyBytes: 1000, resultBytes: 5000, requests: 2, graceMs: 200 };
    const subjects = served.subjects('r1', { limits });
    await listen('read', ['r1']);
    const large = await client.json(READ, { sql: `SELECT 1 ${' '.repeat(1000)}` });
    expect(large).toMatchObject({ code: '413', body: { error: { code: 'MESSAGE_TOO_LARGE' } } });
    const result = await client.json(READ, { sql: 'SELECT hex(zeroblob(3000)) AS h' });
    expect(result).toMatchObject({ code: '400', body: { error: { code: 'BAD_SQL' } } });
    const late = await client.json(READ, { sql: ENDLESS, timeoutMs: 100 });
    expect(late).toMatchObject({ code: '504', body: { error: { code: 'TIMEOUT' } } });

    const running = [1, 2].map(() => client.json(READ, { sql: ENDLESS }));
    await eventually('it refuses a third', async () => (await client.json(READ, ONE)).code === '429');
    const over = await client.json(READ, ONE);
    expect(over.body.error).toMatchObject({ code: 'OVERLOADED', retriable: true });
    await subjects.close();
    await subjects.close();
    for (const answer of await Promise.all(running))
      expect(answer).toMatchObject({ code: '503', body: { error: { code: 'ABORTED', retriable: true } } });
    await expect(client.json(READ, ONE)).rejects.toMatchObject({ code: '503' });
    expect(await client.services(NAME)).toEqual([]);
    expect(await served.replica('r1').query('SELECT 1 AS n')).toEqual([{ n: 1n }]);
  });
});
