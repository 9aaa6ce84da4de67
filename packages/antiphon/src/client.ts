export * from '@antiphon/client';
