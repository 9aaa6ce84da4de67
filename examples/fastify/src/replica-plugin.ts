/**
 * A replica inside a Fastify service. It is there before the service listens, and closes when the
 * last request has been answered. Fastify needs `pluginTimeout: 0`: it gives a plugin ten seconds,
 * and a replica that creates a cluster from many rows may need more.
 */
import { createReplica, type CreateReplicaOptions, type Replica } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';
import type { FastifyInstance } from 'fastify';
import fastifyPlugin from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyInstance {
    readonly replica: Replica<SqliteTransaction>;
  }
}

async function plugin(app: FastifyInstance, options: CreateReplicaOptions<SqliteTransaction>): Promise<void> {
  const replica = await createReplica({ logger: app.log, ...options });
  app.decorate('replica', replica);
  // Fastify calls it once nobody is served any more. What was committed is sent, and the primary
  // hands over to another replica.
  app.addHook('onClose', () => replica.close());
  // A replica that ends by itself takes the service with it: whoever runs that starts it again.
  void replica.ended.then(async (error) => {
    if (error === undefined) return;
    app.log.fatal(error);
    process.exitCode = 1;
    await app.close();
  });

  app.get('/livez', (_, reply) => reply.code(replica.healthcheck().live ? 200 : 503).send());
  app.get('/readyz', (_, reply) => {
    const { ready, problems } = replica.healthcheck({ maxLagSeconds: 30 });
    return reply.code(ready ? 200 : 503).send(problems.join('\n'));
  });
}

export const replicaPlugin = fastifyPlugin(plugin, { name: 'replica', fastify: '5.x' });
