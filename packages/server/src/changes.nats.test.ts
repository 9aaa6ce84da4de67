import { connect, type Socket } from 'node:net';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HttpServer } from './index.js';
import { get, Served, write } from './testing/served.js';

interface Event {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
}

/** A client of server-sent events. */
class Events {
  readonly #abort = new AbortController();
  readonly seen: Event[] = [];
  readonly comments: string[] = [];
  status = 0;
  readonly ended: Promise<void>;

  constructor(server: HttpServer, path: string, headers: Record<string, string> = {}) {
    this.ended = this.#read(`${server.url}${path}`, headers).catch(() => undefined);
  }

  get ids(): unknown[] {
    return this.seen.map(({ data }) => (JSON.parse(data ?? '{}') as { after?: { id?: number } }).after?.id);
  }

  until(count: number): Promise<unknown> {
    const seen = (): string => JSON.stringify(this.seen);
    return eventually(`${count} events`, () => this.seen.length >= count, { timeoutMs: 15_000, seen });
  }

  opened(): Promise<unknown> {
    return eventually('the stream is open', () => this.status === 200, { timeoutMs: 15_000 });
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.ended;
  }

  async #read(url: string, headers: Record<string, string>): Promise<void> {
    const response = await fetch(url, { headers, signal: this.#abort.signal });
    this.status = response.status;
    let text = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + chunk).split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) this.#take(block);
    }
  }

  #take(block: string): void {
    if (block.startsWith(':')) return void this.comments.push(block);
    const fields = block
      .split('\n')
      .map((line) => /^(\w+): (.*)$/.exec(line)!.slice(1, 3) as [string, string]);
    const event = Object.fromEntries(fields) as Event;
    if (event.data !== undefined) this.seen.push(event);
  }
}

let served: Served;
let server: HttpServer;
let nextId = 1;

beforeAll(async () => {
  served = await Served.start(1);
  server = await served.server({ limits: { heartbeatMs: 20, slowReaderMs: 400, streams: 3 } });
});
afterAll(() => served[Symbol.asyncDispose]());

async function insert(table = 'items'): Promise<number> {
  const id = nextId++;
  expect((await write(server, `INSERT INTO ${table} (id) VALUES (?)`, [id])).status).toBe(200);
  return id;
}

async function idle(): Promise<void> {
  const none = async (): Promise<boolean> =>
    /antiphon_http_streams 0\n/.test(String((await get(server, '/metrics')).body['text']));
  await eventually('no stream is open', none, { timeoutMs: 10_000 });
}

describe('GET /v1/changes', () => {
  it('sends an event for each change, and goes on after the last one', async () => {
    const first = new Events(server, '/v1/changes');
    await first.opened();
    const ids = [await insert(), await insert()];
    await first.until(2);
    await first.close();
    expect(first.ids).toEqual(ids);
    const { id, event, data } = first.seen[0]!;
    expect(event).toBe('change');
    expect(JSON.parse(data!)).toMatchObject({
      ...{ table: 'items', op: 'insert', key: { id: ids[0] }, last: true },
      ...{ after: { id: ids[0], name: null }, id: { origin: 'r1' } },
    });
    const later = await insert();
    const second = new Events(server, '/v1/changes', { 'last-event-id': id! });
    await second.until(2);
    expect(second.ids).toEqual([ids[1], later]);
    await second.close();
    await idle();
  });

  it('goes on at another replica, where one has ended', async () => {
    await using cluster = await Served.start(2, { failover: { mode: 'manual' } });
    const [one, two] = [await cluster.server(), await cluster.server({}, 'r2')];
    const events = new Events(one, '/v1/changes');
    await events.opened();
    for (const id of [1, 2]) await write(one, 'INSERT INTO other VALUES (?, NULL), (? + 10, NULL)', [id, id]);
    await events.until(3);
    await one.close();
    await cluster.replica().switchOver('r2');
    await write(two, 'INSERT INTO other VALUES (3, NULL)');
    // In the middle of a transaction.
    const rest = new Events(two, '/v1/changes', { 'last-event-id': events.seen[2]!.id! });
    await rest.until(2);
    expect([...events.ids.slice(0, 3), ...rest.ids]).toEqual([1, 11, 2, 12, 3]);
    await rest.close();
  });

  it('begins where it is told, with the tables that it is told', async () => {
    const other = await insert('other');
    await insert();
    const events = new Events(server, '/v1/changes?from=beginning&tables=other');
    await events.until(1);
    expect(events.ids).toEqual([other]);
    await events.close();
  });

  it('shows that it is there when nothing happens', async () => {
    const events = new Events(server, '/v1/changes');
    await eventually('heartbeats', () => events.comments.length >= 3, { timeoutMs: 5000 });
    expect(events.seen).toEqual([]);
    await events.close();
  });

  it.each([
    ['/v1/changes?tables=nowhere', {}, 404, 'UNKNOWN_TABLE'],
    ['/v1/changes?from=nonsense', {}, 400, 'BAD_OPTION'],
    ['/v1/changes', { 'last-event-id': 'nonsense' }, 400, 'BAD_OPTION'],
    ['/v1/changes?table=items', {}, 400, 'BAD_OPTION'],
  ])('%s with %j is an error, and no stream', async (path, headers, status, code) => {
    expect(await get(server, path, headers)).toMatchObject({ status, body: { error: { code } } });
    await idle();
  });

  it('opens so many streams and no more', async () => {
    const events = [1, 2, 3].map(() => new Events(server, '/v1/changes'));
    for (const one of events) await one.opened();
    expect(await get(server, '/v1/changes')).toMatchObject({
      status: 429,
      body: { error: { code: 'OVERLOADED' } },
    });
    for (const one of events) await one.close();
    await idle();
  });

  it('does not buffer for a client that does not read: it loses its connection', async () => {
    const { host, port } = server.address;
    const socket: Socket = connect({ host, port });
    socket.on('error', () => undefined);
    socket.write('GET /v1/changes HTTP/1.1\r\nHost: localhost\r\n\r\n');
    socket.pause();
    const open = async (): Promise<boolean> =>
      /antiphon_http_streams 1\n/.test(String((await get(server, '/metrics')).body['text']));
    await eventually('the stream is open', open, { timeoutMs: 5000 });
    const before = process.memoryUsage().rss;
    const name = 'x'.repeat(500_000);
    for (let count = 0; count < 60; count += 1)
      await served
        .replica()
        .execute([{ sql: 'INSERT INTO items (id, name) VALUES (?, ?)', params: [nextId++, name + count] }]);
    await idle();
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
    socket.destroy();
  });

  it('ends when the server closes', async () => {
    const own = await served.server();
    const events = new Events(own, '/v1/changes');
    await events.opened();
    const began = performance.now();
    await own.close();
    await events.ended;
    expect(performance.now() - began).toBeLessThan(3000);
    expect(events.seen).toEqual([]);
  });
});
