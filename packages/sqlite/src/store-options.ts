import { isAbsolute, resolve } from 'node:path';
import { AntiphonError } from '@antiphon/core';

/** Which database, and how it is used. */
export interface SqliteOptions {
  /** The database file; created when it is not there. */
  readonly file: string;
  /**
   * When commits reach the disk. `normal`: a power cut may take back the last commits, never
   * corrupt; a replica fetches them from the log again. `full`: every commit is on the disk before
   * it is acknowledged. Synchronous clusters always use `full`.
   * @defaultValue 'normal'
   */
  readonly synchronous?: 'normal' | 'full';
  /**
   * Maximum processes for queries, 1 to 64, started when needed; checksums have one of their own.
   * @defaultValue 2
   */
  readonly readers?: number;
  /**
   * How long to wait for another program's transaction, in milliseconds; STORE_BUSY after that.
   * @defaultValue 5000
   */
  readonly busyTimeoutMs?: number;
}

export const DEFAULT_BUSY_TIMEOUT_MS = 5000;
const DEFAULT_READERS = 2;

/** The absolute path of the database. BAD_OPTION when it is none. */
export function fileOf({ file }: SqliteOptions): string {
  if (file === '' || file === ':memory:' || file.startsWith('file:'))
    throw new AntiphonError('BAD_OPTION', '`file` of sqlite() must be the path of a database file.');
  return isAbsolute(file) ? file : resolve(file);
}

/** BAD_OPTION when there are none, or too many. */
export function readersOf({ readers = DEFAULT_READERS }: SqliteOptions): number {
  if (!Number.isInteger(readers) || readers < 1 || readers > 64)
    throw new AntiphonError('BAD_OPTION', '`readers` of sqlite() must be a whole number from 1 to 64.');
  return readers;
}
