import { type ChangeCursor, counterOf, type TransactionId, type VectorClock } from '@antiphon/core';
import type { Scope } from '../state/scope.js';

/**
 * Whether a stream of changes has met everything that the database has. A transaction that was
 * quarantined, or that waited for one that was, may be applied long after the stream has passed its
 * entry, without being published again (`antiphon quarantine retry`, a second reading of the log):
 * nothing behind the stream's place would show it, and everything later of its origin would look
 * like a hole.
 */
export class Coverage {
  /** What the database had of the log when it had dealt with it up to there. */
  #expected: { readonly seq: number; readonly vector: VectorClock } | undefined;

  constructor(private readonly scope: Pick<Scope, 'id' | 'store' | 'positions'>) {}

  /** The first transaction that a stream at this place, behind entry `seq`, has not met. */
  missedBy(place: ChangeCursor, seq: number): TransactionId | undefined {
    // What was expected before may be less than the database has by now, and nothing more may come.
    const isOld = this.#expected !== undefined;
    return this.#compare(place, seq) ?? (isOld ? this.#compare(place, seq) : undefined);
  }

  #compare({ vector, isPartial }: ChangeCursor, seq: number): TransactionId | undefined {
    const expected = (this.#expected ??= this.#now());
    if (seq < expected.seq) return undefined;
    this.#expected = undefined;
    for (const [origin, counter] of Object.entries(expected.vector)) {
      // Own transactions are committed before they are in the log.
      if (origin === this.scope.id || counterOf(vector, origin) >= counter) continue;
      // Perhaps all that the log has lost of it was before the stream began.
      if (isPartial && !Object.hasOwn(vector, origin)) continue;
      return { origin, counter: counterOf(vector, origin) + 1 };
    }
    return undefined;
  }

  #now(): { readonly seq: number; readonly vector: VectorClock } {
    const { store, positions } = this.scope;
    return { seq: positions.passed, vector: store.state().vector };
  }
}
