import type { Kind } from './values.js';

export interface Column {
  readonly name: string;
  readonly kind: Kind;
  /** What follows the name in the definition: type, collation, constraints. */
  readonly definition: string;
  readonly notNull: boolean;
}

/** A key that a foreign key may refer to, or that ON CONFLICT may name. */
export interface UniqueKey {
  readonly columns: readonly string[];
  /** Other than those of the columns. */
  readonly target?: string;
}

export interface ForeignKey {
  readonly columns: readonly string[];
  readonly parent: string;
  readonly clause: string;
}

export interface Table {
  readonly name: string;
  readonly columns: Column[];
  readonly key: readonly string[];
  readonly uniques: UniqueKey[];
  /** The key's definition stands at its column. */
  readonly rowidKey: boolean;
  readonly constraints: string[];
  readonly suffix: string;
}

export interface Schema {
  readonly tables: readonly Table[];
  /** Tables first, then indexes, then triggers. */
  readonly ddl: readonly string[];
}

export function columnOf(table: Table, name: string): Column {
  const column = table.columns.find((candidate) => candidate.name === name);
  if (column === undefined) throw new RangeError(`no column ${name}`);
  return column;
}
