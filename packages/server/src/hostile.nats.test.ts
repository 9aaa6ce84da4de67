import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HttpServer } from './index.js';
import { get, post, query, Served, write } from './testing/served.js';

/**
 * `ANTIPHON_IDLE_CONNECTIONS=10000 npx vitest run --project nats hostile -t idle` is the heavy run.
 */
const IDLE_CONNECTIONS = Number(process.env['ANTIPHON_IDLE_CONNECTIONS'] ?? 500);
const MEBIBYTE = 1024 * 1024;

let served: Served;
let server: HttpServer;
beforeAll(async () => {
  served = await Served.start(2);
  server = await served.server();
});
afterAll(() => served[Symbol.asyncDispose]());

/** What comes back on a connection of its own, until it ends. */
async function raw(...parts: readonly (string | Buffer)[]): Promise<string> {
  const socket = connect(server.address);
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => void (answer += chunk));
  socket.on('error', () => undefined);
  // Not `end`: Node.js lets go of a client that has said all.
  socket.write(Buffer.concat(parts.map((part) => Buffer.from(part as string))));
  await once(socket, 'close');
  return answer;
}

function rawPost(path: string, body: Buffer): Promise<string> {
  const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  return raw(`${head}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n`, body);
}

/** Writes here arrive there: whatever goes on, replication does too. */
async function replicates(note: string): Promise<void> {
  expect((await write(server, 'INSERT INTO other (note) VALUES (?)', [note])).status).toBe(200);
  await eventually(`the other replica has ${note}`, async () => {
    const rows = await served.replica('r2').query('SELECT 1 FROM other WHERE note = ?', [note]);
    return rows.length === 1;
  });
}

describe('headers', () => {
  it.each([
    ['a bare line feed', 'X-A: a\nX-B: b'],
    ['a bare carriage return', 'X-A: a\rX-B: b'],
    ['a NUL', 'X-A: a\0b'],
    ['a name with a space', 'X A: b'],
    ['a name in a second line', 'X-A: a\r\n X-B: b'],
    ['two lengths', 'Content-Length: 0\r\nContent-Length: 5'],
    ['a length that is no number', 'Content-Length: 5x'],
  ])('with %s are refused, or mean nothing', async (_, line) => {
    const answer = await raw(
      `GET /livez HTTP/1.1\r\nHost: localhost\r\n${line}\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 (400|200) /);
    expect(answer.match(/^HTTP\//gm)).toHaveLength(1);
    expect(answer).not.toContain('X-B');
  });

  it('of an answer hold nothing that a request brought', async () => {
    const injected = '%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0ahello';
    const fields = `Last-Event-ID: x\r\nX-Request-Id: evil\r\nOrigin: https://evil.example`;
    for (const address of [
      `/${injected}`,
      `/v1/changes?from=${injected}`,
      `/livez?x=${injected}`,
      '/%ff',
      '/%',
    ]) {
      const answer = await raw(
        `GET ${address} HTTP/1.1\r\nHost: localhost\r\n${fields}\r\nConnection: close\r\n\r\n`,
      );
      const [head = ''] = answer.split('\r\n\r\n', 1);
      expect(head, address).toMatch(/^HTTP\/1\.1 4\d\d /);
      expect(head).not.toMatch(/set-cookie|evil|access-control/i);
      expect(head).toMatch(/x-content-type-options: nosniff/);
      expect(answer.match(/^HTTP\//gm)).toHaveLength(1);
    }
  });
});

describe('bodies', () => {
  it('of any depth are refused at once', async () => {
    const depth = 100_000;
    const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    const objects = `${'{"a":'.repeat(depth / 4)}1${'}'.repeat(depth / 4)}`;
    const poisoned = `${'{"__proto__":'.repeat(10_000)}1${'}'.repeat(10_000)}`;
    for (const value of [deep, objects, poisoned]) {
      for (const body of [value, `{"sql":${value}}`, `{"sql":"SELECT ?","params":${value}}`]) {
        const { status, body: answer } = await post(server, '/v1/query', body);
        expect(status).toBe(400);
        expect(JSON.stringify(answer).length).toBeLessThan(10_000);
      }
    }
    await replicates('after depth');
  });

  it('with huge names and texts get a short answer', async () => {
    const huge = 'x'.repeat(900_000);
    const bodies = [`{"${huge}":1}`, `{"sql":"SELECT 1","params":{"${huge}":[]}}`, `{"sql":"${huge}"}`];
    for (const body of [...bodies, `{"sql":"SELECT 1","consistency":"${huge}"}`]) {
      const { status, body: answer } = await post(server, '/v1/query', body);
      expect(status).toBe(400);
      expect(JSON.stringify(answer).length).toBeLessThan(10_000);
    }
  });

  it.each([
    ['bytes that are no UTF-8', Buffer.from('{"sql":"SELECT \'\xff\'"}', 'latin1')],
    ['half of a character', Buffer.from('{"sql":"SELECT \'\xe2\x82\'"}', 'latin1')],
    ['UTF-16', Buffer.from('{"sql":"SELECT 1"}', 'utf16le')],
    ['a NUL', Buffer.from('{"sql":"SELECT 1\0"}')],
    ['half of a surrogate pair in SQL', Buffer.from('{"sql":"SELECT \'\\ud800\'"}')],
    ['half of a surrogate pair in a value', Buffer.from('{"sql":"SELECT ?","params":["\\udc00"]}')],
    [
      'half of a surrogate pair in a named value',
      Buffer.from('{"sql":"SELECT :a","params":{"a":"\\ud800x"}}'),
    ],
    ['a NUL in SQL', Buffer.from('{"sql":"SELECT 1\\u0000; DROP TABLE other"}')],
    ['a prototype', Buffer.from('{"sql":"SELECT 1","__proto__":{"maxRows":1}}')],
    ['a prototype among values', Buffer.from('{"sql":"SELECT :a","params":{"__proto__":{"a":1}}}')],
    ['a constructor', Buffer.from('{"sql":"SELECT 1","constructor":{"prototype":{"a":1}}}')],
    ['a name of every object', Buffer.from('{"sql":"SELECT 1","toString":1}')],
    ['two documents', Buffer.from('{"sql":"SELECT 1"}{}')],
    ['a number that JSON has not', Buffer.from('{"sql":"SELECT ?","params":[NaN]}')],
    ['nothing', Buffer.from('')],
  ])('with %s are refused', async (_, body) => {
    expect(await rawPost('/v1/query', body)).toMatch(/^HTTP\/1\.1 400 [^]*"code":"(BAD_\w+)"/);
    expect(({} as Record<string, unknown>)['maxRows']).toBeUndefined();
  });

  it('keep a NUL and every character of a value', async () => {
    const text = 'a\0b \u{10ffff} \ufffd \ufeff';
    const { body } = await query(server, 'SELECT ? AS text, length(CAST(? AS BLOB)) AS bytes', {
      params: [text, text],
    });
    expect(body['rows']).toEqual([{ text, bytes: Buffer.byteLength(text) }]);
  });

  it('may name columns as they like', async () => {
    const sql = 'SELECT 1 AS "__proto__", 2 AS "constructor", 3 AS "toString"';
    const answer = await rawPost('/v1/query', Buffer.from(JSON.stringify({ sql })));
    expect(answer).toContain('"rows":[{"__proto__":1,"constructor":2,"toString":3}]');
  });
});

describe('many at once', () => {
  it('who send a byte now and then end in time, and hold nobody up', async () => {
    const limits = { headersTimeoutMs: 1000, requestTimeoutMs: 1000 };
    await using bounded = await served.server({ limits });
    const head = 'POST /v1/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    const beginnings = [
      'P',
      head,
      `${head}Content-Length: 1000\r\n\r\n{`,
      `${head}Transfer-Encoding: chunked\r\n\r\n`,
    ];
    let ended = 0;
    const sockets = Array.from({ length: 200 }, (_, index) => {
      const socket = connect(bounded.address);
      socket.on('error', () => undefined).on('close', () => (ended += 1));
      socket.resume().write(beginnings[index % beginnings.length] ?? '');
      return socket;
    });
    const drip = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write('1');
    }, 50);
    await replicates('beside those who drip');
    expect((await query(bounded, 'SELECT 1')).status).toBe(200);
    await eventually('all of them have ended', () => ended === sockets.length);
    clearInterval(drip);
  });

  it('idle connections cost little, and replication goes on', async () => {
    const limits = { connections: IDLE_CONNECTIONS / 2, headersTimeoutMs: 60_000, requestTimeoutMs: 60_000 };
    const bounded = await served.server({ limits });
    const beforeBytes = process.memoryUsage.rss();
    const args = [bounded.address.port, IDLE_CONNECTIONS, limits.connections].map(String);
    const idle = spawn(process.execPath, ['-e', IDLE, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    // Those beyond the limit are closed.
    await once(idle.stdout, 'data');
    await replicates('beside those who are idle');
    const grownBytes = process.memoryUsage.rss() - beforeBytes;
    expect(grownBytes).toBeLessThan(50 * MEBIBYTE + limits.connections * 30 * 1024);
    idle.kill('SIGKILL');
    await eventually('there is room', async () => {
      const answer = await get(bounded, '/livez').catch(() => undefined);
      return answer?.status === 200;
    });
    await bounded.close();
  }, 120_000);
});

/** A process, since both ends of every connection would be too many files for one. */
const IDLE = `
const { connect } = require('node:net');
const [port, count, kept] = process.argv.slice(1).map(Number);
let begun = 0, pending = 0, closed = 0;
function more() {
  while (begun < count && pending < 400) {
    begun += 1;
    pending += 1;
    let isPending = true;
    const settle = () => {
      if (isPending) pending -= 1;
      isPending = false;
      more();
    };
    const socket = connect(port, '127.0.0.1', settle).resume();
    socket.on('error', () => undefined).on('close', () => {
      settle();
      closed += 1;
      if (closed === count - kept) console.log('the others are idle');
    });
  }
}
more();
`;

describe('requests that do not wait for answers', () => {
  const one = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n';
  const last = one.replace('Host:', 'Connection: close\r\nHost:');

  it('are answered one after the other', async () => {
    const answer = await raw(one.repeat(60), last);
    expect(answer.match(/HTTP\/1\.1 200 /g)).toHaveLength(61);
  });

  it('begin a few in a turn of the event loop, however many connections send them', async () => {
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    const bursts = Array.from({ length: 10 }, () => raw(one.repeat(80), last));
    setImmediate(count);
    const answers = await Promise.all(bursts);
    isOver = true;
    for (const answer of answers) expect(answer.match(/HTTP\/1\.1 200 /g)).toHaveLength(81);
    expect(turns).toBeGreaterThan((10 * 81) / 16);
  });

  it('count as well where their address is none', async () => {
    const bad = one.replace('/livez', '/%zz');
    const answer = await raw(bad.repeat(60), last);
    expect(answer.match(/HTTP\/1\.1 400 /g)).toHaveLength(60);
    const dropped = await raw(bad.repeat(5000)).catch(() => '');
    expect((dropped.match(/HTTP\/1\.1 /g) ?? []).length).toBeLessThan(5000);
  });

  it('give back their places when the connection ends amid them', async () => {
    const open = async (): Promise<number> => {
      const { body } = await get(server, '/metrics');
      return Number(/http_requests (\d+)/.exec(String(body['text']))?.[1]);
    };
    const slow = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    const post = (sql: string): string => {
      const body = JSON.stringify({ sql });
      return `POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    };
    const socket = connect(server.address);
    socket.on('error', () => undefined);
    socket.write(post(slow) + post('SELECT 1').repeat(40));
    await eventually('they are under way', async () => (await open()) > 30);
    socket.destroy();
    await eventually('they have no place any more', async () => (await open()) === 0);
  });

  it('end a connection that sends very many, and nothing else', async () => {
    const dropped = async (): Promise<number> => {
      const { body } = await get(server, '/metrics');
      return Number(/connections_dropped_total (\d+)/.exec(String(body['text']))?.[1]);
    };
    const before = await dropped();
    // What it had not read yet makes the end a reset.
    await raw(one.repeat(20_000)).catch(() => undefined);
    expect(await dropped()).toBe(before + 1);
    await replicates('beside a burst');
  });
});
