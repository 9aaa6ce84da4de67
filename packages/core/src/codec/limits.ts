/**
 * What one log message may hold. A reader refuses more before it allocates; a writer refuses to
 * write more.
 */
export interface CodecLimits {
  /** Of a whole log message; NATS servers accept 1 MiB unless told otherwise. */
  readonly maxMessageBytes: number;
  /** In the dictionary of one batch. */
  readonly maxTables: number;
  readonly maxColumns: number;
  /** In one message, over all its batches. */
  readonly maxTransactions: number;
  /**
   * In one message, over all its batches. The changes of a transaction in parts are counted by
   * nobody: they are streamed.
   */
  readonly maxChanges: number;
  /** In the sync section of one message. */
  readonly maxClaims: number;
  /** Of a table's or column's name, in UTF-8. */
  readonly maxNameBytes: number;
  /** In a causal context. */
  readonly maxOrigins: number;
  /** Of one text or bytes value. */
  readonly maxValueBytes: number;
  /**
   * Of one encoded change: an update holds new and old values. Bounds what a reader of parts keeps
   * in memory.
   */
  readonly maxChangeBytes: number;
}

export const DEFAULT_CODEC_LIMITS: CodecLimits = {
  maxMessageBytes: 1_048_576,
  maxTables: 1024,
  maxColumns: 2000,
  maxTransactions: 65_536,
  maxChanges: 262_144,
  maxClaims: 1_048_576,
  maxNameBytes: 1024,
  maxOrigins: 1024,
  maxValueBytes: 268_435_456,
  maxChangeBytes: 1_073_741_824,
};

/** A larger row is refused where it is written. Readers take whatever the format takes. */
export interface RowLimits {
  /** Of one text or BLOB. */
  readonly valueBytes: number;
  /** Of all texts and BLOBs of a row together; at least `valueBytes`. */
  readonly rowBytes: number;
}

export const DEFAULT_ROW_LIMITS: RowLimits = { valueBytes: 67_108_864, rowBytes: 134_217_728 };

/**
 * What fits into a message, and is captured: an update carries a row as it was, too, and SQLite
 * takes 10^9 bytes for a row.
 */
export const LARGEST_ROW_LIMITS: RowLimits = {
  valueBytes: DEFAULT_CODEC_LIMITS.maxValueBytes,
  rowBytes: 419_430_400,
};
