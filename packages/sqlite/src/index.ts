import './node-check.js';
import { checkRequired, oneOf, OPTION, type OptionNames, type Store } from '@antiphon/core';
import type { SqliteOptions } from './store-options.js';
import { SqliteStore } from './store.js';
import type { SqliteTransaction } from './transaction.js';

export type { Database, RowForm, SqliteValue, Statement } from './driver/driver.js';
export { openDatabase } from './driver/find-driver.js';
export type { OpenOptions } from './driver/open-options.js';
export {
  inspectFile,
  type FileInspection,
  type InspectFileOptions,
  type UnfitRows,
} from './file-inspection.js';
export { StatementWatchdog, type WatchdogOptions } from './statement-watchdog.js';
export type { SqliteOptions } from './store-options.js';
export type { RunResult, SqliteTransaction } from './transaction.js';
export type { Parameters } from './values.js';

const OPTIONS: OptionNames<SqliteOptions> = {
  ...{
    file: OPTION.text,
    synchronous: oneOf('normal', 'full'),
    readers: OPTION.count,
    streams: OPTION.count,
    busyTimeoutMs: OPTION.count,
  },
};

/**
 * A replica's database in a SQLite file, for the `store` of `createReplica`. The file is opened
 * when the replica starts, and created when it is not there.
 *
 * @throws AntiphonError BAD_OPTION
 * @example
 * const replica = await createReplica({ cluster: 'shop', id: 'eu-1', servers, store: sqlite({ file: 'shop.db' }) });
 */
export function sqlite(options: SqliteOptions): Store<SqliteTransaction> {
  checkRequired(options, OPTIONS, 'sqlite()', ['file']);
  return new SqliteStore(options);
}
