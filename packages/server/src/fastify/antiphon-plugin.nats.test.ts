import { AntiphonError, connect } from '@antiphon/client';
import { fastify, type FastifyInstance } from 'fastify';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { answerError, antiphonPlugin, type AntiphonPluginOptions } from '../fastify.js';
import { Served } from '../testing/served.js';

let served: Served;
const apps: FastifyInstance[] = [];

beforeAll(async () => {
  const topology = { mode: 'primary-replica', primary: 'r1' } as const;
  served = await Served.start(3, { topology, failover: { mode: 'manual' } });
});
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
});
afterAll(() => served[Symbol.asyncDispose]());

const NUMBERS = { integers: 'number' } as const;

/** An instance of a service. */
async function service(
  settings: AntiphonPluginOptions = {},
  prepare: (app: FastifyInstance) => void = () => undefined,
): Promise<FastifyInstance> {
  const app = fastify();
  apps.push(app);
  const { cluster } = served;
  await app.register(antiphonPlugin, {
    ...{ cluster: cluster.name, servers: cluster.broker.url ?? '' },
    ...settings,
  });
  prepare(app);
  app.post<{ Body: { id: number } }>('/items', async (request, reply) => {
    await request.antiphon.execute([{ sql: 'INSERT INTO items (id) VALUES (?)', params: [request.body.id] }]);
    return reply.code(201).send({ id: request.body.id });
  });
  app.get<{ Params: { id: string } }>('/items/:id', (request) =>
    request.antiphon.query('SELECT id FROM items WHERE id = ?', [Number(request.params.id)], NUMBERS),
  );
  app.get('/nothing', () => ({}));
  app.get('/broken', () => {
    throw new Error('a fault of the service');
  });
  return app;
}

describe('a service with antiphonPlugin', () => {
  it('I8: shows to whoever sends the header back what it wrote, on whichever instance', async () => {
    const [one, other] = [await service(), await service()];
    let session: string | undefined;
    for (let id = 1; id <= 20; id++) {
      const headers = session === undefined ? {} : { 'antiphon-session': session };
      const written = await one.inject({ method: 'POST', url: '/items', payload: { id }, headers });
      expect(written.statusCode).toBe(201);
      const after = String(written.headers['antiphon-session']);
      const read = await other.inject({ url: `/items/${id}`, headers: { 'antiphon-session': after } });
      expect(read.json()).toEqual([{ id }]);
      session = String(read.headers['antiphon-session']);
    }
  });

  it('says nothing of a session to whoever has none', async () => {
    const { headers } = await (await service()).inject({ url: '/nothing' });
    expect(headers).not.toHaveProperty('antiphon-session');
  });

  it('answers what the cluster refuses with its status, and leaves the rest to Fastify', async () => {
    const app = await service();
    await app.inject({ method: 'POST', url: '/items', payload: { id: 100 } });
    const twice = await app.inject({ method: 'POST', url: '/items', payload: { id: 100 } });
    expect(twice.statusCode).toBe(422);
    expect(twice.json()).toMatchObject({ error: { code: 'CONSTRAINT', retriable: false } });
    const broken = await app.inject({ url: '/broken' });
    expect(broken.json()).toMatchObject({ statusCode: 500, message: 'a fault of the service' });
    const headers = { 'antiphon-session': 'rubbish' };
    const bad = await app.inject({ url: '/items/1', headers });
    expect(bad.statusCode).toBe(400);
    const message = expect.stringContaining('antiphon-session is "rubbish"') as string;
    expect(bad.json()).toMatchObject({ error: { code: 'BAD_OPTION', message } });
  });

  it('I8: writes whatever the header says of a log that is no more, and lets its sender begin anew', async () => {
    const app = await service();
    const headers = { 'antiphon-session': '0192f3a4-b5c6/7,r1:3' };
    const read = await app.inject({ url: '/items/1', headers });
    expect(read.json()).toMatchObject({ error: { code: 'SESSION_LOST' } });
    expect(read.headers['antiphon-session']).toBe('');
    const payload = { id: 300 };
    const written = await app.inject({ method: 'POST', url: '/items', payload, headers });
    expect(written.statusCode).toBe(201);
    for (const { 'antiphon-session': session } of [written.headers, read.headers]) {
      const again = await app.inject({ url: '/items/300', headers: { 'antiphon-session': String(session) } });
      expect(again.statusCode).toBe(200);
    }
    const [generation = '', rest = ''] = String(written.headers['antiphon-session']).split('/');
    const short = `${generation.slice(0, 8)}/${rest}`;
    const shown = await app.inject({ url: '/items/300', headers: { 'antiphon-session': short } });
    expect(shown.json()).toEqual([{ id: 300 }]);
  });

  it('leaves errors to the service, and names the header as it likes', async () => {
    const app = await service({ answerErrors: false, sessionHeader: 'x-seen' });
    const written = await app.inject({ method: 'POST', url: '/items', payload: { id: 200 } });
    expect(written.headers).toHaveProperty('x-seen');
    const twice = await app.inject({ method: 'POST', url: '/items', payload: { id: 200 } });
    expect(twice.json()).toMatchObject({ statusCode: 500, code: 'CONSTRAINT' });
  });

  it('does not start where a handler of the service has replaced its own, and serves one that calls it', async () => {
    const own = (app: FastifyInstance): void => {
      app.setErrorHandler((error: Error, request, reply) => {
        if (error instanceof AntiphonError) return answerError(error, request, reply);
        return reply.code(418).send({ own: error.message });
      });
    };
    const replaced = await service({}, own);
    await expect(replaced.ready()).rejects.toMatchObject({
      ...{ code: 'BAD_OPTION', message: expect.stringContaining('answerErrors: false') as string },
    });
    const app = await service({ answerErrors: false }, own);
    const headers = { 'antiphon-session': 'rubbish' };
    const refused = await app.inject({ url: '/items/1', headers });
    expect(refused.statusCode).toBe(400);
    expect(refused.json()).toMatchObject({ error: { code: 'BAD_OPTION', retriable: false } });
    const broken = await app.inject({ url: '/broken' });
    expect({ status: broken.statusCode, body: broken.json<unknown>() }).toEqual({
      ...{ status: 418, body: { own: 'a fault of the service' } },
    });
  });

  it('takes a client, and leaves it open', async () => {
    const { name, broker } = served.cluster;
    await using client = await connect({ cluster: name, servers: broker.url ?? '' });
    const app = fastify();
    await app.register(antiphonPlugin, { client });
    expect(app.antiphon).toBe(client);
    await app.close();
    expect(await client.query('SELECT 1 AS one', [], NUMBERS)).toEqual([{ one: 1 }]);
  });

  it.each([
    ['a name with a typo', { sesionHeader: 'x' }, /sesionHeader/],
    ['a header that is none', { sessionHeader: 'Not a header' }, /sessionHeader/],
    ['a cluster that is not there', { cluster: 'elsewhere' }, /elsewhere/],
  ])('does not start with %s', async (_, settings, message) => {
    const started = service(settings as AntiphonPluginOptions);
    await expect(started).rejects.toThrow(message);
  });
});
