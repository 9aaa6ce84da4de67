/** What this process has counted since it started; over restarts of its actors as well. */
export class Counters {
  /** Messages that were quarantined. */
  quarantined = 0;
  /** Messages that the quarantine had no room for. */
  quarantineOverflow = 0;
  /** Messages that were applied from the quarantine. */
  retried = 0;
  duplicates = 0;
  holes = 0;
  /** Batches of a replica that was not the primary when they came into the log. */
  fenced = 0;
  /** Tries that the database did not take, to write or to apply. */
  storeRetries = 0;
  appliedTransactions = 0;
  appliedRows = 0;
  writes = 0;
  /** Writes of the library that were acknowledged, and how long they took, from call to answer. */
  acknowledgedWrites = 0;
  acknowledgedMs = 0;
  publishedMessages = 0;
  publishedBytes = 0;

  /** Of what is not as usual. */
  get counts(): Readonly<Record<string, number>> {
    const { quarantined, quarantineOverflow, retried, duplicates, holes, fenced, storeRetries } = this;
    return { quarantined, quarantineOverflow, retried, duplicates, holes, fenced, storeRetries };
  }

  acknowledged(tookMs: number): void {
    this.acknowledgedWrites += 1;
    this.acknowledgedMs += tookMs;
  }

  /** Of work that was done. */
  get totals(): Readonly<Record<string, number>> {
    const { appliedTransactions, appliedRows, writes, publishedMessages, publishedBytes } = this;
    const { acknowledgedWrites, acknowledgedMs } = this;
    return {
      ...{ appliedTransactions, appliedRows, writes, publishedMessages, publishedBytes },
      ...{ acknowledgedWrites, acknowledgedMs },
    };
  }
}
