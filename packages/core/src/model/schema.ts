/**
 * A replicated column. Generated columns are never part of a schema: each database computes its
 * own.
 */
export interface ColumnSchema {
  readonly name: string;
  /** The type as declared, for people and for mapping between databases; may be empty in SQLite. */
  readonly declaredType: string;
}

export interface TableSchema {
  readonly name: string;
  readonly columns: readonly ColumnSchema[];
  /** Indexes into `columns`, in the order of the primary key. Never empty. */
  readonly key: readonly number[];
  /**
   * Everything else that decides whether the table takes a row (collations, NOT NULL, UNIQUE,
   * CHECK, foreign keys, generated columns), one rule each, sorted, as the engine of the schema
   * writes them. Absent where nobody has said.
   */
  readonly rules?: readonly string[];
}

/** How the rule begins that says which unique index is the key of a table without a primary key. */
export const INDEX_KEY_RULE = 'KEY ';

/** Whether a unique index is its key. Builds before 0.1.0 left such tables out. */
export function hasIndexKey({ rules = [] }: TableSchema): boolean {
  return rules.some((rule) => rule.startsWith(INDEX_KEY_RULE));
}

/** What every replica of a cluster agrees on. `version` grows with each migration, from 1. */
export interface ClusterSchema {
  readonly version: number;
  readonly tables: readonly TableSchema[];
  /**
   * Statements that create the tables, indexes and user triggers in an empty database of this
   * engine.
   */
  readonly ddl: { readonly engine: string; readonly statements: readonly string[] };
}
