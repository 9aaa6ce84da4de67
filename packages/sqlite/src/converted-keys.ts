import { foldName } from '@antiphon/core';
import type { Connection } from './connection.js';
import type { Affinity, LocalTable } from './local-table.js';

/** A column that refers to one of another table. */
export interface Reference {
  readonly child: string;
  readonly column: string;
  readonly affinity: Affinity;
  /** Undefined: the part of the parent's primary key at `place`. */
  readonly parentColumn: string | undefined;
  readonly place: number;
  /** Deleting the parent's row changes or deletes the child's. */
  readonly actsOnDelete: boolean;
}

/** By the folded names of the tables that are referred to. */
export type References = ReadonlyMap<string, readonly Reference[]>;

interface Row {
  readonly child: string;
  readonly parent: string;
  readonly column: string;
  readonly to: string | null;
  readonly place: number;
  readonly type: string;
  readonly strict: number;
  readonly acts: number;
}

export function referencesIn(
  connection: Connection,
  affinityOf: (declaredType: string, strict: boolean) => Affinity,
): References {
  const rows = connection
    .statement(
      `SELECT s.name AS child, s.strict, f."table" AS parent, f."from" AS "column", f."to" AS "to", f.seq AS place,
         c.type, f.on_delete NOT IN ('NO ACTION', 'RESTRICT') AS acts
       FROM pragma_table_list AS s JOIN pragma_foreign_key_list(s.name) AS f
         JOIN pragma_table_xinfo(s.name) AS c ON c.name = f."from" COLLATE NOCASE
       WHERE s.schema = 'main' AND s.type = 'table'`,
    )
    .all() as Row[];
  const found = new Map<string, Reference[]>();
  for (const { child, parent, column, to, place, type, strict, acts } of rows) {
    const affinity = affinityOf(type, strict !== 0);
    const parentColumn = to ?? undefined;
    const reference = { child, column, affinity, parentColumn, place, actsOnDelete: acts !== 0 };
    const name = foldName(parent);
    found.set(name, [...(found.get(name) ?? []), reference]);
  }
  return found;
}

const NUMBERS: ReadonlySet<Affinity> = new Set<Affinity>(['integer', 'real', 'numeric']);

/**
 * Looking for rows that refer to a deleted or changed one, SQLite 3.40 (not 3.54) converts the
 * value that it looks for to the type of the column that refers, where that has an index, and shows
 * it so to the AFTER triggers: '03' becomes 3, and is another key.
 */
export function conversionObstacle(references: References, table: LocalTable): string | undefined {
  for (const { child, column, affinity, parentColumn, place } of references.get(foldName(table.name)) ?? []) {
    const part = table.key[place]?.column;
    const index =
      parentColumn === undefined
        ? part
        : table.columns.findIndex(({ name }) => foldName(name) === foldName(parentColumn));
    const own = index === undefined ? undefined : table.columns[index];
    if (own === undefined || !NUMBERS.has(affinity) || NUMBERS.has(own.affinity)) continue;
    return (
      `column ${column} of ${child} is a number and refers to ${own.name}, which is none: SQLite shows what is deleted ` +
      'converted then, and it could not be told which row it was; declare both alike'
    );
  }
  return undefined;
}
