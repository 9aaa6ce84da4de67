/** Who may write for how long, as its holder has written it down. */
export interface LeaseRecord {
  /** The holder's epoch. A lease of an older epoch than the log's holds nobody back. */
  readonly epoch: number;
  readonly holder: string;
  /** The holder's process: the next one of the same replica is another holder. */
  readonly instance: string;
  /** For how long it holds from the moment on at which it was sent. */
  readonly leaseMs: number;
  /** Counts the attempts of this instance, from 1: each has a number of its own. */
  readonly n: number;
  /**
   * Milliseconds for which the holder has been inside of a write, while somebody else renews the
   * lease for it. It answers nobody meanwhile, and is not gone. Absent: it renews it itself.
   */
  readonly writingMs?: number;
}
