import {
  AntiphonError,
  Certifier,
  CERTIFICATION_LIMITS,
  summarize,
  type BatchSummary,
  type GroupOutcome,
  type Log,
  type LogEntry,
  type Store,
  type SyncSection,
  type TransactionBatch,
  type Verdict,
} from '@antiphon/core';
import { retrying, type Deadline } from '../deadline.js';
import { isReserved } from '../reserved.js';
import type { Clock } from '@antiphon/core';

const SCAN = { maxEntries: 512, maxBytes: 4 * 1024 * 1024 };

interface RestoreParts {
  readonly log: Log;
  readonly store: Store;
  readonly clock: Clock;
  readonly generation: string;
}

/**
 * First committer wins, decided from the log alone: every entry passes here once, in log order, so that every replica comes to the
 * same verdicts. What is in the index after a restart is read from the log again, with the verdicts that the database kept.
 */
export class Certification {
  readonly #certifier = new Certifier();

  get size(): number {
    return this.#certifier.size;
  }

  judge(
    seq: number,
    batch: Pick<TransactionBatch, 'origin' | 'firstCounter'> & { readonly sync: SyncSection },
  ): Verdict {
    return this.#certifier.judge({
      seq,
      origin: batch.origin,
      firstCounter: batch.firstCounter,
      sync: batch.sync,
    });
  }

  /** An entry of a replica that is no synchronous group, or that nobody can read: what it wrote is not known. */
  pass(seq: number): void {
    this.#certifier.pass(seq);
  }

  /** An entry that this replica has committed in place before the feed came to it. */
  look({ seq, origin, data }: LogEntry): void {
    if (isReserved(origin)) return;
    const group = groupOf(data);
    if (group === undefined) this.pass(seq);
    else this.judge(seq, group);
  }

  /** What the verdicts on entries after `positionSeq` depend on. Throws LOG_UNAVAILABLE, LOG_REPLACED. */
  async restore(
    { log, store, clock, generation }: RestoreParts,
    positionSeq: number,
    deadline: Deadline,
  ): Promise<void> {
    const { firstSeq, lastSeq } = await retrying(clock, deadline, () => log.identity(deadline.signal));
    // A log that has become shorter than the position is noticed elsewhere.
    const untilSeq = Math.min(positionSeq, lastSeq);
    const fromSeq = Math.max(firstSeq, positionSeq - CERTIFICATION_LIMITS.entries + 1);
    if (fromSeq > untilSeq) return;
    const known = await outcomesFrom(store, fromSeq);
    const reader = await retrying(clock, deadline, () => log.read({ generation, fromSeq }));
    try {
      for (let seq = fromSeq - 1; seq < untilSeq;) {
        for (const entry of await reader.next({ ...SCAN, signal: deadline.signal })) {
          seq = entry.seq;
          if (seq <= untilSeq) this.#restore(entry, known.get(seq));
        }
      }
    } finally {
      void reader.close();
    }
  }

  /** A group without an outcome was never admitted, and claims nothing. */
  #restore({ seq, origin, data }: LogEntry, outcome: GroupOutcome | undefined): void {
    if (isReserved(origin)) return;
    const group = groupOf(data);
    if (group === undefined) return this.pass(seq);
    if (outcome === undefined) return;
    const { firstCounter, sync } = group;
    this.#certifier.restore({ seq, origin, firstCounter, sync }, outcome.rejected);
  }
}

/** undefined for what is no synchronous group, or cannot be read. */
export function groupOf(data: Uint8Array): (BatchSummary & { readonly sync: SyncSection }) | undefined {
  try {
    const [batch] = summarize(data);
    return batch?.sync === undefined ? undefined : { ...batch, sync: batch.sync };
  } catch (error) {
    if (error instanceof AntiphonError) return undefined;
    throw error;
  }
}

async function outcomesFrom(store: Store, fromSeq: number): Promise<ReadonlyMap<number, GroupOutcome>> {
  const outcomes = await store.outcomes(fromSeq, CERTIFICATION_LIMITS.entries + 1);
  return new Map(outcomes.map((outcome) => [outcome.seq, outcome]));
}
