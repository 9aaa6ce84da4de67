export * from '@antiphon/test-cluster';
export { eventually, type EventuallyOptions } from '@antiphon/testing';
