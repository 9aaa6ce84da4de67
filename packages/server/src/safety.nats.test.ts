import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer, type HttpServer, type ServerToken } from './index.js';
import { get, post, query, type Reply, Served, write } from './testing/served.js';

const sha256 = (token: string): string => createHash('sha256').update(token).digest('hex');
const SECRET = 'not-for-the-eyes-of-a-log';
const TOKENS: readonly ServerToken[] = [
  { name: 'dashboard', role: 'read', sha256: sha256(`${SECRET}-read`) },
  { name: 'shop', role: 'write', sha256: sha256(`${SECRET}-write`) },
  { name: 'operator', role: 'admin', sha256: sha256(`${SECRET}-admin`).toUpperCase() },
];

let served: Served;

beforeAll(async () => {
  served = await Served.start(2);
});
afterAll(() => served[Symbol.asyncDispose]());

/** What comes back on a connection of its own, until it ends. */
async function raw({ address }: HttpServer, text: string, open = false): Promise<string> {
  const socket = connect(address);
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => void (answer += chunk));
  socket.on('error', () => undefined);
  socket.write(text);
  if (!open) socket.end();
  await once(socket, 'close');
  return answer;
}

describe('who may ask', () => {
  const ask: Readonly<
    Record<string, (server: HttpServer, headers: Record<string, string>) => Promise<Reply>>
  > = {
    '/livez': (server, headers) => get(server, '/livez', headers),
    '/readyz': (server, headers) => get(server, '/readyz', headers),
    '/primary': (server, headers) => get(server, '/primary', headers),
    '/read-only': (server, headers) => get(server, '/read-only', headers),
    '/openapi.json': (server, headers) => get(server, '/openapi.json', headers),
    '/v1/status': (server, headers) => get(server, '/v1/status', headers),
    '/metrics': (server, headers) => get(server, '/metrics', headers),
    '/v1/query': (server, headers) => post(server, '/v1/query', { sql: 'SELECT 1' }, headers),
    '/v1/execute': (server, headers) =>
      post(server, '/v1/execute', { statements: [{ sql: 'DELETE FROM other' }] }, headers),
    '/v1/admin/resume': (server, headers) => post(server, '/v1/admin/resume', {}, headers),
  };
  const OPEN = ['/livez', '/readyz', '/primary', '/read-only', '/openapi.json'];
  const READ = [...OPEN, '/v1/status', '/metrics', '/v1/query'];
  const WRITE = [...READ, '/v1/execute'];
  const ADMIN = [...WRITE, '/v1/admin/resume'];

  it.each<[string, string | undefined, readonly string[], number]>([
    ['nobody', undefined, OPEN, 401],
    ['an unknown token', 'Bearer nonsense', OPEN, 401],
    ['a token in another scheme', `Basic ${SECRET}-admin`, OPEN, 401],
    ['a token that goes on', `Bearer ${SECRET}-adminx`, OPEN, 401],
    ['read', `Bearer ${SECRET}-read`, READ, 403],
    ['write', `bearer ${SECRET}-write`, WRITE, 403],
    ['admin', `Bearer ${SECRET}-admin`, ADMIN, 403],
  ])('%s', async (_, authorization, allowed, refused) => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0', tokens: TOKENS });
    for (const [path, request] of Object.entries(ask)) {
      const { status, headers, body } = await request(
        server,
        authorization === undefined ? {} : { authorization },
      );
      expect({ path, status }).toEqual({ path, status: allowed.includes(path) ? 200 : refused });
      if (status === 401) expect(headers.get('www-authenticate')).toMatch(/^Bearer/);
      expect(JSON.stringify(body)).not.toContain(SECRET);
    }
  });

  it('only readers learn from probes what is wrong', async () => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0', tokens: TOKENS });
    expect((await get(server, '/readyz')).body).not.toHaveProperty('problems');
    const authorization = `Bearer ${SECRET}-read`;
    expect((await get(server, '/readyz', { authorization })).body).toHaveProperty('problems', []);
  });

  it('a body of somebody who may not ask is not even read', async () => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0', tokens: TOKENS });
    const head =
      'POST /v1/execute HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n';
    const socket = connect(server.address);
    socket.write(head);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 401 /);
    socket.destroy();
  });

  it('no log has a token, SQL or values in it', async () => {
    const said: unknown[] = [];
    const say = (fields: object, message: string): void => void said.push(fields, message);
    const logger = { debug: say, info: say, warn: say, error: say };
    await using server = await createServer(served.replica(), {
      listen: '127.0.0.1:0',
      tokens: TOKENS,
      logger,
    });
    const authorization = `Bearer ${SECRET}-admin`;
    await post(server, '/v1/query', { sql: `SELECT '${SECRET}'`, params: [SECRET] }, { authorization });
    await get(server, `/v1/status?token=${SECRET}`, { authorization });
    await get(server, `/${SECRET}`);
    expect(said.length).toBeGreaterThan(0);
    expect(JSON.stringify(said)).not.toContain(SECRET);
  });

  it.each([
    ['0.0.0.0:0', /tokens/],
    ['[::]:0', /tokens/],
    ['192.0.2.1:7070', /tokens/],
    ['7070', /listen/],
    ['localhost', /listen/],
    ['127.0.0.1:70700', /listen/],
    ['[localhost]:7070', /listen/],
  ])('%s is refused as an address without tokens', async (listen, message) => {
    await expect(createServer(served.replica(), { listen })).rejects.toThrow(message);
  });

  it.each([
    [{ name: 'a', role: 'read' }],
    [{ name: 'a', role: 'root', sha256: sha256('a') }],
    [{ name: 'a', role: 'read', sha256: 'secret' }],
    [{ name: '', role: 'read', sha256: sha256('a') }],
    [{ name: 'a', role: 'read', sha256: sha256('a'), token: 'a' }],
  ])('%j is refused as a token', async (token) => {
    const options = { listen: '127.0.0.1:0', tokens: [token as ServerToken] };
    await expect(createServer(served.replica(), options)).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('an address in use is an error that says so', async () => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0' });
    const listen = `127.0.0.1:${server.address.port}`;
    await expect(createServer(served.replica(), { listen })).rejects.toThrow(/EADDRINUSE/);
  });

  it('a page in a browser cannot, whatever its name resolves to', async () => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0' });
    const rebound = await raw(
      server,
      'GET /v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
    );
    expect(rebound).toMatch(/^HTTP\/1.1 403 /);
    expect(await raw(server, 'GET /livez HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1.1 200 /);
    const simple = await post(server, '/v1/execute', '{"statements":[]}', { 'content-type': 'text/plain' });
    expect(simple.status).toBe(415);
    const { headers } = await get(server, '/livez');
    expect(headers.get('access-control-allow-origin')).toBeNull();
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('cache-control')).toBe('no-store');
  });
});

describe('hostile requests', () => {
  it('a body over the limit is refused, and so are headers', async () => {
    await using server = await createServer(served.replica(), {
      listen: '127.0.0.1:0',
      limits: { bodyBytes: 1000 },
    });
    expect(await query(server, 'x'.repeat(2000))).toMatchObject({
      status: 413,
      body: { error: { code: 'MESSAGE_TOO_LARGE' } },
    });
    const huge = await raw(
      server,
      `GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`,
    );
    expect(huge).toMatch(/^HTTP\/1.1 431 [^]*HEADERS_TOO_LARGE/);
    expect(await raw(server, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 [^]*BAD_REQUEST/);
    const smuggled =
      'POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n';
    expect(await raw(server, smuggled)).toMatch(/^HTTP\/1.1 400 /);
  });

  it('a body full of what is not a value is refused as fast as it comes', async () => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0' });
    const many = (item: string): string => `[${`${item},`.repeat(250_000)}${item}]`;
    const bodies = [
      `{"sql":"SELECT 1","params":${many('[]')}}`,
      `{"sql":"SELECT 1","params":${many('1')}}`,
      `{"statements":${many('{}')}}`,
      `{"sql":"SELECT 1","after":{"generation":"g","seq":1,"vector":${many('[]')}}}`,
    ];
    for (const body of bodies) {
      const path = body.includes('statements') ? '/v1/execute' : '/v1/query';
      const answered = post(server, path, body);
      const began = performance.now();
      let longestMs = 0;
      let last = began;
      const watch = setInterval(() => {
        longestMs = Math.max(longestMs, performance.now() - last);
        last = performance.now();
      }, 5);
      expect(await answered).toMatchObject({ status: 400 });
      clearInterval(watch);
      expect(Math.max(longestMs, performance.now() - last)).toBeLessThan(1000);
    }
  });

  it('an answer that nobody takes keeps its place, and loses its connection', async () => {
    const limits = { requests: 1, slowReaderMs: 500 };
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0', limits });
    const body = JSON.stringify({ sql: 'SELECT hex(zeroblob(3500000)) AS much' });
    const socket = connect(server.address);
    socket.on('error', () => undefined).pause();
    const head = `POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
    socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
    const status = async (): Promise<number> => (await query(server, 'SELECT 1')).status;
    await eventually('it has the only place', async () => (await status()) === 429, { timeoutMs: 5000 });
    await eventually('it has lost it', async () => (await status()) === 200, { timeoutMs: 5000 });
    socket.destroy();
  });

  it('a result of more bytes than are served is refused', async () => {
    await using server = await createServer(served.replica(), {
      listen: '127.0.0.1:0',
      limits: { resultBytes: 10_000 },
    });
    const large = await query(server, 'SELECT hex(zeroblob(20000)) AS much');
    expect(large).toMatchObject({ status: 400, body: { error: { code: 'BAD_SQL' } } });
    expect((await query(server, 'SELECT hex(zeroblob(2000)) AS little')).status).toBe(200);
  });

  it('HEAD is for probes only', async () => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0' });
    const head = async (path: string): Promise<number> =>
      (await fetch(server.url + path, { method: 'HEAD' })).status;
    expect([await head('/livez'), await head('/read-only')]).toEqual([200, 200]);
    expect([await head('/v1/changes'), await head('/metrics')]).toEqual([405, 405]);
  });

  it('whoever sends slowly, or nothing, loses the connection', async () => {
    const limits = { headersTimeoutMs: 200, requestTimeoutMs: 400 };
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0', limits });
    const head = 'POST /v1/query HTTP/1.1\r\nHost: localhost\r\n';
    expect(await raw(server, head, true)).toMatch(/^HTTP\/1.1 408 /);
    expect(await raw(server, '', true)).toMatch(/408|^$/);
    const body = `${head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{`;
    expect(await raw(server, body, true)).toMatch(/^HTTP\/1.1 408 /);
    expect((await get(server, '/livez')).status).toBe(200);
  });

  it('whoever is told that the time is up, and neither reads nor goes, keeps no connection', async () => {
    const limits = { connections: 1, headersTimeoutMs: 200 };
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0', limits });
    // Half open: the end of the other side is not the end of this one.
    const socket = connect({ ...server.address, allowHalfOpen: true });
    socket.on('error', () => undefined).pause();
    socket.write('GET /livez HTTP/1.1\r\n');
    const isFree = (): Promise<boolean> =>
      get(server, '/livez').then(
        () => true,
        () => false,
      );
    await once(socket, 'connect');
    expect(await isFree()).toBe(false);
    await eventually('its place is free', isFree, { timeoutMs: 5000 });
    socket.destroy();
  });

  it('connections beyond the limit are closed, and there is room again afterwards', async () => {
    await using server = await createServer(served.replica(), {
      listen: '127.0.0.1:0',
      limits: { connections: 20 },
    });
    const sockets: Socket[] = [];
    let closed = 0;
    for (let count = 0; count < 200; count += 1) {
      const socket = connect(server.address);
      socket.on('error', () => undefined).on('close', () => (closed += 1));
      sockets.push(socket);
    }
    await eventually('those beyond the limit are closed', () => closed >= 180, { timeoutMs: 10_000 });
    for (const socket of sockets) socket.destroy();
    const isBack = (): Promise<boolean> =>
      get(server, '/livez').then(
        ({ status }) => status === 200,
        () => false,
      );
    await eventually('there is room', isBack, { timeoutMs: 10_000 });
    expect((await get(server, '/metrics')).body['text']).toMatch(/connections_dropped_total 1[89]\d/);
  });

  it('requests beyond the limit are told to come again', async () => {
    await using server = await createServer(served.replica(), {
      listen: '127.0.0.1:0',
      limits: { requests: 2 },
    });
    const sql = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    const long = [1, 2].map(() => query(server, sql, { timeoutMs: 3000 }));
    const isFull = async (): Promise<boolean> =>
      String((await get(server, '/metrics')).body['text']).includes('antiphon_http_requests 2');
    await eventually('both run', isFull, { timeoutMs: 3000 });
    const refused = await query(server, 'SELECT 1');
    expect(refused).toMatchObject({ status: 429, body: { error: { code: 'OVERLOADED', retriable: true } } });
    expect(refused.headers.get('retry-after')).toBe('1');
    expect((await get(server, '/readyz')).status).toBe(200);
    for (const one of await Promise.all(long)) expect(one.status).toBe(504);
    expect((await query(server, 'SELECT 1')).status).toBe(200);
  });

  it.each([
    "ATTACH 'stolen.db' AS stolen",
    "ATTACH ':memory:' AS m",
    'PRAGMA writable_schema = 1',
    'PRAGMA journal_mode = DELETE',
    'DELETE FROM items',
    'DROP TABLE items',
    "INSERT INTO other VALUES (99, 'x') RETURNING id",
    'CREATE TABLE mine (a)',
    'CREATE TEMP TABLE mine (a)',
    'VACUUM',
    "VACUUM INTO 'copy.db'",
    'BEGIN',
    'SELECT 1; DELETE FROM items',
    "SELECT load_extension('x')",
    "SELECT writefile('x', 'y')",
    'SELECT * FROM items WHERE',
    '',
    '\0',
  ])('a query that is %j is refused', async (sql) => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0' });
    const { status, body } = await query(server, sql);
    expect({ status, body }).toMatchObject({ status: 400, body: { error: { code: 'BAD_SQL' } } });
    expect((await query(server, 'SELECT count(*) AS n FROM other')).status).toBe(200);
  });

  it.each([
    "ATTACH 'stolen.db' AS stolen",
    'COMMIT',
    'ROLLBACK',
    'SAVEPOINT a',
    'PRAGMA foreign_keys = OFF',
    'DROP TABLE items',
    'SELECT 1; DELETE FROM items',
    "VACUUM INTO 'copy.db'",
    'DELETE FROM _antiphon_outbox',
    "SELECT load_extension('x')",
  ])('a write that is %j is refused, with all that came before it', async (sql) => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0' });
    const statements = [{ sql: 'INSERT INTO items (id) VALUES (700)' }, { sql }];
    const refused = await post(server, '/v1/execute', { statements });
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'BAD_SQL' } } });
    expect((await query(server, 'SELECT id FROM items WHERE id = 700')).body['rows']).toEqual([]);
  });

  it('queries without an end are ended, and neither writes nor replication wait for them', async () => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0' });
    await using other = await createServer(served.replica('r2'), { listen: '127.0.0.1:0' });
    const endless = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    const rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n';
    const large = 'SELECT hex(zeroblob(400000000)) AS much';
    const hostile = [endless, endless, endless, rows, large].flatMap((sql) => [
      query(server, sql, { timeoutMs: 2000 }),
      query(other, sql, { timeoutMs: 2000 }),
    ]);
    let worstMs = 0;
    for (let id = 1000; id < 1040; id += 1) {
      const began = performance.now();
      expect((await write(server, 'INSERT INTO items (id) VALUES (?)', [id])).status).toBe(200);
      worstMs = Math.max(worstMs, performance.now() - began);
    }
    await served.cluster.caughtUp();
    for (const { status, body } of await Promise.all(hostile)) {
      expect([400, 429, 504], JSON.stringify(body)).toContain(status);
      expect(['BAD_SQL', 'OVERLOADED', 'TIMEOUT']).toContain(body.error?.['code']);
    }
    expect(worstMs).toBeLessThan(1500);
    const counted = await query(other, 'SELECT count(*) AS n FROM items WHERE id >= 1000');
    expect(counted.body['rows']).toEqual([{ n: 40 }]);
  });

  it('a client that goes away takes its query with it', async () => {
    await using server = await createServer(served.replica(), { listen: '127.0.0.1:0' });
    const gone = new AbortController();
    const sql = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    const request = fetch(`${server.url}/v1/query`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' }, signal: gone.signal },
      body: JSON.stringify({ sql, timeoutMs: 60_000 }),
    }).catch(() => undefined);
    const underWay = async (count: number): Promise<boolean> =>
      String((await get(server, '/metrics')).body['text']).includes(`antiphon_http_requests ${count}\n`);
    await eventually('it runs', () => underWay(1), { timeoutMs: 5000 });
    gone.abort();
    await request;
    await eventually('it has ended', () => underWay(0), { timeoutMs: 5000 });
  });
});

describe('close()', () => {
  it('is not ready at once, then lets requests end, and takes no new ones', async () => {
    const server = await served.server({ limits: { drainMs: 300 } });
    const sql =
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT count(*) AS n FROM n';
    const long = query(server, sql);
    const began = async (): Promise<boolean> =>
      String((await get(server, '/metrics')).body['text']).includes('antiphon_http_requests 1');
    await eventually('it runs', began, { timeoutMs: 5000 });
    const closing = server.close();
    expect(await get(server, '/readyz')).toMatchObject({ status: 503, body: { ready: false, live: true } });
    expect((await get(server, '/livez')).status).toBe(200);
    expect((await get(server, '/read-only')).headers.get('connection')).toBe('close');
    expect(await long).toMatchObject({ status: 200, body: { rows: [{ n: 3_000_000 }] } });
    await closing;
    await server.close();
    await expect(get(server, '/livez')).rejects.toThrow();
    expect((await served.replica().query('SELECT 1')).length).toBe(1);
  });

  it('ends what does not end, after its time', async () => {
    const server = await served.server({ limits: { graceMs: 200 } });
    const sql = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    const long = query(server, sql, { timeoutMs: 60_000 });
    const began = async (): Promise<boolean> =>
      String((await get(server, '/metrics')).body['text']).includes('antiphon_http_requests 1');
    await eventually('it runs', began, { timeoutMs: 5000 });
    const beganMs = performance.now();
    await server.close();
    expect(performance.now() - beganMs).toBeLessThan(3000);
    expect(await long).toMatchObject({
      ...{ status: 503, body: { error: { code: 'ABORTED', retriable: true } } },
    });
  });
});
