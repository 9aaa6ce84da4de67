export * from '@antiphon/server/fastify';
