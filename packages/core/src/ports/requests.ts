import type { TableSchema } from '../model/schema.js';

/** What a database needs to remember requests: it is a part of what the cluster replicates. */
export interface RequestsSchema {
  readonly table: TableSchema;
  /** That create it; in the language of `StoreInspection.ddl`. */
  readonly statements: readonly string[];
}

/**
 * What was written under which id; only inside the function of a write, and in its transaction.
 */
export interface RequestRows {
  /** The result that was kept with it. */
  find(id: string): string | undefined;
  add(id: string, atMs: number, result: string): void;
  /** Asked for again: the row changes, so this write has its place in the log behind the first. */
  renew(id: string, atMs: number): void;
  /** Of those from before then, the oldest ones; returns how many. */
  forget(beforeMs: number, limit: number): number;
}
