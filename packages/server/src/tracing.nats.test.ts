import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { connect, type Client } from '@antiphon/client';
import { SpanStatusCode } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-node';
import { headers } from 'nats';
import { eventually } from '@antiphon/testing';
import { fastify } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { antiphonPlugin } from './fastify.js';
import type { HttpServer } from './index.js';
import { post, Served } from './testing/served.js';
import { pathsOf, Spans } from './testing/spans.js';
import { SubjectClient } from './testing/subject-client.js';

const CALLER = 'b7ad6b7169203331';

let spans: Spans;
let served: Served;
let follower: HttpServer;
let client: Client;
let shop: string;

beforeAll(async () => {
  spans = new Spans();
  served = await Served.start(3, {
    topology: { mode: 'primary-replica', primary: 'r1' },
    failover: { mode: 'manual' },
  });
  follower = await served.server({}, 'r2');
  shop = served.cluster.name;
  client = await connect({ cluster: shop, servers: served.cluster.broker.url ?? '' });
});
afterAll(async () => {
  await client.close();
  await served[Symbol.asyncDispose]();
  await spans[Symbol.asyncDispose]();
});

const newTrace = (): string => randomBytes(16).toString('hex');
const traceparent = (trace: string, flags = '01'): string => `00-${trace}-${CALLER}-${flags}`;
const insert = (id: number): object => ({
  statements: [{ sql: 'INSERT INTO other (id, note) VALUES (?, ?)', params: [id, 'a secret'] }],
});

/** A write that a follower sends on to the primary, as docs/tracing.md lists its spans. */
function writeThrough(first: string): readonly string[] {
  const atPrimary = `${first} > forward ${shop}@r2 > execute ${shop}@r1 > commit ${shop}@r1`;
  const log = `antiphon.${shop}.log`;
  return [
    first,
    `${first} > forward ${shop}@r2`,
    `${first} > forward ${shop}@r2 > execute ${shop}@r1`,
    atPrimary,
    `${atPrimary} > publish ${log}@r1`,
    `${atPrimary} > publish ${log}@r1 > apply ${log}@r2`,
    `${atPrimary} > publish ${log}@r1 > apply ${log}@r3`,
  ];
}

describe('the spans of a write over HTTP', () => {
  it('are one trace, from the request at a follower to what every replica applies', async () => {
    const trace = newTrace();
    const given = { traceparent: traceparent(trace), tracestate: 'vendor=x' };
    expect((await post(follower, '/v1/execute', insert(1), given)).status).toBe(200);
    const found = await spans.until(8, () => spans.of(trace));
    const request = `POST /v1/execute@r2`;
    expect(pathsOf(found)).toEqual([request, ...writeThrough(`${request} > execute ${shop}@r2`)].sort());
    const [root] = found.filter(({ name }) => name === 'POST /v1/execute');
    expect(root?.parentSpanContext?.spanId).toBe(CALLER);
    expect(root?.attributes).toMatchObject({ 'http.route': '/v1/execute', 'http.response.status_code': 200 });
    for (const span of found) expect(span.spanContext().traceState?.serialize()).toBe('vendor=x');
    const [commit] = found.filter(({ name }) => name.startsWith('commit'));
    expect(commit?.attributes['antiphon.transaction']).toMatch(/^r1:\d+$/);
  });

  it('have the text of statements, and no values', async () => {
    const trace = newTrace();
    await post(follower, '/v1/execute', insert(2), { traceparent: traceparent(trace) });
    const found = await spans.until(8, () => spans.of(trace));
    const shown = JSON.stringify(
      found.map(({ name, attributes, events, status }) => ({ name, attributes, events, status })),
    );
    expect(shown).toContain('INSERT INTO other (id, note) VALUES (?, ?)');
    expect(shown).not.toContain('a secret');
  });

  it('tell an error by its code, without the row that its message names', async () => {
    const trace = newTrace();
    await post(follower, '/v1/execute', insert(3), { traceparent: traceparent(newTrace()) });
    const refused = await post(follower, '/v1/execute', insert(3), { traceparent: traceparent(trace) });
    expect(refused.status).toBe(422);
    const found = await spans.until(5, () => spans.of(trace));
    const isRequest = ({ name }: ReadableSpan): boolean => name.startsWith('POST');
    const [request, others] = [found.find(isRequest), found.filter((span) => !isRequest(span))];
    const shown = others.map(({ attributes, status }) => [attributes['error.type'], status.message]);
    expect(shown).toEqual(Array.from({ length: 4 }, () => ['CONSTRAINT', 'CONSTRAINT']));
    // No error of the server.
    expect(request?.attributes['http.response.status_code']).toBe(422);
    expect(request?.status.code).toBe(SpanStatusCode.UNSET);
  });

  it('pass a traceparent over that is none', async () => {
    const trace = newTrace();
    const bad = [`00-${trace}-0000000000000000-01`, `ff-${trace}-${CALLER}-01`, `00-${trace}-${CALLER}`, 'x'];
    for (const [index, one] of bad.entries()) {
      const answer = await post(follower, '/v1/execute', insert(10 + index), { traceparent: one });
      expect(answer.status).toBe(200);
    }
    expect(spans.of(trace)).toEqual([]);
  });

  it('are none where the caller does not sample its trace', async () => {
    // Spans of earlier calls may still come.
    const traces = (): string[] => spans.all.map((span) => span.spanContext().traceId);
    const earlier = new Set(traces());
    const given = { traceparent: traceparent(newTrace(), '00') };
    expect((await post(follower, '/v1/execute', insert(20), given)).status).toBe(200);
    const trace = newTrace();
    await post(follower, '/v1/execute', insert(21), { traceparent: traceparent(trace) });
    await spans.until(8, () => spans.of(trace));
    expect([...new Set(traces().filter((id) => !earlier.has(id)))]).toEqual([trace]);
  });

  it('of a read go on with its trace as well', async () => {
    const trace = newTrace();
    const sql = 'SELECT count(*) AS n FROM other WHERE note <> ?';
    await post(follower, '/v1/query', { sql, params: ['a secret'] }, { traceparent: traceparent(trace) });
    const found = await spans.until(2, () => spans.of(trace));
    expect(pathsOf(found)).toEqual(['POST /v1/query@r2', `POST /v1/query@r2 > query ${shop}@r2`]);
    expect(found[0]?.attributes['db.query.text']).toBe(sql);
  });
});

describe('the spans of a client', () => {
  it('begin with its call', async () => {
    await client.execute([{ sql: 'INSERT INTO other (id) VALUES (?)', params: [30] }]);
    const call = `execute ${shop}@client`;
    const isMine = (): string | undefined =>
      spans.all
        .filter(({ name, kind }) => name === `execute ${shop}` && kind === 2)
        .at(-1)
        ?.spanContext().traceId;
    const found = await spans.until(6, () => spans.of(isMine() ?? ''));
    const atPrimary = `${call} > execute ${shop}@r1 > commit ${shop}@r1 > publish antiphon.${shop}.log@r1`;
    expect(pathsOf(found)).toContain(`${atPrimary} > apply antiphon.${shop}.log@r3`);
  });

  it('begin with the request of a service that has the plugin', async () => {
    const app = fastify();
    await app.register(antiphonPlugin, { client });
    app.post('/orders', async (request) =>
      request.antiphon.execute([{ sql: 'INSERT INTO other (id) VALUES (?)', params: [40] }]).then(() => ({})),
    );
    const trace = newTrace();
    const answer = await app.inject({
      method: 'POST',
      url: '/orders',
      headers: { traceparent: traceparent(trace) },
    });
    expect(answer.statusCode).toBe(200);
    const found = await spans.until(6, () => spans.of(trace));
    expect(pathsOf(found)[0]).toBe(`execute ${shop}@client`);
    await app.close();
  });
});

describe('the spans of a program of NATS', () => {
  it('go on with what its request says, and with the changes that come of it', async () => {
    await using program = await SubjectClient.connect(served.cluster.broker.url);
    const { folder, broker } = served.cluster;
    await using publisher = await createReplica({
      ...{
        cluster: shop,
        id: 'p1',
        servers: broker.url ?? '',
        store: sqlite({ file: join(folder, 'p1.db') }),
      },
      ...{ publish: { subject: 'changes.{table}' }, failoverPriority: 0 },
    });
    await publisher.caughtUp();
    const subjects = served.subjects('r2');
    await using _ = subjects;
    const ask = (subject: string): Promise<unknown> => program.nats.request(subject, '{}', { timeout: 5000 });
    // Another connection hears of the subscription a moment later.
    await eventually('somebody listens', () =>
      ask(subjects.write).then(
        () => true,
        () => false,
      ),
    );
    const trace = newTrace();
    const given = headers();
    given.set('traceparent', traceparent(trace));
    const data = new TextEncoder().encode(JSON.stringify(insert(50)));
    const changes = program.nats.subscribe('changes.other');
    const change = (async () => {
      for await (const message of changes)
        if (message.headers?.get('traceparent').includes(trace) === true)
          return message.headers.get('traceparent');
      return undefined;
    })();
    await program.nats.request(subjects.write, data, { timeout: 5000, headers: given });
    const found = await spans.until(8, () => spans.of(trace));
    expect(pathsOf(found)[0]).toBe(`execute ${shop}@r2`);
    const published = found.find(({ name }) => name.startsWith('publish'));
    expect(await change).toBe(`00-${trace}-${published?.spanContext().spanId}-01`);
    changes.unsubscribe();
  });
});

describe('the spans of what is applied together', () => {
  it('are one without a parent, with a link to each of the writes', async () => {
    await served.cluster.stopReplica('r3');
    const traces = Array.from({ length: 5 }, newTrace);
    for (const [index, trace] of traces.entries())
      await post(follower, '/v1/execute', insert(60 + index), { traceparent: traceparent(trace) });
    await served.cluster.startReplica('r3');
    await served.cluster.caughtUp();
    const together = (): readonly ReadableSpan[] =>
      spans.all.filter(({ name, links }) => name.startsWith('apply') && links.length === traces.length);
    const [span] = await spans.until(1, together);
    expect(span?.parentSpanContext).toBeUndefined();
    expect(span?.links.map(({ context }) => context.traceId)).toEqual(traces);
    expect(span?.attributes).toMatchObject({ 'antiphon.replica': 'r3', 'messaging.batch.message_count': 5 });
  });
});

describe('the spans of a synchronous write', () => {
  it('have what is published and applied within what commits it', async () => {
    await using synchronous = await Served.start(2, {
      ...{ topology: { mode: 'multi-primary' }, update: { mode: 'sync', acks: 'all' } },
    });
    const server = await synchronous.server({}, 'r2');
    const trace = newTrace();
    const answer = await post(server, '/v1/execute', insert(1), { traceparent: traceparent(trace) });
    expect(answer.status).toBe(200);
    const found = await spans.until(5, () => spans.of(trace));
    const commit = `POST /v1/execute@r2 > execute ${shop}@r2 > commit ${shop}@r2`;
    expect(pathsOf(found).slice(2)).toEqual([
      commit,
      `${commit} > publish antiphon.${shop}.log@r2`,
      `${commit} > publish antiphon.${shop}.log@r2 > apply antiphon.${shop}.log@r1`,
    ]);
  });
});
