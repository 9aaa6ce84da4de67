export * from '@antiphon/replica';
export { sqlite, type RunResult, type SqliteOptions, type SqliteTransaction } from '@antiphon/sqlite';
