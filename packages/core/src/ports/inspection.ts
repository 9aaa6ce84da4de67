import type { TableSchema } from '../model/schema.js';
import type { RequestsSchema } from './requests.js';

export interface StoreIdentity {
  readonly cluster: string;
  readonly replica: string;
  readonly generation: string;
  readonly schemaVersion: number;
}

export interface InspectedTable {
  readonly schema: TableSchema;
  readonly rowCount: number;
  /** Why it cannot be replicated; absent when it can. */
  readonly unsupported?: string;
  /** A program keeps rows in what cannot be replicated: they are in this database only. */
  readonly isData?: boolean;
  /** Why it is not replicated unless it is named, although it could be. */
  readonly leftOut?: string;
  /** Tables of this database that it refers to by foreign keys; without itself. */
  readonly parents?: readonly string[];
  /** Those of them that are not replicated. */
  readonly missingParents?: readonly string[];
  /**
   * The database numbers its rows when nobody else does (`INTEGER PRIMARY KEY`): two replicas would
   * give the same number to two rows.
   */
  readonly numbered?: boolean;
  /** Why it cannot be replicated where several replicas write, although it can where one does. */
  readonly unsupportedWithVersions?: string;
}

/** A view of the users. It is made elsewhere, too, when everything that it reads is replicated. */
export interface InspectedView {
  readonly name: string;
  /** Why it stays where it is; absent when it does not. */
  readonly obstacle?: string;
}

/** A trigger of the users on a replicated table, or on a view of replicated tables. */
export interface InspectedTrigger {
  readonly name: string;
  readonly table: string;
  /**
   * Tables and views that it reads or writes and that are not replicated: where they are not, it
   * cannot fire.
   */
  readonly uses: readonly string[];
  /** It stays where it is, because somebody has said so (`localTriggers`). */
  readonly local: boolean;
  /**
   * It fires also where changes of other replicas are applied; true only for a local one that
   * writes nothing that is replicated.
   */
  readonly repeats: boolean;
  /** What the database says when it cannot be used at all. */
  readonly problem?: string;
}

/** Which tables, and which triggers stay where they are. */
export interface InspectOptions {
  /** Absent: all that can be replicated, without tables that note which migrations were run. */
  readonly tables?: readonly string[];
  readonly localTriggers?: readonly string[];
}

/** Something of the users' database that other replicas do not get. */
export interface LeftOut {
  readonly type: 'table' | 'view' | 'trigger';
  readonly name: string;
  /** A clause: `it has no primary key, …`. */
  readonly reason: string;
  /**
   * Nobody has said so, and nothing of it keeps it from being replicated: it came when the cluster
   * had been created.
   */
  readonly unexpected: boolean;
  /**
   * A table that cannot be replicated, and in which a program keeps rows: they are in this database
   * only. Absent where somebody chose the tables.
   */
  readonly isData?: boolean;
}

export interface StoreInspection {
  /** Whom this database belongs to; absent when no replica has ever used it. */
  readonly identity?: StoreIdentity;
  /** What it was last installed with (`InstallOptions.agreement`); absent when that was nothing. */
  readonly agreement?: Uint8Array;
  /** The users' tables, by name; only those that were asked for. */
  readonly tables: readonly InspectedTable[];
  /** The names of the users' tables that were not asked for. Absent: all were. */
  readonly otherTables?: readonly string[];
  readonly views?: readonly InspectedView[];
  readonly triggers?: readonly InspectedTrigger[];
  /**
   * Statements that create elsewhere what is replicated of these tables, with the indexes, views
   * and triggers that go with them.
   */
  readonly ddl: { readonly engine: string; readonly statements: readonly string[] };
  /** Absent: the store cannot remember requests. */
  readonly requests?: RequestsSchema;
}
