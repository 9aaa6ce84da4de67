import { isSameName } from '../model/sql-name.js';
import { suggestion } from '../options/suggestion.js';
import type { StoreInspection } from '../ports/store.js';

const MAX_LISTED = 5;

/**
 * The tables that somebody named and the database does not have, with those that were likely meant:
 * `ordres (did you mean orders?)`. Undefined when it has all of them.
 */
export function missingTables(
  { tables, otherTables = [] }: Pick<StoreInspection, 'tables' | 'otherTables'>,
  names: readonly string[],
): string | undefined {
  const found = tables.map(({ schema }) => schema.name);
  const missing = names.filter((name) => !found.some((known) => isSameName(known, name)));
  if (missing.length === 0) return undefined;
  const meant = missing.map((name) => suggestion(name, otherTables));
  if (meant.some((name) => name !== undefined) || otherTables.length === 0)
    return missing.map((name, index) => withMeant(name, meant[index])).join(', ');
  const more = otherTables.length > MAX_LISTED ? ', …' : '';
  return `${missing.join(', ')} (it has ${otherTables.slice(0, MAX_LISTED).join(', ')}${more})`;
}

function withMeant(name: string, meant: string | undefined): string {
  return meant === undefined ? name : `${name} (did you mean ${meant}?)`;
}
