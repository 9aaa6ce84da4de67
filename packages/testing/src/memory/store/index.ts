export { memoryDatabase, MemoryDatabase, type MemoryDatabaseOptions } from './database.js';
export { memoryStore, MemoryStore, type MemoryStoreOptions } from './memory-store.js';
export type { MemoryTable } from './table.js';
export type { MemoryTransaction } from './user-transaction.js';
