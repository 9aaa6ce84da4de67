import { open, stat, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setImmediate as giveWay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import {
  abortError,
  abortReason,
  AntiphonError,
  checkOptions,
  DEFAULT_ROW_LIMITS,
  OPTION,
  replicatedTables,
  type InspectOptions,
  type OptionNames,
  type RowLimits,
  type StoreInspection,
  type TableSchema,
} from '@antiphon/core';
import { balanced } from './balanced.js';
import { Connection } from './connection.js';
import type { Database, Statement } from './driver/driver.js';
import { assertPath } from './driver/find-driver.js';
import { inspectDatabase } from './database-inspection.js';
import { storeError } from './errors.js';
import { quoteName } from './identifiers.js';
import { hasMetadata } from './inspection.js';
import { isStoredTooLarge } from './row-limits.js';
import { readIdentity } from './state.js';

/** Rows that keep a table from being replicated as it is. */
export interface UnfitRows {
  readonly table: string;
  readonly rows: number;
  readonly why: 'too large' | 'NULL in the primary key';
  /** A SELECT that finds them. */
  readonly sql: string;
}

/** What is in a database file, and what of it can be replicated. */
export interface FileInspection extends StoreInspection {
  /** Rows that could not be replicated; empty unless `rows` was asked for. */
  readonly unfitRows: readonly UnfitRows[];
}

/** What to look at in a database file. */
export interface InspectFileOptions extends InspectOptions {
  /**
   * Looks at every row as well.
   * @defaultValue false
   */
  readonly rows?: boolean;
  /**
   * Rows over these are too large, in bytes.
   * @defaultValue 64 MiB for a value, 128 MiB for a row
   */
  readonly rowLimits?: RowLimits;
  /** Ends it between two pieces of work. */
  readonly signal?: AbortSignal;
  /**
   * How long to wait for a program that has locked the file, in milliseconds; STORE_BUSY after
   * that.
   * @defaultValue 5000
   */
  readonly busyTimeoutMs?: number;
}

const INSPECT_OPTIONS: OptionNames<InspectFileOptions> = {
  ...{ tables: true, localTriggers: OPTION.names, rows: OPTION.flag, rowLimits: true, signal: true },
  busyTimeoutMs: OPTION.milliseconds,
};
const DEFAULT_BUSY_TIMEOUT_MS = 5000;
const ROWS_AT_ONCE = 20_000;
const ROWID_NAMES = ['_rowid_', 'rowid', 'oid'] as const;
const LEAST_ROWID = -(2n ** 63n);
const GREATEST_ROWID = 2n ** 63n - 1n;

/**
 * Looks at a database without changing it, also while other programs write to it: nothing is
 * created beside it either.
 *
 * @throws AntiphonError BAD_OPTION when there is no such file, STORE_FAILED when it is no database
 * that can be read, STORE_BUSY when another program keeps it locked; the reason of `signal`, or
 * ABORTED
 */
export async function inspectFile(file: string, options: InspectFileOptions = {}): Promise<FileInspection> {
  assertPath(file, 'inspectFile()');
  checkOptions(options, INSPECT_OPTIONS, 'inspectFile()');
  const path = resolve(file);
  const address = await addressOf(path);
  const connection = await Connection.openReadOnly(
    address,
    path,
    options.busyTimeoutMs ?? DEFAULT_BUSY_TIMEOUT_MS,
  );
  try {
    connection.db.exec('BEGIN');
    const inspection = inspectDatabase(connection, options);
    const unfitRows = options.rows === true ? await findUnfitRows(connection, inspection, path, options) : [];
    return {
      ...inspection,
      ...(hasMetadata(connection) ? { identity: readIdentity(connection) } : {}),
      unfitRows,
    };
  } catch (thrown) {
    throw thrown === options.signal?.reason
      ? givenUp(path, options.signal)
      : storeError(thrown, `Cannot read ${path}`);
  } finally {
    connection.close();
  }
}

function givenUp(path: string, signal: AbortSignal | undefined): unknown {
  return abortReason(abortError(signal, `Looking at ${path} was stopped by the caller.`), signal);
}

/**
 * A database in WAL mode that nobody has open has no WAL file. SQLite would create one to read it,
 * and leave it: such a file is opened as one that does not change
 * (https://www.sqlite.org/uri.html#uriimmutable).
 */
async function addressOf(path: string): Promise<string> {
  const found = await stat(path).catch((cause: unknown) => {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
    throw new AntiphonError('BAD_OPTION', `${path}: ${why}. Name a SQLite database.`, { cause });
  });
  if (!found.isFile())
    throw new AntiphonError('BAD_OPTION', `${path} is not a file. Name a SQLite database.`);
  const wal = await stat(`${path}-wal`).catch(() => undefined);
  if (wal !== undefined || !(await isInWalMode(path))) return path;
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  return url.href;
}

/** https://www.sqlite.org/fileformat.html#file_format_version_numbers */
async function isInWalMode(path: string): Promise<boolean> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(20), 0, 20, 0);
    return bytesRead === 20 && buffer[18] === 2;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new AntiphonError('BAD_OPTION', `${path} cannot be read (${code}). Correct its owner and mode.`, {
      cause,
    });
  } finally {
    await handle?.close();
  }
}

async function findUnfitRows(
  connection: Connection,
  inspection: StoreInspection,
  path: string,
  { rowLimits = DEFAULT_ROW_LIMITS, signal }: InspectFileOptions,
): Promise<readonly UnfitRows[]> {
  const found: UnfitRows[] = [];
  const mayBeLarge = (await stat(path)).size > rowLimits.valueBytes;
  for (const { schema, numbered } of replicatedTables(inspection)) {
    signal?.throwIfAborted();
    const isLarge = tooLarge(schema, rowLimits);
    const large = mayBeLarge ? await countWhere(connection, schema, isLarge, signal) : 0;
    if (large > 0)
      found.push({
        table: schema.name,
        rows: large,
        why: 'too large',
        sql: findSql(schema, isLarge),
      });
    const nulls = numbered === true ? 0 : await countWhere(connection, schema, hasNullKey(schema), signal);
    if (nulls > 0)
      found.push({
        ...{ table: schema.name, rows: nulls, why: 'NULL in the primary key' },
        sql: findSql(schema, hasNullKey(schema)),
      });
  }
  return found;
}

/** Only the key of what is too large; the whole row of one whose key says nothing. */
function findSql(schema: TableSchema, condition: string): string {
  const { name, columns, key } = schema;
  const keys = key.map((index) => quoteName(columns[index]?.name ?? ''));
  const shown = condition === hasNullKey(schema) ? '*' : keys.join(', ');
  return `SELECT ${shown} FROM ${quoteName(name)} WHERE ${condition};`;
}

/** As the capture triggers refuse it. */
function tooLarge({ columns }: TableSchema, limits: RowLimits): string {
  return isStoredTooLarge(
    columns.map(({ name }) => quoteName(name)),
    limits,
  );
}

function hasNullKey({ columns, key }: TableSchema): string {
  return balanced(
    key.map((index) => `${quoteName(columns[index]?.name ?? '')} IS NULL`),
    'OR',
  );
}

/**
 * Gives way again and again, so that Ctrl-C ends it. A table without row numbers is read at once.
 */
async function countWhere(
  { db }: Connection,
  { name, columns }: TableSchema,
  condition: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const table = quoteName(name);
  const rowid = ROWID_NAMES.find((alias) => columns.every((column) => column.name.toLowerCase() !== alias));
  const byNumber = rowid === undefined ? undefined : pageStatement(db, table, rowid, condition);
  if (byNumber === undefined)
    return db.prepare(`SELECT count(*) FROM ${table} WHERE ${condition}`, 'value').get() as number;
  let count = 0;
  for (let from = LEAST_ROWID; ;) {
    const { last, unfit } = byNumber.get(from) as { last: bigint | null; unfit: bigint | null };
    if (last === null) return count;
    count += Number(unfit ?? 0n);
    if (last === GREATEST_ROWID) return count;
    from = last + 1n;
    await giveWay();
    signal?.throwIfAborted();
  }
}

/** Undefined for a table WITHOUT ROWID. */
function pageStatement(db: Database, table: string, rowid: string, condition: string): Statement | undefined {
  const page = `SELECT ${rowid} AS at, (${condition}) AS unfit FROM ${table} WHERE ${rowid} >= ? ORDER BY ${rowid} LIMIT ${ROWS_AT_ONCE}`;
  try {
    return db.prepare(`SELECT max(at) AS last, sum(unfit) AS unfit FROM (${page})`, 'exact object');
  } catch {
    return undefined;
  }
}
