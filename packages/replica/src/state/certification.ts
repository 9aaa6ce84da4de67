import {
  AntiphonError,
  type BatchSummary,
  CERTIFICATION_LIMITS,
  Certifier,
  type Clock,
  type GroupOutcome,
  isReserved,
  type Log,
  type LogEntry,
  type Store,
  summarize,
  type SyncSection,
  type TransactionBatch,
  type Verdict,
} from '@antiphon/core';
import { retrying, type Deadline } from '../wait/deadline.js';

const SCAN = { maxEntries: 512, maxBytes: 4 * 1024 * 1024 };
/** Entries; twice as many each time. */
const FIRST_READ = 64;

interface RestoreDeps {
  readonly log: Log;
  readonly store: Store;
  readonly clock: Clock;
  readonly generation: string;
}

interface Past {
  readonly seq: number;
  readonly origin: string;
  /** undefined: what it wrote is not known. */
  readonly group: ReturnType<typeof groupOf>;
}

/**
 * First committer wins, decided from the log alone: every entry passes here once, in log order, so
 * that every replica comes to the same verdicts. What is in the index after a restart is read from
 * the log again, with the verdicts that the database kept.
 */
export class Certification {
  readonly #certifier = new Certifier();
  #seenSeq = 0;

  /** Every entry of the log up to this one has passed here. */
  get seenSeq(): number {
    return this.#seenSeq;
  }

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

  /**
   * An entry of a replica that is no synchronous group, or that nobody can read: what it wrote is
   * not known.
   */
  pass(seq: number): void {
    this.#certifier.pass(seq);
  }

  /** Whether it had anything to do with certification or not. */
  dealtWith(seq: number): void {
    this.#seenSeq = Math.max(this.#seenSeq, seq);
  }

  /**
   * An entry that this replica has committed in place before the feed came to it. The same one
   * again does no harm.
   */
  look({ seq, origin, data }: LogEntry): void {
    if (seq <= this.#seenSeq) return;
    this.dealtWith(seq);
    if (isReserved(origin)) return;
    const group = groupOf(data);
    if (group === undefined) this.pass(seq);
    else this.judge(seq, group);
  }

  /**
   * What the verdicts on entries after `positionSeq` depend on, read from the log backwards until
   * the index could not hold more. Throws LOG_UNAVAILABLE, LOG_REPLACED.
   */
  async restore(deps: RestoreDeps, positionSeq: number, deadline: Deadline): Promise<void> {
    const { log, store, clock } = deps;
    const { firstSeq, lastSeq } = await retrying(clock, deadline, () => log.identity(deadline.signal));
    const { entries, claims } = CERTIFICATION_LIMITS;
    const earliest = Math.max(firstSeq, positionSeq - entries + 1);
    const outcomes = await outcomesFrom(store, earliest);
    let past: Past[] = [];
    let held = 0;
    // A log that has become shorter than the position is noticed elsewhere.
    let untilSeq = Math.min(positionSeq, lastSeq);
    for (let size = FIRST_READ; untilSeq >= earliest && held <= claims; size *= 2) {
      const fromSeq = Math.max(earliest, untilSeq - size + 1);
      const part = await readPast(deps, fromSeq, untilSeq, deadline);
      for (const { seq, group } of part)
        if (group !== undefined && outcomes.has(seq)) held += claimsIn(group.sync);
      past = [...part, ...past];
      untilSeq = fromSeq - 1;
    }
    for (const one of past) this.#restore(one, outcomes.get(one.seq));
    this.#seenSeq = positionSeq;
  }

  /** A group without an outcome was never admitted, and claims nothing. */
  #restore({ seq, origin, group }: Past, outcome: GroupOutcome | undefined): void {
    if (group === undefined) return this.pass(seq);
    if (outcome === undefined) return;
    const { firstCounter, sync } = group;
    this.#certifier.restore({ seq, origin, firstCounter, sync }, outcome.rejected);
  }
}

/** Entries of replicas from one to another, in order, without their rows. */
async function readPast(
  { log, clock, generation }: RestoreDeps,
  fromSeq: number,
  untilSeq: number,
  deadline: Deadline,
): Promise<Past[]> {
  const past: Past[] = [];
  const reader = await retrying(clock, deadline, () => log.read({ generation, fromSeq }));
  try {
    for (;;) {
      for (const { seq, origin, data } of await reader.next({ ...SCAN, signal: deadline.signal })) {
        if (seq <= untilSeq && !isReserved(origin)) past.push({ seq, origin, group: groupOf(data) });
        if (seq >= untilSeq) return past;
      }
      deadline.renew();
    }
  } finally {
    void reader.close();
  }
}

function claimsIn({ claims }: SyncSection): number {
  return claims.reduce((sum, list) => sum + list.length, 0);
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
