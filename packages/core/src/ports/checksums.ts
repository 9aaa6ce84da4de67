import type { VectorClock } from '../clocks/vector-clock.js';
import type { Position } from '../model/position.js';
import type { Row, Value } from '../model/value.js';

export interface TableChecksum {
  readonly table: string;
  readonly rows: number;
  /**
   * SHA-256, hex, over the canonical encoding of the rows in key order. Equal on every engine for
   * equal rows.
   */
  readonly checksum: string;
}

export interface ChecksumReport {
  /** The state the checksums belong to: one snapshot. */
  readonly position: Position;
  readonly vector: VectorClock;
  readonly tables: readonly TableChecksum[];
}

export interface RowDigest {
  readonly key: readonly Value[];
  readonly digest: string;
}

export interface QueryResult {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Value[])[];
}

/** Rows that are read as they are taken. */
export interface RowStream {
  readonly columns: readonly string[];
  /**
   * The next rows, at least one; undefined: there are no more, and the stream has ended. One call
   * after the other. Rejects as `Store.query` does, and ends the stream then.
   */
  next(): Promise<readonly Row[] | undefined>;
  /** Ends it, whatever it does. Idempotent. */
  close(): void;
}
