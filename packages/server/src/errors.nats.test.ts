import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HttpServer } from './index.js';
import { get, post, query, Served, write } from './testing/served.js';

let served: Served;
let server: HttpServer;
beforeAll(async () => {
  served = await Served.start(2);
  server = await served.server({ limits: { bodyBytes: 1000, headersTimeoutMs: 500, requestTimeoutMs: 500 } });
});
afterAll(() => served[Symbol.asyncDispose]());

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Everything that comes back on a connection of its own. */
async function raw(text: string, { address }: HttpServer = server): Promise<Answer> {
  const socket = connect(address);
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => void (answer += chunk));
  socket.on('error', () => undefined);
  socket.write(text);
  await once(socket, 'close');
  return answerOf(answer);
}

function answerOf(text: string): Answer {
  const [head = '', body = ''] = text.split('\r\n\r\n');
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), head, body };
}

const END = 'Connection: close\r\n\r\n';
const request = (line: string, headers = ''): string =>
  `${line} HTTP/1.1\r\nHost: localhost\r\n${headers}${END}`;
const JSON_TYPE = 'Content-Type: application/json\r\n';
function posted(path: string, body: string, headers = JSON_TYPE): string {
  return `${request(`POST ${path}`, `${headers}Content-Length: ${Buffer.byteLength(body)}\r\n`)}${body}`;
}

/** One form, whoever refuses: Node.js, Fastify, a hook, a route, a replica. */
function assertForm({ head, status, body }: Answer, code: string): void {
  expect(head).toMatch(/^content-type: application\/json/im);
  const { error, ...others } = JSON.parse(body) as { readonly error: Readonly<Record<string, unknown>> };
  expect(others).toEqual({});
  expect(Object.keys(error).sort()).toEqual(['code', 'context', 'message', 'retriable']);
  expect(error['code']).toBe(code);
  expect(error['message']).toMatch(/.{20}/);
  const comesAgain = error['retriable'] === true && (status === 429 || status === 503);
  expect(/^retry-after: 1\r?$/im.test(head)).toBe(comesAgain);
}

describe('whatever refuses a request, the answer has one form', () => {
  it.each<[string, number, string, string]>([
    ['an address that is not there', 404, 'NOT_FOUND', request('GET /v1/nothing')],
    ['a file of the page that is not there', 404, 'NOT_FOUND', request('GET /assets/x.js')],
    ['every address at once', 404, 'NOT_FOUND', request('OPTIONS *')],
    ['a proxied address', 404, 'NOT_FOUND', request('GET http://example.com/x')],
    ['a code of no character', 400, 'BAD_REQUEST', request('GET /%ff')],
    ['a method of none', 405, 'METHOD_NOT_ALLOWED', request('DELETE /v1/query')],
    ['a method of the page', 405, 'METHOD_NOT_ALLOWED', posted('/', '{}')],
    ['a method of the description', 405, 'METHOD_NOT_ALLOWED', posted('/openapi.json', '{}')],
    ['a tunnel', 405, 'METHOD_NOT_ALLOWED', request('CONNECT example.com:443')],
    ['a method that HTTP has not', 400, 'BAD_REQUEST', request('FETCH /livez')],
    ['no HTTP', 400, 'BAD_REQUEST', 'nonsense\r\n\r\n'],
    ['HTTP/2', 400, 'BAD_REQUEST', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['no host', 400, 'BAD_REQUEST', `GET /livez HTTP/1.1\r\n${END}`],
    ['another host', 403, 'FORBIDDEN', `GET /livez HTTP/1.1\r\nHost: evil.example\r\n${END}`],
    [
      'two lengths',
      400,
      'BAD_REQUEST',
      request('POST /v1/query', 'Content-Length: 1\r\nContent-Length: 2\r\n'),
    ],
    [
      'a page of elsewhere',
      403,
      'FORBIDDEN',
      posted('/v1/query', '{}', `${JSON_TYPE}Origin: https://a.example\r\n`),
    ],
    ['no JSON', 400, 'BAD_REQUEST', posted('/v1/query', '{')],
    ['no body', 400, 'BAD_OPTION', request('POST /v1/query')],
    ['an empty body', 400, 'BAD_REQUEST', posted('/v1/query', '')],
    [
      'another type',
      415,
      'UNSUPPORTED_MEDIA_TYPE',
      posted('/v1/query', 'a=b', 'Content-Type: text/plain\r\n'),
    ],
    ['no type', 415, 'UNSUPPORTED_MEDIA_TYPE', posted('/v1/query', '{}', '')],
    [
      'a compressed body',
      ...([415, 'UNSUPPORTED_MEDIA_TYPE'] as const),
      posted('/v1/query', 'xx', `${JSON_TYPE}Content-Encoding: gzip\r\n`),
    ],
    [
      'an expectation',
      417,
      'EXPECTATION_FAILED',
      posted('/v1/query', '{}', `${JSON_TYPE}Expect: a-miracle\r\n`),
    ],
    ['too much', 413, 'MESSAGE_TOO_LARGE', posted('/v1/query', ' '.repeat(2000))],
    ['large headers', 431, 'HEADERS_TOO_LARGE', request('GET /livez', `X-A: ${'a'.repeat(20_000)}\r\n`)],
    ['half a request', 408, 'REQUEST_TIMEOUT', 'POST /v1/query HTTP/1.1\r\nHost: localhost\r\n'],
    ['half a body', 408, 'REQUEST_TIMEOUT', posted('/v1/query', '{}').slice(0, -1)],
    ['another field', 400, 'BAD_OPTION', posted('/v1/query', '{"sql":"SELECT 1","extra":1}')],
    ['SQL that is none', 400, 'BAD_SQL', posted('/v1/query', '{"sql":"SELEKT"}')],
    ['a query of an address', 400, 'BAD_OPTION', request('GET /replica?maxLagMs=x')],
    ['a place that is none', 400, 'BAD_OPTION', request('GET /v1/changes?from=xyz')],
    ['a replica that is not there', 404, 'NOT_FOUND', posted('/v1/admin/drain', '{"replica":"r9"}')],
  ])('%s: %i %s', async (_, status, code, text) => {
    const answer = await raw(text);
    expect(answer.status, answer.head).toBe(status);
    assertForm(answer, code);
  });

  it('what only one of the addresses takes is said', async () => {
    expect((await raw(posted('/livez', '{}'))).head).toMatch(/^allow: GET, HEAD\r?$/im);
    expect((await raw(request('GET /v1/execute'))).head).toMatch(/^allow: POST\r?$/im);
  });

  it('too many at once, and too often: 429 with a time to come again', async () => {
    await using bounded = await served.server({ limits: { requests: 1 } });
    const endless = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    const long = query(bounded, endless, { timeoutMs: 3000 });
    const isBusy = async (): Promise<boolean> =>
      String((await get(bounded, '/metrics')).body['text']).includes('antiphon_http_requests 1');
    await eventually('it runs', isBusy);
    await eventually('one is too many', async () => {
      const answer = await raw(posted('/v1/query', '{"sql":"SELECT 1"}'), bounded);
      if (answer.status !== 429) return false;
      assertForm(answer, 'OVERLOADED');
      return true;
    });
    expect((await long).status).toBe(504);
    await using slow = await served.server({ limits: { requestsPerSecond: 1 } });
    const all = await Promise.all(Array.from({ length: 20 }, () => raw(request('GET /v1/status'), slow)));
    const refused = all.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    for (const answer of refused) assertForm(answer, 'OVERLOADED');
  });

  it('time that is up is TIMEOUT, and a strong read where none is possible names the primary', async () => {
    await using follower = await served.server({}, 'r2');
    const strong = '{"sql":"SELECT 1","consistency":"strong"}';
    const refused = await raw(posted('/v1/query', strong), follower);
    expect(refused.status).toBe(409);
    assertForm(refused, 'NOT_PRIMARY');
    expect(JSON.parse(refused.body)).toMatchObject({ error: { context: { primary: 'r1', replica: 'r2' } } });
    expect((await raw(posted('/v1/query', strong))).status).toBe(200);
    const writes = await raw(posted('/v1/execute', '{"statements":[{"sql":"DELETE FROM other"}]}'), follower);
    expect(writes.status).toBe(409);
    assertForm(writes, 'NOT_WRITABLE');
    const endless = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    const late = await raw(posted('/v1/query', JSON.stringify({ sql: endless, timeoutMs: 100 })), follower);
    expect(late.status).toBe(504);
    assertForm(late, 'TIMEOUT');
  });

  it('while the server closes, kept connections are told to go elsewhere', async () => {
    const closing = await served.server({ limits: { graceMs: 5000 } });
    const socket = connect(closing.address);
    socket.on('error', () => undefined).setEncoding('utf8');
    const read = (): Promise<Answer> =>
      new Promise((resolve) => socket.once('data', (text: string) => resolve(answerOf(text))));
    const endless = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    const busy = query(closing, endless, { timeoutMs: 2000 });
    const isBusy = async (): Promise<boolean> =>
      String((await get(closing, '/metrics')).body['text']).includes('antiphon_http_requests 1');
    await eventually('a request is under way', isBusy);
    // Half a request: the connection is not idle, and stays.
    const body = '{"sql":"SELECT 1"}';
    const kept = `POST /v1/query HTTP/1.1\r\nHost: localhost\r\n${JSON_TYPE}Content-Length: ${body.length}\r\n`;
    socket.write(kept);
    const closed = closing.close();
    await eventually('nobody else connects', () => isRefused(closing));
    const answered = read();
    socket.write(`\r\n${body}`);
    const answer = await answered;
    expect(answer.status).toBe(503);
    assertForm(answer, 'SHUTTING_DOWN');
    expect(answer.head).toMatch(/^connection: close/im);
    expect((await busy).status).toBe(504);
    socket.destroy();
    await closed;
  });
});

function isRefused({ address }: HttpServer): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect(address, () => {
      socket.destroy();
      resolve(false);
    }).on('error', () => resolve(true));
  });
}

describe('values', () => {
  const VALUES: readonly unknown[] = [
    ...[null, 0, 7, -7, 0.5, '', 'text', 'a\0b', '9007199254740993'],
    ...[2 ** 53 - 1, -(2 ** 53) + 1],
    { integer: '9007199254740993' },
    { integer: '-9223372036854775808' },
    { base64: 'AAH/' },
    { base64: '' },
    { real: 'Infinity' },
    { real: '-Infinity' },
  ];

  it('come back as they were sent, in type and content, and may be sent again', async () => {
    const places = VALUES.map(() => '?').join(', ');
    const first = await query(server, `SELECT json_array(1) IS NOT NULL AS ok`);
    expect(first.status).toBe(200);
    const names = VALUES.map((_, index) => `? AS v${index}`).join(', ');
    const wide = await served.server();
    const { status, body } = await query(wide, `SELECT ${names}`, { params: VALUES });
    expect({ status, error: body.error }).toEqual({ status: 200, error: undefined });
    expect(Object.values((body['rows'] as readonly object[])[0] ?? {})).toEqual(VALUES);
    const types = await query(
      wide,
      `SELECT typeof(column1) AS t FROM (VALUES ${places.replaceAll('?', '(?)')})`,
      {
        params: VALUES,
      },
    );
    expect((types.body['rows'] as { readonly t: string }[]).map(({ t }) => t)).toEqual([
      ...['null', 'integer', 'integer', 'integer', 'real', 'text', 'text', 'text', 'text'],
      ...['integer', 'integer', 'integer', 'integer', 'blob', 'blob', 'real', 'real'],
    ]);
  });

  it('floats without a fraction stay floats, read and written, with a point or as {"real": 5}', async () => {
    const wide = await served.server();
    const types = 'SELECT typeof(?1) AS a, typeof(?2) AS b, typeof(?3) AS c, typeof(?4) AS d, ?1 / 2 AS half';
    const asked = await fetch(`${wide.url}/v1/query`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
      body: JSON.stringify({ sql: types, params: [] }).replace('[]', '[5.0, 5, {"real":5}, 2e3]'),
    });
    expect(await asked.text()).toContain(
      '"rows":[{"a":"real","b":"integer","c":"real","d":"real","half":2.5}]',
    );
    const statements = [{ sql: 'INSERT INTO other (id, note) VALUES (900, ?)', params: [{ real: 5 }] }];
    expect((await post(wide, '/v1/execute', { statements })).status).toBe(200);
    // A TEXT column keeps what the value was: 5.0, and not 5.
    expect((await query(wide, 'SELECT note FROM other WHERE id = 900')).body['rows']).toEqual([
      { note: '5.0' },
    ]);
    await write(wide, 'INSERT INTO items (id, price) VALUES (900, 5)');
    const priced = await fetch(`${wide.url}/v1/query`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
      body: JSON.stringify({ sql: 'SELECT id, price FROM items WHERE id = 900' }),
    });
    expect(await priced.text()).toContain('"rows":[{"id":900,"price":5.0}]');
  });

  it.each<[string, string, RegExp]>([
    ['a rounded integer', '9007199254740993', /\{"integer": "…"\}/],
    ['a number beyond floats', '1e400', /Infinity/],
    ['NaN', '{"real":"NaN"}', /null/],
    ['an integer beyond 64 bits', '{"integer":"9223372036854775808"}', /64-bit/],
    ['text that is not UTF-8', '{"base64":"/w==","tag":"raw-text"}', /CAST\(\? AS TEXT\)/],
    ['half of a pair', String.raw`"\ud800"`, /whole characters/],
    ['a list', '[1]', /base64/],
  ])('that cannot be one are refused, with what to send: %s', async (_, value, hint) => {
    const answer = await raw(posted('/v1/query', `{"sql":"SELECT ?","params":[${value}]}`));
    expect(answer.status).toBe(400);
    assertForm(answer, 'BAD_OPTION');
    expect(JSON.parse(answer.body)).toMatchObject({
      error: { message: expect.stringMatching(hint) as string },
    });
  });
});
