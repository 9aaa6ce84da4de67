import type { SubscriptionHolder, SubscriptionRecord } from './subscription-record.js';

/**
 * The lease of a subscription. No wall clock is read and no two clocks are compared: a standby
 * measures on its own monotonic clock for how long it has seen the same revision of the record, and
 * the holder on its own for how long nobody has confirmed one of its writes. What counts in the end
 * is compare-and-set on the record, whatever the clocks do: a holder that was paused for longer
 * cannot write it any more.
 */

/** Since when, on its own clock, a standby has seen the record as it is. */
export interface Sighting {
  readonly revision: number;
  readonly sinceMs: number;
}

/**
 * `readMs`: when the answer came that showed this revision. A later look at the same one changes
 * nothing, also after a pause of the standby itself: revisions do not come back.
 */
export function sighted(before: Sighting | undefined, revision: number, readMs: number): Sighting {
  return before?.revision === revision ? before : { revision, sinceMs: readMs };
}

/**
 * After how long the record may be taken over; 0: now. `askedMs`: when the look began that showed
 * it unchanged.
 */
export function takeoverInMs(
  { holder }: Pick<SubscriptionRecord, 'holder'>,
  sighting: Sighting,
  askedMs: number,
): number {
  return holder === undefined ? 0 : Math.max(0, sighting.sinceMs + holder.leaseMs - askedMs);
}

/**
 * Of its lease, what a holder does not use: a clock may run a little slower than that of a standby.
 */
const CLOCK_MARGIN = 0.1;
/** Renewals during a lease: two may get lost. */
const RENEWALS = 3;

/**
 * How long a holder may deliver without another confirmed write. `confirmedMs`: when its last
 * confirmed write was sent. A standby cannot have seen that write before, so it takes over later
 * than this.
 */
export function leaseLeftMs(confirmedMs: number, leaseMs: number, nowMs: number): number {
  return Math.max(0, confirmedMs + leaseMs * (1 - CLOCK_MARGIN) - nowMs);
}

export function renewalMs(leaseMs: number): number {
  return leaseMs / RENEWALS;
}

/** A record that is its holder's: of this epoch, and of nobody else. */
export function isHeldBy(record: SubscriptionRecord, instance: string, epoch: number): boolean {
  return record.removed !== true && record.epoch === epoch && record.holder?.instance === instance;
}

/** The record after a new holder has taken it. `before`: absent where there is none yet. */
export function taken(
  name: string,
  before: SubscriptionRecord | undefined,
  holder: SubscriptionHolder,
  place: string,
  nowMs: number,
): SubscriptionRecord {
  const isNew = before === undefined || before.removed === true;
  return {
    name,
    place,
    epoch: (before?.epoch ?? 0) + 1,
    holder,
    createdAtMs: isNew ? nowMs : before.createdAtMs,
    writtenAtMs: nowMs,
  };
}

/** The record after its holder has let go of it: a standby need not wait. */
export function released(
  { holder: _, ...record }: SubscriptionRecord,
  place: string,
  nowMs: number,
): SubscriptionRecord {
  return { ...record, place, writtenAtMs: nowMs };
}
