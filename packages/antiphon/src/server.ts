export * from '@antiphon/server';
