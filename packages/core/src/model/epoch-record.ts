export type EpochReason = 'failover' | 'switchover' | 'restart' | 'forced' | 'recovered';

/** From this entry of the log on, this replica is the primary; if it is valid. */
export interface EpochRecord {
  /** Valid only where it is the next one: of two rivals, the first in the log's order wins. */
  readonly epoch: number;
  readonly primary: string;
  readonly instance: string;
  /** Counters of the primary up to here are spent, also those that are not in the log. */
  readonly after: number;
  /**
   * The primary's transactions up to here are in the log and count, as whoever wrote the record has
   * read it: a replica that lacks one has missed it. There may be later ones. Absent: 0.
   */
  readonly admitted?: number;
  /** Who wrote the record, and why. */
  readonly by: string;
  readonly why: EpochReason;
  readonly atMs: number;
  /** Members that leave the in-sync set by the same entry. */
  readonly leaves: readonly string[];
}
