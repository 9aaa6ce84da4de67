import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HttpServer } from './index.js';
import { post, query, Served, write } from './testing/served.js';

const LINES = { accept: 'application/x-ndjson' };
/** A million rows of 100 bytes: far more than a socket and a process keep. */
const MILLION =
  'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) ' +
  "SELECT i, printf('%.100c', 'x') AS text FROM n";

let served: Served;
let server: HttpServer;

beforeAll(async () => {
  served = await Served.start(2);
  server = await served.server({ limits: { slowReaderMs: 1500 } });
  for (let id = 1; id <= 3; id++)
    await write(server, 'INSERT INTO items (id, name) VALUES (?, ?)', [id, `n${id}`]);
});
afterAll(() => served[Symbol.asyncDispose]());

async function linesOf(
  sql: string,
  options: object = {},
): Promise<{ readonly type: string; readonly lines: readonly unknown[] }> {
  const response = await fetch(`${server.url}/v1/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...LINES },
    body: JSON.stringify({ sql, ...options }),
  });
  const text = await response.text();
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
  return { type: response.headers.get('content-type') ?? '', lines };
}

/** The processes of streams that this process has. */
function streaming(): readonly number[] {
  const tasks = readdirSync('/proc/self/task');
  const children = tasks.flatMap((task) => readText(`/proc/self/task/${task}/children`).trim().split(' '));
  return children
    .filter((pid) => pid !== '' && readText(`/proc/${pid}/cmdline`).includes('stream-process'))
    .map(Number);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

describe('rows as lines', () => {
  it('begin with the columns, and end with a summary that a later read can build on', async () => {
    const { type, lines } = await linesOf(
      'SELECT id, name, 9007199254740993 AS large FROM items ORDER BY id',
    );
    expect(type).toBe('application/x-ndjson; charset=utf-8');
    const rows = [1, 2, 3].map((id) => [id, `n${id}`, { integer: '9007199254740993' }]);
    const position = expect.objectContaining({ generation: expect.any(String) as string }) as object;
    expect(lines).toEqual([{ columns: ['id', 'name', 'large'] }, ...rows, { rows: 3, position }]);
    const [last] = lines.slice(-1) as [{ readonly position: object }];
    const read = await query(server, 'SELECT count(*) AS n FROM items', {
      consistency: 'session',
      after: last.position,
    });
    expect(read.body['rows']).toEqual([{ n: 3 }]);
  });

  it('say why at the end when they end early', async () => {
    const { lines } = await linesOf(
      'SELECT id, CASE WHEN id < 3 THEN id ELSE abs(-9223372036854775808) END AS n FROM items',
    );
    expect(lines.at(-1)).toMatchObject({ rows: expect.any(Number) as number, error: { code: 'BAD_SQL' } });
    const late = await linesOf(MILLION, { timeoutMs: 300 });
    expect(late.lines.at(-1)).toMatchObject({ error: { code: 'TIMEOUT' } });
    expect(streaming()).toEqual([]);
  });

  it('are an error as every other, as long as none was sent', async () => {
    const wrong = await post(server, '/v1/query', { sql: 'SELECT * FROM nothing' }, LINES);
    expect(wrong).toMatchObject({ status: 400, body: { error: { code: 'BAD_SQL' } } });
    const writing = await post(server, '/v1/query', { sql: 'DELETE FROM items' }, LINES);
    expect(writing).toMatchObject({ status: 400, body: { error: { code: 'BAD_SQL' } } });
    const limited = await post(server, '/v1/query', { sql: 'SELECT 1', maxRows: 5 }, LINES);
    expect(limited).toMatchObject({ status: 400, body: { error: { code: 'BAD_OPTION' } } });
    const plain = await post(
      server,
      '/v1/query',
      { sql: 'SELECT 1 AS one' },
      { accept: 'application/x-ndjson;q=0, */*' },
    );
    expect(plain.body['rows']).toEqual([{ one: 1 }]);
  });

  it('come by the million, in the memory of a few, while writes go on', { timeout: 120_000 }, async () => {
    const before = process.memoryUsage().rss;
    let most = before;
    const body = JSON.stringify({ sql: MILLION });
    const response = await fetch(`${server.url}/v1/query`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json', ...LINES }, body },
    });
    const input = Readable.fromWeb(response.body as never);
    let count = 0;
    let last = '';
    for await (const text of createInterface({ input })) {
      count++;
      last = text;
      if (count % 100_000 !== 0) continue;
      most = Math.max(most, process.memoryUsage().rss);
      expect((await write(server, 'INSERT INTO items (id) VALUES (?)', [count])).status).toBe(200);
    }
    expect(count).toBe(1_000_002);
    expect(JSON.parse(last)).toMatchObject({ rows: 1_000_000 });
    // All of it is 110 MB of text, and several times that as rows.
    expect(most - before).toBeLessThan(150 * 1024 * 1024);
    await served.cluster.caughtUp();
  });

  it('say so when the process that reads them is killed', async () => {
    const body = JSON.stringify({ sql: MILLION });
    const response = await fetch(`${server.url}/v1/query`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json', ...LINES }, body },
    });
    for (const pid of streaming()) process.kill(pid, 'SIGKILL');
    const lines = (await response.text()).trimEnd().split('\n');
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
      error: { code: 'STORE_FAILED' },
    });
  });

  it('come to the end where a client takes them slowly, however large one is', async () => {
    const body = JSON.stringify({ sql: 'SELECT hex(zeroblob(12000000)) AS large' });
    const options = { method: 'POST', headers: { 'content-type': 'application/json', ...LINES } };
    const startedMs = performance.now();
    const end = await new Promise<string>((resolve, reject) => {
      const asking = request(`${server.url}/v1/query`, options, (response) => {
        let last = '';
        response.setEncoding('latin1').on('data', (text: string) => {
          last = (last + text).slice(-500);
          response.pause();
          setTimeout(() => response.resume(), 10);
        });
        response.once('end', () => resolve(last)).once('error', reject);
      });
      asking.once('error', reject).end(body);
    });
    expect(JSON.parse(end.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({ rows: 1 });
    expect(performance.now() - startedMs, 'longer than it may take nothing').toBeGreaterThan(1500);
  });

  it('end with the client that takes nothing, and with the one that has gone', async () => {
    for (const takes of ['nothing', 'one piece'] as const) {
      const body = JSON.stringify({ sql: MILLION });
      const options = { method: 'POST', headers: { 'content-type': 'application/json', ...LINES } };
      const ended = await new Promise<string>((resolve) => {
        const asking = request(`${server.url}/v1/query`, options, (response) => {
          response.once('error', (error) => resolve(error.message));
          response.once('aborted', () => resolve('aborted'));
          if (takes === 'nothing') response.pause();
          else response.once('data', () => asking.destroy());
          response.once('close', () => resolve('closed'));
        });
        asking.on('error', (error) => resolve(error.message));
        asking.end(body);
        if (takes === 'nothing')
          void eventually('it is ended', () => streaming().length === 0 && (resolve('ended'), true));
      });
      expect(ended).toBeTypeOf('string');
      await eventually('nothing is read for it', () => streaming().length === 0);
    }
  });
});
