import { decodeBatches, summarize, type BatchSummary, type LogEntry } from '@antiphon/core';
import { retrying, type Deadline } from './deadline.js';
import { latestTime } from './intake-check.js';
import type { Settings } from './options.js';

const SCAN = { maxEntries: 1024, maxBytes: 4 * 1024 * 1024 };

/** Own transactions that the log has and the database has not. */
export interface OwnPast {
  readonly counter: number;
  /** Hybrid time, so that the clock goes on after it. */
  readonly time: number;
  /** Of the last log entry that belongs to it. */
  readonly seq: number;
}

/**
 * Own past first (design, section 5): a database that comes back older than what it published must take that in before it
 * writes, or it would use counters twice. Found by reading on from the position, not by believing the newest message alone:
 * only what follows our counter without a hole can be ours, so a forged message cannot lift it.
 */
export async function findOwnPast(
  settings: Settings,
  generation: string,
  deadline: Deadline,
): Promise<OwnPast | undefined> {
  const { log, id, store, clock } = settings;
  const newest = await retrying(clock, deadline, () => log.lastOf(id, deadline.signal));
  const { position, lastCounter } = store.state();
  // Everything up to the position has been dealt with, our own included.
  if (newest === undefined || newest.seq <= position.seq) return undefined;
  const scan = new OwnScan(id, lastCounter);
  const reader = await retrying(clock, deadline, () => log.read({ generation, fromSeq: position.seq + 1 }));
  try {
    for (let seq = position.seq; seq < newest.seq;) {
      for (const entry of await reader.next({ ...SCAN, signal: deadline.signal })) {
        if (entry.origin === id) scan.take(entry);
        seq = entry.seq;
      }
    }
  } finally {
    void reader.close();
  }
  return scan.found;
}

class OwnScan {
  #counter: number;
  #partsSeen = 0;
  found: OwnPast | undefined;

  constructor(
    private readonly id: string,
    lastCounter: number,
  ) {
    this.#counter = lastCounter;
  }

  take(entry: LogEntry): void {
    try {
      this.#takeBatches(entry, summarize(entry.data));
    } catch {
      // Malformed: the feed puts it aside when it gets there.
    }
  }

  #takeBatches(entry: LogEntry, batches: readonly BatchSummary[]): void {
    for (const batch of batches) {
      if (batch.origin !== this.id || batch.lastCounter <= this.#counter) continue;
      if (batch.firstCounter > this.#counter + 1) continue;
      if (batch.kind === 'part' && !this.#completes(batch)) continue;
      const time = Math.max(...decodeBatches(entry.data).map(latestTime));
      this.#counter = batch.lastCounter;
      this.#partsSeen = 0;
      this.found = { counter: this.#counter, time, seq: entry.seq };
    }
  }

  #completes(batch: BatchSummary): boolean {
    if (batch.part !== this.#partsSeen) return false;
    this.#partsSeen++;
    return batch.last;
  }
}
