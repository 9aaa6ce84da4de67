import { encode } from '@msgpack/msgpack';
import { decodeDocument, encodeDocument } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { get, Served } from './testing/served.js';
import { type JsonAnswer, SubjectClient } from './testing/subject-client.js';

const [READ, WRITE, NAME] = ['antiphon.test.read', 'antiphon.test.write', 'antiphon-test'];
const IDS = ['r1', 'r2', 'r3'];
const MSGPACK = { type: 'application/msgpack' };

let served: Served;
let client: SubjectClient;

beforeAll(async () => {
  served = await Served.start(3, { failover: { mode: 'manual' } });
  client = await SubjectClient.connect(served.cluster.broker.url);
  for (const id of IDS) served.subjects(id);
  await eventually('all are found', async () => (await client.listening(NAME, 'read')).length === 3);
});
afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await served[Symbol.asyncDispose]();
});

const insert = (id: number, requestId?: string): object => ({
  statements: [{ sql: 'INSERT INTO items (id) VALUES (?)', params: [id] }],
  ...(requestId !== undefined && { requestId }),
});

const after = ({ body }: JsonAnswer): object => ({ consistency: 'session', after: body['position'] });

describe("NATS's service discovery", () => {
  it('finds each replica, with its endpoints and how many requests it had', async () => {
    const [first, ...others] = await client.services(NAME);
    expect(first).toMatchObject({ id: 'r1', metadata: { cluster: 'test', replica: 'r1', role: 'primary' } });
    expect(first?.endpoints).toEqual([
      { name: 'read', subject: READ, queue_group: 'replicas', metadata: {} },
      { name: 'write', subject: WRITE, queue_group: 'replicas', metadata: {} },
    ]);
    expect(others.map(({ id }) => id)).toEqual(['r2', 'r3']);
    const pings: string[] = [];
    for await (const { id } of await client.nats.services.client().ping(NAME, 'r2')) pings.push(id);
    expect(pings).toEqual(['r2']);
    for (let n = 0; n < 60; n++) await client.json(READ, { sql: 'SELECT 1' });
    const requests = await client.requestsOf(NAME, 'read');
    expect(Object.values(requests).reduce((sum, count) => sum + count)).toBe(60);
    for (const id of IDS) expect(requests[id]).toBeGreaterThan(0);
  });
});

describe('/metrics', () => {
  it('of the replicas count requests on the subjects, with their time, by kind and status', async () => {
    const servers = await Promise.all(IDS.map((id) => served.server({}, id)));
    for (let n = 0; n < 5; n++) await client.json(READ, { sql: 'SELECT 1' });
    await client.json(READ, { sql: 'SELEKT' });
    await client.json(WRITE, insert(650));
    await client.json(WRITE, insert(650));
    const texts = await Promise.all(
      servers.map(async (one) => String((await get(one, '/metrics')).body['text'])),
    );
    const total = (labels: string): number => {
      const line = new RegExp(`^antiphon_subject_request_duration_seconds_count\\{${labels}\\} (\\d+)$`, 'm');
      return texts.reduce((sum, text) => sum + Number(line.exec(text)?.[1] ?? 0), 0);
    };
    expect(total('kind="read",status="200"')).toBe(5);
    expect(total('kind="read",status="400"')).toBe(1);
    expect(total('kind="write",status="200"')).toBe(1);
    expect(total('kind="write",status="422"')).toBe(1);
    for (const text of texts) expect(text).toContain('antiphon_subject_listening{kind="read"} 1');
  });
});

describe('requests in JSON', () => {
  it('write on whichever replica, and read in a session', async () => {
    for (let id = 1; id <= 10; id++) {
      const written = await client.json(WRITE, insert(id));
      expect(written).toMatchObject({ contentType: 'application/json', code: '', body: { changes: [1] } });
      const read = await client.json(READ, {
        sql: `SELECT id FROM items WHERE id = ${id}`,
        ...after(written),
      });
      expect(read.body['rows']).toEqual([{ id }]);
    }
  });

  it('write a request once, however often it is sent', async () => {
    const request = insert(100, 'order-1');
    expect((await client.json(WRITE, request)).body).toMatchObject({ changes: [1] });
    for (let n = 0; n < 5; n++)
      expect((await client.json(WRITE, request)).body).toMatchObject({ changes: [1], repeated: true });
  });

  it.each<[string, string, unknown, string | undefined, string, string, RegExp]>([
    ['a constraint', WRITE, insert(1), undefined, '422', 'CONSTRAINT', /UNIQUE/],
    ['no JSON', READ, '{"sql":', undefined, '400', 'BAD_REQUEST', /JSON/],
    ['no UTF-8', READ, new Uint8Array([0x22, 0xff, 0x22]), undefined, '400', 'BAD_REQUEST', /JSON/],
    ['a list', READ, [], undefined, '400', 'BAD_OPTION', /request/],
    ['a typo', READ, { sql: 'SELECT 1', maxRow: 1 }, undefined, '400', 'BAD_OPTION', /"maxRows"/],
    ['another type', READ, 'SELECT 1', 'text/plain', '415', 'UNSUPPORTED_MEDIA_TYPE', /application.msgpack/],
    ['SQL that writes', READ, { sql: 'DELETE FROM items' }, undefined, '400', 'BAD_SQL', /./],
    [
      ...(['a large answer', READ, { sql: 'SELECT hex(zeroblob(524280)) AS h' }] as const),
      ...([undefined, '413', 'MESSAGE_TOO_LARGE', /max_payload/] as const),
    ],
  ])('say of %s what it is', async (_, subject, body, type, code, error, message) => {
    const answer = await client.json(subject, body, type === undefined ? {} : { type });
    expect(answer).toMatchObject({ code, body: { error: { code: error, retriable: false } } });
    expect(answer.message).toMatch(message);
    expect(answer.body.error?.['message']).toMatch(message);
  });

  it('are not carried out without a subject for the answer', async () => {
    client.nats.publish(WRITE, JSON.stringify(insert(700)));
    await client.nats.flush();
    const written = await client.json(WRITE, insert(701));
    const read = await client.json(READ, { sql: 'SELECT id FROM items WHERE id >= 700', ...after(written) });
    expect(read.body['rows']).toEqual([{ id: 701 }]);
  });
});

describe('requests in MessagePack', () => {
  it('bring every value through as what it is, both ways', async () => {
    const picture = new Uint8Array([0, 255, 128]);
    const [large, small] = [9223372036854775807n, -9223372036854775808n];
    const sql = `SELECT ? AS large, ? AS small, ? AS picture, ? AS text, ? AS empty, ? AS infinite, ? AS half,
      2.0 AS two, 2 AS int, typeof(?) AS i, typeof(?) AS r`;
    const params = [large, small, picture, 'naïve ☂', null, Infinity, 0.5, 5n, 5.5];
    const answer = await client.ask(READ, encodeDocument({ sql, params }), MSGPACK);
    expect(answer).toMatchObject({ contentType: 'application/msgpack', message: '' });
    expect(decodeDocument(answer.data)).toMatchObject({
      rows: [
        {
          ...{ large, small, picture, text: 'naïve ☂', empty: null, infinite: Infinity, half: 0.5 },
          ...{ two: 2, int: 2n, i: 'integer', r: 'real' },
        },
      ],
      position: { seq: expect.any(BigInt) as bigint },
    });
  });

  it('are what libraries write, with names for parameters, and with what JSON has as well', async () => {
    const picture = new Uint8Array(40).fill(7);
    const statement = {
      sql: 'INSERT INTO items (id, price, picture) VALUES (:id, :price, :picture)',
      rows: 1n,
    };
    const params = { id: { integer: '300' }, price: 9.5, picture };
    const request = encode(
      { statements: [{ ...statement, params }], timeoutMs: 5000n },
      { useBigInt64: true },
    );
    const written = await client.ask(WRITE, request, { type: 'application/vnd.msgpack; x=1' });
    const { changes, position } = decodeDocument(written.data) as Record<string, unknown>;
    expect(changes).toEqual([1n]);
    const sql = 'SELECT price, picture FROM items WHERE id = 300';
    const session = { consistency: 'session', after: position };
    const read = await client.ask(READ, encodeDocument({ sql, ...session }), MSGPACK);
    expect(decodeDocument(read.data)).toMatchObject({ rows: [{ price: 9.5, picture }] });
  });

  it.each<[string, Uint8Array, string]>([
    ['no MessagePack', new Uint8Array([0xc1]), 'MALFORMED_MESSAGE'],
    ['a list of four thousand million', new Uint8Array([0xdd, 255, 255, 255, 255]), 'MALFORMED_MESSAGE'],
    ['a list', encode([1]), 'BAD_OPTION'],
    ['bytes for parameters', encode({ sql: 'SELECT 1', params: new Uint8Array(2) }), 'BAD_OPTION'],
    ['an integer where a number counts', encode({ sql: 'SELECT 1', maxRows: 2 ** 60 }), 'BAD_OPTION'],
  ])('say of %s what it is, in MessagePack', async (_, data, code) => {
    const answer = await client.ask(READ, data, MSGPACK);
    expect(answer).toMatchObject({ contentType: 'application/msgpack', code: '400' });
    expect(decodeDocument(answer.data)).toMatchObject({ error: { code, retriable: false } });
  });
});
