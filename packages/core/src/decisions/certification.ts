import { AntiphonError } from '../errors/antiphon-error.js';
import type { Claim, SyncSection } from '../model/transaction.js';
import type { TransactionId } from '../model/transaction-id.js';
import { ClaimIndex, type ClaimHolder } from './claim-index.js';

/**
 * How far back certification looks. Part of the protocol: replicas with other limits would come to
 * other verdicts.
 */
export interface CertificationLimits {
  /** Entries of the log, of whatever kind, before the one that is judged. */
  readonly entries: number;
  /** Claims in the groups among them. */
  readonly claims: number;
}

export const CERTIFICATION_LIMITS: CertificationLimits = { entries: 4096, claims: 262_144 };

/** A synchronous group as the log holds it. */
export interface CertifiedGroup {
  /** Its entry of the log. */
  readonly seq: number;
  readonly origin: string;
  readonly firstCounter: number;
  readonly sync: SyncSection;
}

/**
 * `conflict`: an entry that the group had not seen claimed the same, or was not synchronous, so
 * that nobody knows what it wrote. `behind`: the group had seen less than what certification looks
 * back to. `builds-on`: an earlier one of the group was rejected.
 */
export type RejectionReason = 'conflict' | 'behind' | 'builds-on';

export interface Rejection {
  /** Of the transaction in its group. */
  readonly index: number;
  readonly counter: number;
  readonly reason: RejectionReason;
  /** Its own claim that conflicts. */
  readonly claim?: Claim;
  /** The transaction that was committed first; absent when it is not known. */
  readonly winner?: TransactionId & { readonly seq: number };
}

export interface Verdict {
  /** In ascending order; everything else is committed. */
  readonly rejected: readonly Rejection[];
}

/**
 * A group of the last `entries` entries. The rejected ones are always the end of a group, so that
 * one number says which.
 */
interface JudgedGroup {
  readonly seq: number;
  readonly firstCounter: number;
  readonly count: number;
  /** How many transactions from the first on are committed. */
  readonly committed: number;
  readonly cause: Cause | undefined;
}

/** Why the first of the rejected ones is. */
type Cause = Pick<Rejection, 'reason' | 'claim' | 'winner'>;

/**
 * First committer wins, decided from the log alone: every replica that gives the same entries, in
 * log order, gets the same verdicts, also one that was restarted and gave only the last
 * `limits.entries` entries with `restore`. No I/O, bounded.
 */
export class Certifier {
  readonly #index: ClaimIndex;
  /** By sequence; only those that may be asked for again. */
  readonly #judged = new Map<number, JudgedGroup>();
  #seq = 0;
  /**
   * The newest entry whose claims nobody knows: whoever had not seen it may be in conflict with it.
   */
  #barrier = 0;

  constructor(private readonly limits: CertificationLimits = CERTIFICATION_LIMITS) {
    this.#index = new ClaimIndex(limits.claims);
  }

  /** A group that had not seen every entry up to here is rejected next. */
  get floor(): number {
    return this.#floorAt(this.#seq);
  }

  /** The last entry dealt with. */
  get seq(): number {
    return this.#seq;
  }

  /** Claims that are kept. */
  get size(): number {
    return this.#index.size;
  }

  /**
   * Which transactions of the group are rejected. Groups come in ascending order; of one that was
   * judged before and is among the last `limits.entries` entries it returns what it said then.
   * Throws INTERNAL for any other entry that lies back.
   */
  judge(group: CertifiedGroup): Verdict {
    const known = this.#judged.get(group.seq);
    if (known !== undefined) return verdictOf(known);
    this.#advance(group.seq);
    return this.#settle(group, ...this.#certify(group));
  }

  /**
   * An entry that is not certified: what it wrote is not known, so that nothing that had not seen
   * it may commit. Idempotent.
   */
  pass(seq: number): void {
    if (seq <= this.#barrier) return;
    this.#advance(seq);
    this.#barrier = seq;
  }

  /**
   * As `judge`, for a group whose verdict the database has kept: the counters that were rejected,
   * ascending. Why they were is not known any more, and is said to be a conflict.
   */
  restore(group: CertifiedGroup, rejected: readonly number[]): Verdict {
    const known = this.#judged.get(group.seq);
    if (known !== undefined) return verdictOf(known);
    const committed = group.sync.claims.length - rejected.length;
    if (committed < 0 || !rejected.every((each, i) => each === group.firstCounter + committed + i)) {
      throw new AntiphonError(
        'INTERNAL',
        `The database says that transactions ${rejected.join(', ')} of the group ${group.origin}:${group.firstCounter} were rejected, which ` +
          'certification never decides: it rejects all transactions behind a rejected one. Please report it.',
        { context: { origin: group.origin, seq: group.seq } },
      );
    }
    this.#advance(group.seq);
    return this.#settle(group, committed, rejected.length > 0 ? { reason: 'conflict' } : undefined);
  }

  /** How many of the group are committed, and why the next one is not. */
  #certify({ seq, sync }: CertifiedGroup): [committed: number, cause: Cause | undefined] {
    const { readSeq, claims } = sync;
    if (readSeq < this.#floorAt(seq - 1)) return [0, { reason: 'behind' }];
    if (readSeq < this.#barrier) return [0, { reason: 'conflict' }];
    for (let i = 0; i < claims.length; i++) {
      for (const claim of claims[i] as readonly Claim[]) {
        const holder = this.#index.rival(claim, readSeq);
        if (holder !== undefined) return [i, { reason: 'conflict', claim, winner: holder }];
      }
    }
    return [claims.length, undefined];
  }

  /**
   * Only now, as claims of one group never conflict with each other, and must not hide those of
   * earlier groups meanwhile.
   */
  #settle(group: CertifiedGroup, committed: number, cause: Cause | undefined): Verdict {
    const { seq, origin, firstCounter, sync } = group;
    this.#index.add(seq, sync.claims, committed, (i): ClaimHolder => ({
      origin,
      counter: firstCounter + i,
      seq,
    }));
    const judged = { seq, firstCounter, count: sync.claims.length, committed, cause };
    this.#judged.set(seq, judged);
    return verdictOf(judged);
  }

  #advance(seq: number): void {
    if (seq <= this.#seq) {
      throw new AntiphonError(
        'INTERNAL',
        `Entry ${seq} of the log was given to certification out of order, after entry ${this.#seq}. Please report it.`,
        { context: { seq, lastSeq: this.#seq } },
      );
    }
    const { entries } = this.limits;
    const lastForgotten = Math.min(seq - entries, this.#seq);
    for (let old = this.#seq - entries + 1; old <= lastForgotten; old++) this.#judged.delete(old);
    this.#seq = seq;
    // What is judged at `seq` still sees as far back as if the entry before it were the newest.
    this.#index.dropUpTo(seq - 1 - entries);
  }

  #floorAt(seq: number): number {
    return Math.max(0, seq - this.limits.entries, this.#index.floor);
  }
}

const ALL_COMMITTED: Verdict = Object.freeze({ rejected: Object.freeze([]) });

/** Made anew for whoever asks: keeping them would take memory per rejected transaction. */
function verdictOf({ firstCounter, count, committed, cause }: JudgedGroup): Verdict {
  if (committed === count) return ALL_COMMITTED;
  const rejected: Rejection[] = [];
  for (let index = committed; index < count; index++) {
    const why: Cause = index === committed && cause !== undefined ? cause : { reason: 'builds-on' };
    rejected.push({ index, counter: firstCounter + index, ...why });
  }
  return { rejected };
}
