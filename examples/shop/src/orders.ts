/** The orders service: Fastify, without a database of its own. */
import { newId } from '@antiphon/client';
import { antiphonPlugin } from '@antiphon/server/fastify';
import { fastify } from 'fastify';
import { atEnd, CLUSTER, setting } from './settings.ts';

interface NewOrder {
  readonly item: string;
  readonly pieces: number;
}

const newOrder = {
  body: {
    type: 'object',
    required: ['item', 'pieces'],
    properties: { item: { type: 'string' }, pieces: { type: 'integer', minimum: 1, maximum: 100 } },
  },
};

// A connection whose request ends while the service closes keeps the process for so long.
const app = fastify({ keepAliveTimeout: 1000 });
await app.register(antiphonPlugin, { cluster: CLUSTER, servers: setting('NATS_URL') });

app.post<{ Body: NewOrder }>('/orders', { schema: newOrder }, async (request, reply) => {
  const { item, pieces } = request.body;
  const id = newId();
  // One transaction: the order exists if, and only if, its pieces were taken from the stock.
  await request.antiphon.execute(
    [
      { sql: 'UPDATE stock SET pieces = pieces - ? WHERE item = ?', params: [pieces, item], rows: 1 },
      { sql: "INSERT INTO orders VALUES (?, ?, ?, 'new')", params: [id, item, pieces] },
    ],
    // Written once, however often this is sent while another replica becomes the primary.
    { requestId: id },
  );
  return reply.code(201).send({ id });
});

app.get<{ Params: { id: string } }>('/orders/:id', async (request, reply) => {
  const [order] = await request.antiphon.query('SELECT * FROM orders WHERE id = ?', [request.params.id], {
    integers: 'number',
  });
  return order ?? reply.code(404).send({ error: { code: 'NOT_FOUND', message: 'There is no such order.' } });
});

await app.listen({ host: '127.0.0.1', port: Number(process.env['PORT'] ?? 0) });
atEnd(() => app.close());
process.send?.({ ready: true, url: app.listeningOrigin });
