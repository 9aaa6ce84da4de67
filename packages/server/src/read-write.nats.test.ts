import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HttpServer } from './index.js';
import { get, post, query, Served, write } from './testing/served.js';

let served: Served;
let server: HttpServer;
let follower: HttpServer;

beforeAll(async () => {
  served = await Served.start(2, { failover: { mode: 'manual' } });
  server = await served.server();
  follower = await served.server({}, 'r2');
});
afterAll(() => served[Symbol.asyncDispose]());

describe('POST /v1/execute and /v1/query', () => {
  it('write, and read what was written', async () => {
    const statements = [
      { sql: 'INSERT INTO items (id, name, price) VALUES (?, ?, ?)', params: [1, 'lamp', 9.5] },
      { sql: 'UPDATE items SET name = :name WHERE id = :id', params: { id: 1, name: 'desk lamp' } },
    ];
    const written = await post(server, '/v1/execute', { statements });
    expect(written).toMatchObject({ status: 200, body: { outcome: 'committed', changes: [1, 1] } });
    const read = await query(server, 'SELECT id, name, price FROM items WHERE id = ?', { params: [1] });
    expect(read).toMatchObject({ status: 200, body: { columns: ['id', 'name', 'price'] } });
    expect(read.body['rows']).toEqual([{ id: 1, name: 'desk lamp', price: 9.5 }]);
  });

  it('keep a session over two replicas, whichever takes the write', async () => {
    for (let id = 100; id < 110; id += 1) {
      const written = await write(follower, 'INSERT INTO items (id) VALUES (?)', [id]);
      expect(written.status).toBe(200);
      const session = { consistency: 'session', after: written.body['position'] };
      const here = await query(follower, `SELECT id FROM items WHERE id = ${id}`, session);
      expect(here.body['rows']).toEqual([{ id }]);
      const after = { consistency: 'session', after: here.body['position'] };
      const there = await query(server, `SELECT id FROM items WHERE id = ${id}`, after);
      expect(there.body['rows']).toEqual([{ id }]);
    }
  });

  it('bring every value of the database through, both ways', async () => {
    const picture = { base64: Buffer.from([0, 255, 128]).toString('base64') };
    await write(server, 'INSERT INTO items (id, name, picture) VALUES (?, ?, ?)', [2, 'naïve ☂', picture]);
    const sql = `SELECT id, name, price, picture, typeof(?) AS i, typeof(?) AS r, typeof(?) AS t,
      9007199254740993 AS large, 9007199254740991 AS exact, ? AS given, 1e999 AS infinite FROM items WHERE id = 2`;
    const params = [5, { real: 1e300 }, '5', { integer: '-9223372036854775808' }];
    const { body } = await query(server, sql, { params });
    expect(body['rows']).toEqual([
      {
        ...{ id: 2, name: 'naïve ☂', price: null, picture, i: 'integer', r: 'real', t: 'text' },
        ...{ large: { integer: '9007199254740993' }, exact: 9007199254740991 },
        given: { integer: '-9223372036854775808' },
        infinite: { real: 'Infinity' },
      },
    ]);
  });

  it('write a request once, however often it is sent', async () => {
    const statements = [{ sql: "INSERT INTO other VALUES (1, 'once')" }];
    const request = { statements, requestId: 'order-1' };
    expect((await post(server, '/v1/execute', request)).body).toMatchObject({ changes: [1] });
    expect(await post(follower, '/v1/execute', request)).toMatchObject({
      status: 200,
      body: { repeated: true },
    });
  });

  it.each([
    ['a constraint', "INSERT INTO items (id, name) VALUES (900, 'x'), (901, 'x')", 422, 'CONSTRAINT'],
    ['no SQL', 'INSERT INTO nowhere VALUES (1)', 400, 'BAD_SQL'],
    ['SQL that has a parameter too few', 'INSERT INTO items (id) VALUES (?)', 400, undefined],
  ])('answer %s with its status, and write nothing', async (_, sql, status, code) => {
    const statements = [{ sql: 'INSERT INTO items (id) VALUES (800)' }, { sql }];
    const { status: answered, body } = await post(server, '/v1/execute', { statements });
    expect({ answered, body }).toMatchObject({ answered: status, body: { error: { retriable: false } } });
    if (code !== undefined) expect(body.error).toMatchObject({ code });
    expect((await query(server, 'SELECT id FROM items WHERE id = 800')).body['rows']).toEqual([]);
  });

  it('write a batch only where its statements change as many rows as they say', async () => {
    const update = { sql: "UPDATE items SET name = 'y' WHERE id = 404", rows: 1 };
    const refused = await post(server, '/v1/execute', { statements: [update] });
    expect(refused).toMatchObject({
      status: 422,
      body: { error: { code: 'UNEXPECTED_ROWS', context: { statement: 0, changed: 0, expected: 1 } } },
    });
    const accepted = await post(server, '/v1/execute', { statements: [{ ...update, rows: 0 }] });
    expect(accepted).toMatchObject({ status: 200, body: { changes: [0] } });
  });

  it.each<[string, string, unknown, RegExp]>([
    ['no body', '/v1/query', '', /JSON/],
    ['no JSON', '/v1/query', '{"sql":', /JSON/],
    ['a list', '/v1/query', [], /body/],
    ['a field with a typo', '/v1/query', { sql: 'SELECT 1', maxRow: 1 }, /"maxRow".*"maxRows"/],
    ['a field of the wrong kind', '/v1/query', { sql: 5 }, /`sql`/],
    ['no statements', '/v1/execute', { statements: [] }, /`statements`/],
    ['a number that JSON rounds', '/v1/query', '{"sql":"SELECT ?","params":[9007199254740993]}', /\integer/],
    [
      'an integer of 65 bits',
      '/v1/query',
      { sql: 'SELECT ?', params: [{ integer: '9223372036854775808' }] },
      /64-bit/,
    ],
    ['no base64', '/v1/query', { sql: 'SELECT ?', params: [{ base64: '?' }] }, /base64/],
    ['a session without a token', '/v1/query', { sql: 'SELECT 1', consistency: 'session' }, /after/],
    ['a prototype', '/v1/query', '{"sql":"SELECT 1","__proto__":{"a":1}}', /JSON/],
  ])('refuse %s', async (_, path, body, message) => {
    const answer = await post(server, path, body);
    expect(answer).toMatchObject({ status: 400 });
    expect(answer.body.error?.['message']).toMatch(message);
  });

  it('say what there is at addresses', async () => {
    expect(await get(server, '/v1/nothing')).toMatchObject({
      status: 404,
      body: { error: { code: 'NOT_FOUND' } },
    });
    const get405 = await get(server, '/v1/query?x=1');
    expect(get405).toMatchObject({ status: 405, body: { error: { code: 'METHOD_NOT_ALLOWED' } } });
    expect(get405.headers.get('allow')).toBe('POST');
    const text = await post(server, '/v1/query', 'SELECT 1', { 'content-type': 'text/plain' });
    expect(text).toMatchObject({ status: 415, body: { error: { code: 'UNSUPPORTED_MEDIA_TYPE' } } });
  });
});
