import { AntiphonError, type TableSchema } from '@antiphon/core';

const MAX_SHOWN_CHARACTERS = 80;

/** Throws UNKNOWN_TABLE, which lists what there is. `who` replicates them: `Replica eu-1`, `Cluster shop`. */
export function assertReplicated(
  wanted: readonly string[],
  tables: readonly Pick<TableSchema, 'name'>[],
  who: string,
): void {
  const known = new Set(tables.map(({ name }) => name));
  const table = wanted.find((name) => !known.has(name));
  if (table === undefined) return;
  throw new AntiphonError(
    'UNKNOWN_TABLE',
    `${who} does not replicate a table ${table.slice(0, MAX_SHOWN_CHARACTERS)}. It replicates ${[...known].join(', ')}.`,
    { context: { table } },
  );
}
