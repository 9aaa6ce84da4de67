export * from '@antiphon/nats-server';
