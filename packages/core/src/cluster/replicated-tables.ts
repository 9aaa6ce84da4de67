import { AntiphonError } from '../errors/antiphon-error.js';
import type { TableSchema } from '../model/schema.js';
import { usersTables } from '../model/requests-table.js';
import { foldName } from '../model/sql-name.js';
import { suggestion } from '../options/suggestion.js';

const MAX_SHOWN_CHARACTERS = 80;

/**
 * The tables that are meant, as they are called in the cluster: SQL regards no case. Throws
 * UNKNOWN_TABLE, which lists what there is. `who` replicates them: `Replica eu-1`, `Cluster shop`.
 */
export function replicatedNames(
  wanted: readonly string[],
  tables: readonly Pick<TableSchema, 'name'>[],
  who: string,
): readonly string[] {
  const known = new Map(tables.map(({ name }) => [foldName(name), name]));
  const table = wanted.find((name) => !known.has(foldName(name)));
  if (table === undefined) return wanted.map((name) => known.get(foldName(name)) ?? name);
  throw new AntiphonError(
    'UNKNOWN_TABLE',
    `${who} does not replicate table ${table.slice(0, MAX_SHOWN_CHARACTERS)}. ${tablesToName(table, tables)}`,
    { context: { table } },
  );
}

/** What there is, and which one may be meant: sentences that come after "it is not replicated". */
export function tablesToName(table: string, tables: readonly Pick<TableSchema, 'name'>[]): string {
  const names = usersTables(tables).map(({ name }) => name);
  const best = suggestion(table.slice(0, MAX_SHOWN_CHARACTERS), names);
  const next = best === undefined ? 'Correct the name.' : `Did you mean "${best}"?`;
  return `It replicates ${names.join(', ')}. ${next}`;
}

/** An empty list would wait for ever for a change. `what` was called with it. Throws BAD_OPTION. */
export function assertTablesWanted(tables: unknown, what: string): void {
  if (tables === undefined) return;
  const isList = Array.isArray(tables) && tables.every((name) => typeof name === 'string');
  if (isList && tables.length > 0) return;
  const problem = isList ? 'empty' : 'not valid';
  const message = `\`tables\` of ${what} is ${problem}. Give a list of at least one table name, or leave it out for all.`;
  throw new AntiphonError('BAD_OPTION', message);
}
