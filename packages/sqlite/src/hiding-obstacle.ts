import type { LocalTable } from './local-table.js';

/**
 * What keeps rows of a table from being hidden, which several writers may make necessary; undefined
 * when nothing does.
 */
export function hidingObstacle(table: LocalTable): string | undefined {
  if (table.uniqueIndexes.length === 0) return undefined;
  if (table.hasGeneratedColumns && table.uniqueIndexes.some(({ where }) => where !== undefined))
    return 'it has a partial unique index and generated columns';
  const named = table.columns.find(({ name }) => ['rowid', 'oid', '_rowid_'].includes(name.toLowerCase()));
  return named === undefined
    ? undefined
    : `it has a unique key besides its primary key and a column called ${named.name}`;
}
