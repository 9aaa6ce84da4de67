import { advance, counterOf, type VectorClock } from '../clocks/vector-clock.js';
import { lastCounterOf, type BatchSummary } from '../codec/batch-summary.js';
import type { Batch, PartBatch } from '../model/transaction.js';
import type { StoreState } from '../ports/store.js';

/**
 * What a replica does with a batch of the log (I2). `apply`: it is new, but for its first `skip`
 * transactions, or for the first `skip` bytes of a part, and follows what is there without a hole.
 * `duplicate`: everything in it is applied (or, for a part, kept) already. `hole`: something before
 * it is missing; its origin sends again from `expected` on.
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
 * Accepts each counter of an origin exactly once and in order, whatever was lost, repeated or
 * overtaken on the way. Pure: the caller applies what was admitted before it asks about the next
 * batch.
 *
 * A whole transaction is accepted even where parts of it are kept: both carry the same content, and
 * what is kept of the parts is stale as soon as the vector covers their counter.
 */
export function admit(state: AdmissionState, batch: Batch | BatchSummary): Admission {
  const expected = counterOf(state.vector, batch.origin) + 1;
  const { firstCounter } = batch;
  const lastCounter = lastCounterOf(batch);
  if (lastCounter < expected) return { type: 'duplicate' };
  if (firstCounter > expected) return { type: 'hole', expected };
  if (batch.kind === 'transactions') {
    const skip = expected - firstCounter;
    // Another attempt had its place: a synchronous group counts as a whole or not at all
    // (docs/decisions/0012).
    return batch.sync !== undefined && skip > 0 ? { type: 'duplicate' } : { type: 'apply', skip };
  }

  const kept = keptBytes(state.partial, batch);
  const end = batch.offset + bytesOf(batch);
  if (batch.offset > kept) return { type: 'hole', expected };
  if (batch.last ? end < kept : end <= kept) return { type: 'duplicate' };
  return { type: 'apply', skip: kept - batch.offset };
}

/** The state after a batch that was admitted. */
export function admitted({ vector, partial }: AdmissionState, batch: Batch | BatchSummary): AdmissionState {
  const { origin, firstCounter, time } = batch;
  if (batch.kind === 'part' && !batch.last) {
    const kept = { counter: firstCounter, time, bytes: batch.offset + bytesOf(batch) };
    return { vector, partial: { ...partial, [origin]: kept } };
  }
  return { partial, vector: advance(vector, origin, lastCounterOf(batch)) };
}

/** What is new of a part that was admitted. */
export function newOfPart(part: PartBatch, skip: number): PartBatch {
  return skip === 0 ? part : { ...part, offset: part.offset + skip, body: part.body.subarray(skip) };
}

function bytesOf(part: PartBatch | BatchSummary): number {
  return 'bytes' in part ? part.bytes : part.body.length;
}

/**
 * A counter may be given again after a power cut took the transaction back that had it: its time
 * tells the two apart.
 */
function keptBytes(partial: AdmissionState['partial'], part: PartBatch | BatchSummary): number {
  const { origin, firstCounter, time } = part;
  // `hasOwn`: an origin may be called `constructor`.
  const kept = Object.hasOwn(partial, origin) ? partial[origin] : undefined;
  return kept?.counter === firstCounter && kept.time === time ? kept.bytes : 0;
}
