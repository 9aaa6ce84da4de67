import {
  AntiphonError,
  type ChangeCursor,
  counterOf,
  dominates,
  formatTransactionId,
  type LogIdentity,
  type TransactionId,
} from '@antiphon/core';
import type { Scope } from '../state/scope.js';

const SURE_AFTER_BEATS = 2;
/** A message names so many transactions. */
const MAX_NAMED = 3;

/**
 * `ready`: this replica can go on at the place. `behind`: not yet; it has to catch up first, or
 * `waitsFor` a transaction that only its origin may have now. `lost`: nobody can, and why.
 */
export type PlaceVerdict =
  | { readonly type: 'ready' }
  | { readonly type: 'behind'; readonly waitsFor?: string }
  | { readonly type: 'lost'; readonly why: string };

type AtEntry = Pick<ChangeCursor, 'generation' | 'seq'>;

/** Of a place that some replica wrote down: whether this one can read on there. */
export class PlaceJudge {
  /** Since when, on the monotonic clock, a transaction is known to be missing in the log. */
  #missing: { readonly text: string; readonly sinceMs: number } | undefined;

  /** `sureAfterBeats`: for so long the log must have ended in front of a place to be believed. */
  constructor(
    private readonly scope: Scope,
    private readonly sureAfterBeats = SURE_AFTER_BEATS,
  ) {}

  /** Throws LOG_UNAVAILABLE. */
  async verdictOn(place: ChangeCursor, signal?: AbortSignal): Promise<PlaceVerdict> {
    const { health, positions, progress, document, log } = this.scope;
    const identity = await log.identity(signal);
    // This replica stalls if the stream is not that of its database any more.
    if (identity.generation !== document.generation) return { type: 'behind' };
    const isInStep = positions.applied >= identity.lastSeq && health.complete;
    const hasAll = dominates(progress.vector, place.vector);
    const why = whyNotInLog(place, identity);
    if (why !== undefined && (hasAll || !isAhead(place, identity)))
      return this.#isSure(place, identity) ? { type: 'lost', why } : { type: 'behind' };
    if (hasAll) return { type: 'ready' };
    if (!isInStep) return { type: 'behind' };
    return await this.#beyondTheLog(place, identity.lastSeq);
  }

  /** A server that was cut off from the others may not know the newest entries. */
  #isSure(place: ChangeCursor, log: LogIdentity): boolean {
    if (!isAhead(place, log)) return true;
    const { clock, limits } = this.scope;
    return (
      clock.monotonicMs() - this.#missingSinceMs(`entry ${place.seq}`) >= this.sureAfterBeats * limits.beatMs
    );
  }

  /**
   * The place is behind transactions that the log does not hold. Where their origin has them, it
   * publishes them again: a log that lost its newest writes gets them back. While it is silent,
   * nobody can tell.
   */
  async #beyondTheLog({ vector }: ChangeCursor, lastSeq: number): Promise<PlaceVerdict> {
    const { id, progress, members } = this.scope;
    const missing = Object.entries(vector)
      .filter(([origin, counter]) => counterOf(progress.vector, origin) < counter)
      .map(([origin, counter]): TransactionId => ({ origin, counter }));
    await members.lookUp(missing.map(({ origin }) => origin).filter((origin) => origin !== id));
    // It may have come meanwhile.
    const left = missing.filter(({ origin, counter }) => counterOf(progress.vector, origin) < counter);
    const [first] = left;
    if (first === undefined) return { type: 'ready' };
    const sinceMs = this.#missingSinceMs(left.map(formatTransactionId).join(' '));
    const lost = left.find((transaction) => this.#isLost(transaction, sinceMs));
    if (lost === undefined) return { type: 'behind', waitsFor: silenceOf(first) };
    const which = left.slice(0, MAX_NAMED).map(formatTransactionId).join(', ');
    const log = `the log, which ends at entry ${lastSeq},`;
    return {
      type: 'lost',
      why: `It is behind transactions that ${log} does not hold (${which}): the log lost them.`,
    };
  }

  #missingSinceMs(text: string): number {
    if (this.#missing?.text !== text) this.#missing = { text, sinceMs: this.scope.clock.monotonicMs() };
    return this.#missing.sinceMs;
  }

  /**
   * Its origin does not have it either. What it said before this was asked may be older than the
   * transaction; a message of that time may be on its way for another beat.
   */
  #isLost({ origin, counter }: TransactionId, sinceMs: number): boolean {
    const { id, members, limits } = this.scope;
    if (origin === id || members.isFormer(origin)) return true;
    const member = members.all.find(({ record }) => record.id === origin);
    if (member === undefined) return !members.isVouchedFor(origin);
    const { beat, lastSeenMs } = member;
    if (beat === undefined || lastSeenMs < sinceMs + limits.beatMs) return false;
    return counterOf(beat.vector, origin) < counter;
  }
}

function silenceOf(transaction: TransactionId): string {
  const { origin } = transaction;
  return (
    `transaction ${formatTransactionId(transaction)}, which the log does not hold. Start ${origin}, which publishes it ` +
    `if it has it, or remove it (\`antiphon member remove ${origin}\`).`
  );
}

/**
 * Why nobody can read on at this place, in a sentence; undefined: the log holds what follows it.
 */
export function whyNotInLog({ generation, seq }: AtEntry, log: LogIdentity): string | undefined {
  if (generation !== log.generation) return 'It is a place in another log.';
  if (seq < log.firstSeq) return `It is at entry ${seq}, and the log begins at entry ${log.firstSeq} now.`;
  if (isAhead({ generation, seq }, log))
    return `It is at entry ${seq}, and the log ends at entry ${log.lastSeq}: the log lost what was before it.`;
  return undefined;
}

function isAhead({ generation, seq }: AtEntry, log: LogIdentity): boolean {
  return generation === log.generation && seq > log.lastSeq + 1;
}

/**
 * What a reader failed with, or PLACE_LOST: a trim may go past one that is slow, and the replica
 * itself needs nothing of that any more.
 */
export async function unlessTrimmed(
  { log, closing }: Pick<Scope, 'log' | 'closing'>,
  error: unknown,
  place: AtEntry,
  lost: (why: string) => AntiphonError,
): Promise<unknown> {
  if (!(error instanceof AntiphonError) || error.code !== 'LOG_REPLACED') return error;
  try {
    const identity = await log.identity(closing);
    // What became of a log that was replaced or has lost its end, the replica itself finds out.
    const isTrimmed = place.generation === identity.generation && place.seq < identity.firstSeq;
    const why = whyNotInLog(place, identity);
    return isTrimmed && why !== undefined ? lost(why) : error;
  } catch {
    return error;
  }
}
