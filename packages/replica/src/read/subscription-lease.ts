import {
  AntiphonError,
  type Clock,
  isHeldBy,
  leaseLeftMs,
  readSubscription,
  type Registry,
  released,
  sighted,
  type Sighting,
  sleep,
  type StoredSubscription,
  type SubscriptionHolder,
  type SubscriptionRecord,
  taken,
  takeoverInMs,
  writeSubscription,
} from '@antiphon/core';
import { retryDelayMs } from '../wait/deadline.js';

/**
 * Between two looks of a standby: so long, at most about, until it notices that the record is free.
 */
const LOOK_EVERY_MS = 500;

export interface SubscriptionLeaseDeps {
  readonly name: string;
  readonly holder: SubscriptionHolder;
  readonly registry: Registry;
  readonly clock: Clock;
}

export interface Candidate {
  /**
   * Whether it could deliver anything at all now. Asked before it takes the record, and again once
   * it has it: an instance that cannot does not keep it.
   */
  canDeliver(): boolean;
  /** Where a subscription begins that does not exist yet. Asked only then, perhaps repeatedly. */
  begin(): Promise<string>;
  /** Whether this instance can go on at `place` now; asked only when the record is free. */
  isReady(place: string): Promise<boolean>;
  readonly signal: AbortSignal;
}

/**
 * The record of a subscription in the registry, for one instance: waits until it may take it,
 * writes the place while it holds it, and lets go of it. Every write is a compare-and-set against
 * what this instance wrote before: once another one has taken over, none succeeds any more, and
 * `lost` says so.
 */
export class SubscriptionLease {
  readonly #lost = new AbortController();
  #held: Held | undefined;
  /** What it tried to write to take the record, while nobody knows whether the registry has it. */
  #attempt: Held | undefined;
  /** When the last write that was confirmed was sent; undefined: none was. */
  #confirmed: Moment | undefined;

  constructor(private readonly deps: SubscriptionLeaseDeps) {}

  /** Aborted with SUBSCRIPTION_LOST. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get epoch(): number | undefined {
    return this.#held?.record.epoch;
  }

  /** For how long no standby can have taken over; 0: nobody knows. */
  get leftMs(): number {
    const { leaseMs } = this.deps.holder;
    if (this.#confirmed === undefined) return 0;
    const [sent, now] = [this.#confirmed, this.#now()];
    const [awakeMs, uptimeMs] = [now.awakeMs - sent.awakeMs, now.uptimeMs - sent.uptimeMs];
    return leaseLeftMs(0, leaseMs, Math.max(awakeMs, uptimeMs));
  }

  #now(): Moment {
    const { clock } = this.deps;
    const awakeMs = clock.monotonicMs();
    return { awakeMs, uptimeMs: clock.uptimeMs?.() ?? awakeMs };
  }

  /**
   * Resolves with the place once this instance is the holder. Waits through an absence of NATS.
   * Throws SUBSCRIPTION_LOST when it is removed meanwhile, what `begin` and `isReady` throw, and
   * the reason of the signal, at once. The record may be taken then all the same: `release` it.
   */
  async acquire(candidate: Candidate): Promise<string> {
    const { clock } = this.deps;
    candidate.signal.throwIfAborted();
    const seen: Seen = { last: undefined, sighting: undefined, sent: this.#now() };
    for (let failures = 0; ;) {
      let waitMs = LOOK_EVERY_MS * (0.75 + 0.5 * clock.random());
      try {
        const place = await unlessAborted(candidate.signal, this.#tryToTake(candidate, seen));
        if (place !== undefined) return place;
        failures = 0;
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        waitMs = retryDelayMs(failures++, clock);
      }
      await sleep(clock, waitMs, candidate.signal);
    }
  }

  async #tryToTake(candidate: Candidate, seen: Seen): Promise<string | undefined> {
    const { name, holder, registry, clock } = this.deps;
    const askedMs = clock.monotonicMs();
    const stored = await readSubscription(registry, name);
    candidate.signal.throwIfAborted();
    if (stored?.record.holder?.instance === holder.instance) return this.#took(candidate, stored, seen.sent);
    if (seen.last !== undefined && stored?.record.removed === true) throw this.#end(stored.record);
    // One that is gone without a trace is not new: its holder writes it again, or else this
    // instance does.
    const record = stored?.record ?? seen.last;
    seen.sighting = sighted(seen.sighting, stored?.revision ?? 0, clock.monotonicMs());
    const isNew = record === undefined || record.removed === true;
    if (!isNew) {
      seen.last = record;
      if (takeoverInMs(record, seen.sighting, askedMs) > 0) return undefined;
    }
    if (!candidate.canDeliver()) return undefined;
    const place = isNew ? await candidate.begin() : record.place;
    if (!(await candidate.isReady(place)) || !candidate.canDeliver()) return undefined;
    candidate.signal.throwIfAborted();
    seen.sent = this.#now();
    const next = taken(name, record, holder, place, clock.nowMs());
    this.#attempt = { record: next, revision: stored?.revision };
    const written = await writeSubscription(registry, next, stored?.revision);
    candidate.signal.throwIfAborted();
    if (written !== undefined) return this.#took(candidate, written, seen.sent);
    this.#attempt = undefined;
    return undefined;
  }

  /** Its replica may have stalled while the registry answered. */
  async #took(candidate: Candidate, stored: StoredSubscription, sent: Moment): Promise<string | undefined> {
    const { registry, clock } = this.deps;
    this.#attempt = undefined;
    if (candidate.canDeliver()) return this.#adopt(stored, sent);
    // Without an answer, the next look shows whether it has to be written again.
    const free = released(stored.record, stored.record.place, clock.nowMs());
    this.#attempt = stored;
    await writeSubscription(registry, free, stored.revision);
    if (!candidate.signal.aborted) this.#attempt = undefined;
    return undefined;
  }

  #adopt(stored: StoredSubscription, sent: Moment): string {
    this.#held = stored;
    this.#confirmed = sent;
    return stored.record.place;
  }

  /**
   * Resolves once the registry has the place, which is a renewal too. Waits through an absence of
   * NATS, until the signal ends it. Throws SUBSCRIPTION_LOST. One call at a time.
   */
  async write(place: string, signal: AbortSignal): Promise<void> {
    const { clock } = this.deps;
    await this.#put((record) => ({ ...record, place, writtenAtMs: clock.nowMs() }), signal);
  }

  /**
   * As `write`, and a standby need not wait any more. `place`: undefined leaves it where it is.
   * Also after an `acquire` that ended before it knew the answer: writing against the same revision
   * makes sure that the record is not taken later either.
   */
  async release(place: string | undefined, signal: AbortSignal): Promise<void> {
    const { clock } = this.deps;
    this.#held ??= this.#attempt;
    this.#attempt = undefined;
    if (this.#held === undefined || this.lost.aborted) return;
    await this.#put((record) => released(record, place ?? record.place, clock.nowMs()), signal);
    this.#confirmed = undefined;
  }

  async #put(change: (record: SubscriptionRecord) => SubscriptionRecord, signal: AbortSignal): Promise<void> {
    const { registry, clock } = this.deps;
    for (let failures = 0, isCertain = true; ;) {
      signal.throwIfAborted();
      this.lost.throwIfAborted();
      try {
        if (!isCertain && (await this.#lookAgain())) return;
        const { record, revision } = this.#held ?? never();
        const sent = this.#now();
        const written = await writeSubscription(registry, change(record), revision);
        if (written !== undefined) return void this.#adopt(written, sent);
        isCertain = false;
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        isCertain = false;
        await sleep(clock, retryDelayMs(failures++, clock), signal);
      }
    }
  }

  /**
   * Somebody else wrote, or an answer was lost: against which revision to write now. True: it is
   * released, which only this instance does. Throws SUBSCRIPTION_LOST.
   */
  async #lookAgain(): Promise<boolean> {
    const { registry, name, holder } = this.deps;
    const stored = await readSubscription(registry, name);
    const { record: mine, revision } = this.#held ?? never();
    // Nothing has arrived, not even that this instance takes it.
    if (stored !== undefined && stored.revision === revision) return false;
    if (stored !== undefined && !isHeldBy(stored.record, holder.instance, mine.epoch)) {
      const { epoch, holder: other, removed } = stored.record;
      if (epoch === mine.epoch && other === undefined && removed !== true) return true;
      throw this.#end(stored.record);
    }
    // Where somebody deleted the key, or the bucket, the place is known here: it is written again.
    this.#held = { record: mine, revision: stored?.revision };
    return false;
  }

  #end(record: SubscriptionRecord): AntiphonError {
    const { name, holder } = this.deps;
    const message = record.removed === true ? removedText(name) : takenOverText(name, record);
    const error = new AntiphonError('SUBSCRIPTION_LOST', message, {
      context: { replica: holder.replica, subscription: name, epoch: record.epoch },
    });
    this.#lost.abort(error);
    return error;
  }
}

function removedText(name: string): string {
  return (
    `Subscription ${name} was removed, and its place with it. One that is subscribed under this name now begins ` +
    'anew. Give the place that the removal returned as its `from` to get what was not acknowledged.'
  );
}

function takenOverText(name: string, { holder, epoch }: SubscriptionRecord): string {
  const who = holder === undefined ? 'another instance' : `an instance on ${holder.replica}`;
  return (
    `This instance of subscription ${name} is not the active one any more: ${who} has taken over (epoch ${epoch}). ` +
    'What it did not acknowledge is not acknowledged, and is delivered again. Subscribe again to stand by.'
  );
}

/** On clocks that never go back; the second one goes on while the machine sleeps. */
interface Moment {
  readonly awakeMs: number;
  readonly uptimeMs: number;
}

/** What a standby has seen so far. */
interface Seen {
  last: SubscriptionRecord | undefined;
  sighting: Sighting | undefined;
  /** When it last tried to take the record; the answer may have been lost. */
  sent: Moment;
}

interface Held {
  readonly record: SubscriptionRecord;
  /** undefined: the key is not there any more. */
  readonly revision: number | undefined;
}

/** The result of `work`, or the reason of the signal as soon as it aborts. */
export function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function isUnavailable(error: unknown): boolean {
  return error instanceof AntiphonError && error.retriable && error.code !== 'ABORTED';
}

function never(): never {
  throw new AntiphonError('INTERNAL', 'The lease of a subscription was written before it was taken.');
}
