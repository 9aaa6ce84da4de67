export interface OpenOptions {
  readonly readOnly?: boolean;
  /** How long SQLite itself waits for a lock, blocking the thread. Default 0: not at all. */
  readonly busyTimeoutMs?: number;
  /** What `julianday()` answers on this connection, in place of the machine's clock: for simulations. */
  readonly julianDay?: () => number;
}
