import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import type { BatchSummary } from '../codec/batch-summary.js';
import type { Batch } from '../model/transaction.js';
import type { StoreState } from '../ports/store.js';

/**
 * What a replica does with a batch of the log (I2).
 * `apply`: its transactions from index `skip` on are new and follow what is applied without a hole.
 * `duplicate`: everything in it is applied (or, for a part, kept) already.
 * `hole`: something before it is missing; its origin sends again from `expected` on.
 */
export type Admission =
  | { readonly type: 'apply'; readonly skip: number }
  | { readonly type: 'duplicate' }
  | { readonly type: 'hole'; readonly expected: number };

export interface AdmissionState {
  readonly vector: VectorClock;
  readonly partial: StoreState['partial'];
}

/**
 * Accepts each counter of an origin exactly once and in order, whatever was lost, repeated or overtaken on the way. Pure: the
 * caller applies what was admitted before it asks about the next batch.
 *
 * A whole transaction is accepted even where parts of it are kept: both carry the same content, and what is kept of
 * the parts is stale as soon as the vector covers their counter.
 */
export function admit(state: AdmissionState, batch: Batch | BatchSummary): Admission {
  const expected = counterOf(state.vector, batch.origin) + 1;
  const { firstCounter } = batch;
  const lastCounter = lastCounterOf(batch);
  if (lastCounter < expected) return { type: 'duplicate' };
  if (firstCounter > expected) return { type: 'hole', expected };
  if (batch.kind === 'transactions') {
    const skip = expected - firstCounter;
    // Another attempt had its place: a synchronous group counts as a whole or not at all (docs/decisions/0012).
    return batch.sync !== undefined && skip > 0 ? { type: 'duplicate' } : { type: 'apply', skip };
  }

  const awaitedPart = awaitedPartOf(state.partial, batch.origin, firstCounter);
  if (batch.part < awaitedPart) return { type: 'duplicate' };
  if (batch.part > awaitedPart) return { type: 'hole', expected };
  return { type: 'apply', skip: 0 };
}

function lastCounterOf(batch: Batch | BatchSummary): number {
  if ('lastCounter' in batch) return batch.lastCounter;
  return batch.kind === 'part' ? batch.firstCounter : batch.firstCounter + batch.transactions.length - 1;
}

function awaitedPartOf(partial: AdmissionState['partial'], origin: string, counter: number): number {
  // `hasOwn`: an origin may be called `constructor`.
  const kept = Object.hasOwn(partial, origin) ? partial[origin] : undefined;
  return kept?.counter === counter ? kept.nextPart : 0;
}
