/** How to open a database file. */
export interface OpenOptions {
  /**
   * Nothing can be written through this connection.
   * @defaultValue false
   */
  readonly readOnly?: boolean;
  /**
   * How long SQLite itself waits for a lock, in milliseconds, blocking the thread; 0 is not at all.
   * @defaultValue 0
   */
  readonly busyTimeoutMs?: number;
  /**
   * What `julianday()` answers on this connection: for simulations.
   * @defaultValue the machine's clock
   */
  readonly julianDay?: () => number;
  /**
   * How deep triggers may fire triggers on this connection: for simulations. A driver that cannot
   * limit it does not.
   * @defaultValue SQLite's own, 1000
   */
  readonly triggerDepth?: number;
}
