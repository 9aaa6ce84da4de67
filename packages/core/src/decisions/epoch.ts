import { counterOf } from '../clocks/vector-clock.js';
import type { BatchSummary } from '../codec/batch-summary.js';
import { decodeEpochRecord } from '../codec/epoch-record.js';
import type { Batch } from '../model/transaction.js';
import type { LogEntry } from '../ports/log.js';
import { type Epoch, NOBODY, type PassedEpoch } from '../model/epoch.js';
import type { EpochRecord } from '../model/epoch-record.js';
import type { TransactionId } from '../model/transaction-id.js';
import type { AdmissionState } from './admission.js';

/** The origin of epoch records in the log; no replica can be called so. */
export const EPOCH_ORIGIN = '_epoch';

/**
 * In front of every record: who writes by the cluster's document, and whether that may change.
 * Where every member writes, there is nobody to follow.
 */
export function firstEpoch(primary: string | undefined, isFinal = primary === undefined): Epoch {
  return { number: 0, primary, instance: undefined, seq: 0, ...(isFinal && { isFinal }) };
}

/**
 * The epoch that a record begins which is read as entry `seq`; undefined when it is not valid.
 * Pure: whoever reads the log in its order comes to the same epochs, and no clock or lease decides
 * anything.
 */
export function nextEpoch(before: Epoch, record: EpochRecord, seq: number): Epoch | undefined {
  if (before.isFinal === true || record.epoch !== before.number + 1) return undefined;
  const { epoch: number, primary, instance } = record;
  return { number, primary, instance, seq };
}

/** In front of the first record that is met. */
const UNKNOWN: Epoch = { number: 0, primary: NOBODY, instance: undefined, seq: 0 };

/** Follows the epochs of a log whose entries are read in their order. */
export class EpochFold<T extends Epoch | undefined = Epoch> {
  /** `epoch`: the one that holds in front of the first entry; undefined when nobody can tell. */
  constructor(private epoch: T | Epoch) {}

  get current(): T | Epoch {
    return this.epoch;
  }

  /** The record of the epoch that begins with this entry; undefined when none does. */
  take({ origin, seq, data }: LogEntry): EpochRecord | undefined {
    if (origin !== EPOCH_ORIGIN) return undefined;
    const record = decodeEpochRecord(data);
    const next = record && nextEpoch(this.epoch ?? { ...UNKNOWN, number: record.epoch - 1 }, record, seq);
    if (next === undefined) return undefined;
    this.epoch = next;
    return record;
  }
}

/** What is admitted once an epoch has begun. */
export function inEpoch({ vector }: AdmissionState, { primary, after }: EpochRecord): AdmissionState {
  return {
    vector: after > counterOf(vector, primary) ? { ...vector, [primary]: after } : vector,
    // The rest of a big transaction can't come any more: its origin is fenced, or begins again.
    partial: {},
  };
}

/**
 * Of another epoch, or not of the primary: it counts for nobody, for good. Its epoch is compared
 * as well as its origin, or a message of a primary that was deposed and elected again could count
 * late.
 */
export function isFenced(epoch: Epoch, batch: Batch | BatchSummary): boolean {
  return batch.epoch !== epoch.number || (epoch.primary !== undefined && batch.origin !== epoch.primary);
}

/** The one that holds at the position. */
export function newestEpoch<E extends Epoch>({ epochs }: { readonly epochs: readonly E[] }): E {
  return epochAt(epochs, Infinity);
}

/** The one that held at entry `seq`, of all that there were, in their order. */
export function epochAt<E extends Epoch>(epochs: readonly E[], seq: number): E {
  const [first] = epochs;
  if (first === undefined) throw new RangeError('there is always a first epoch');
  return epochs.findLast((epoch) => epoch.seq < seq) ?? first;
}

/**
 * Defined when no transaction of the log has this number, or ever will: it is spent by a record.
 * `again`: its replica was the primary before as well, so what had this number may have been undone
 * and written again, under another one.
 */
export function findVoided(
  epochs: readonly PassedEpoch[],
  { origin, counter }: TransactionId,
): { readonly again: boolean } | undefined {
  const index = epochs.findIndex(
    ({ primary, voided }) =>
      primary === origin && voided !== undefined && counter >= voided.from && counter <= voided.to,
  );
  return index < 0 ? undefined : { again: epochs[index - 1]?.primary === origin };
}

/**
 * Whether nothing of this replica that the log does not hold yet counts any more: another one is
 * the primary, by a record. What it writes when it is elected again has other numbers.
 */
export function hasOtherPrimary({ number, primary }: Epoch, origin: string): boolean {
  return number > 0 && primary !== undefined && primary !== origin;
}
