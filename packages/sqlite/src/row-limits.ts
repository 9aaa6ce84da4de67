import { AntiphonError, type RowLimits } from '@antiphon/core';
import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';
import { columnName, type LocalTable } from './local-table.js';

/**
 * A condition on the values of a row. The sum is all that is looked at in a row of ordinary size.
 * Bytes are counted by way of BLOB: `octet_length` came with SQLite 3.43, and other programs may be
 * older.
 */
export function isTooLarge(values: readonly string[], { valueBytes, rowBytes }: RowLimits): string {
  const sizes = values.map((value) => `ifnull(length(CAST(${value} AS BLOB)), 0)`);
  return condition(sizes, { valueBytes, rowBytes });
}

/**
 * The same for the driver's own SQLite: sizes are in the header of a row, so what is large is not
 * read.
 */
export function isStoredTooLarge(values: readonly string[], limits: RowLimits): string {
  return condition(
    values.map((value) => `ifnull(octet_length(${value}), 0)`),
    limits,
  );
}

function condition(sizes: readonly string[], { valueBytes, rowBytes }: RowLimits): string {
  const sum = balanced(sizes, '+');
  const over = balanced(
    sizes.map((size) => `${size} > ${valueBytes}`),
    'OR',
  );
  return `${sum} > ${valueBytes} AND (${over} OR ${sum} > ${rowBytes})`;
}

export function describeRowLimits({ valueBytes, rowBytes }: RowLimits): string {
  return `a value may have ${valueBytes} bytes, a row ${rowBytes}`;
}

/** For the rows of the creator: nobody could change them later without making them smaller. */
export function assertRowsFit({ db }: Connection, table: LocalTable, limits: RowLimits): void {
  const values = table.columns.map((_, index) => columnName(table, index));
  const rows = db
    .prepare(
      `SELECT count(*) FROM ${quoteName(table.name)} WHERE ${isStoredTooLarge(values, limits)}`,
      'value',
    )
    .get() as number;
  if (rows === 0) return;
  throw new AntiphonError(
    'MESSAGE_TOO_LARGE',
    `${rows === 1 ? '1 row' : `${rows} rows`} of ${table.name} ${rows === 1 ? 'is' : 'are'} too large to be replicated: ${describeRowLimits(limits)}. Split their values, keep them ` +
      'outside of the database, or create the cluster with larger `limits.valueBytes` and `limits.rowBytes`.',
    { context: { table: table.name, rows } },
  );
}
