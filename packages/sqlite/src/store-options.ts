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
   * Maximum streams of rows at once, 1 to 64, each with a process of its own.
   * @defaultValue 4
   */
  readonly streams?: number;
  /**
   * How long to wait for another program's transaction, in milliseconds; STORE_BUSY after that.
   * @defaultValue 5000
   */
  readonly busyTimeoutMs?: number;
}

export const DEFAULT_BUSY_TIMEOUT_MS = 5000;
const DEFAULT_READERS = 2;
const DEFAULT_STREAMS = 4;

/** The absolute path of the database. BAD_OPTION when it is none. */
export function fileOf({ file }: SqliteOptions): string {
  if (file === '' || file === ':memory:' || file.startsWith('file:'))
    throw new AntiphonError('BAD_OPTION', '`file` of sqlite() must be the path of a database file.');
  return isAbsolute(file) ? file : resolve(file);
}

/** BAD_OPTION when there are none, or too many. */
export function processesOf({ readers = DEFAULT_READERS, streams = DEFAULT_STREAMS }: SqliteOptions): {
  readonly readers: number;
  readonly streams: number;
} {
  for (const [name, count] of Object.entries({ readers, streams })) {
    if (Number.isInteger(count) && count >= 1 && count <= 64) continue;
    throw new AntiphonError('BAD_OPTION', `\`${name}\` of sqlite() must be a whole number from 1 to 64.`);
  }
  return { readers, streams };
}
