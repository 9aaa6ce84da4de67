/**
 * For simulations and tests of Antiphon itself: not part of the public API, and may change with
 * every release.
 */
export { NamedParameters } from './driver/driver.js';
export { EXTENDED, RESULT } from './driver/result-codes.js';
export { statementError, storeError } from './errors.js';
export { ReadWork } from './read-work.js';
export { StreamWork } from './stream-work.js';
export type { StreamRequest } from './stream-protocol.js';
export type { StreamsOptions } from './row-streams.js';
export type { ReaderOptions } from './reader.js';
export { SqliteStore } from './store.js';
export { PROCESS, type FileId, type Surroundings } from './surroundings.js';
