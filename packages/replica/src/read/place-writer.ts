import { type Clock, DeliveryWindow, renewalMs, type Timer } from '@antiphon/core';
import { Deadline } from '../wait/deadline.js';
import type { Candidate, SubscriptionLease } from './subscription-lease.js';

/**
 * Acknowledgements of a consumer that goes on at once are collected for so long, and written
 * together.
 */
const COLLECT_MS = 100;
/** For the last write and the release; a standby waits for the end of the lease otherwise. */
const RELEASE_MS = 3000;

export interface PlaceWriterDeps {
  readonly lease: SubscriptionLease;
  readonly leaseMs: number;
  readonly window: DeliveryWindow;
  readonly clock: Clock;
}

/**
 * Writes the place of a subscription: soon after an acknowledgement, and often enough to keep the
 * lease. One write at a time; what is acknowledged meanwhile goes with the next one, so a fast
 * consumer does not write per change.
 */
export class PlaceWriter {
  readonly #stopping = new AbortController();
  #timer: Timer | undefined;
  #dueMs = Infinity;
  #writing: Promise<void> | undefined;
  /** Of the next write that begins: it has everything that is acknowledged by then. */
  #next = new Confirmation();
  #asked = false;

  constructor(private readonly deps: PlaceWriterDeps) {
    this.#due(renewalMs(deps.leaseMs));
  }

  /**
   * Resolves when what is acknowledged now is in the registry. Rejects with SUBSCRIPTION_LOST, or
   * why it ended.
   */
  confirmed(): Promise<void> {
    this.#due(COLLECT_MS);
    return this.#next.promise;
  }

  /** The same, without waiting for more to be acknowledged. */
  confirmedSoon(): Promise<void> {
    this.#due(0);
    return this.#next.promise;
  }

  /**
   * `goesOn`: whether the consumer has asked for its next change since. Somebody who waits is not
   * kept waiting.
   */
  hurryUnless(goesOn: () => boolean): void {
    if (this.#asked) return;
    this.#asked = true;
    void this.deps.clock.yield().then(() => {
      this.#asked = false;
      if (!goesOn()) this.#due(0);
    });
  }

  #due(inMs: number): void {
    const { clock } = this.deps;
    const dueMs = clock.monotonicMs() + inMs;
    if (this.#stopping.signal.aborted || dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    if (this.#writing === undefined) this.#arm();
  }

  #arm(): void {
    const { clock } = this.deps;
    this.#timer?.cancel();
    this.#timer = clock.setTimer(Math.max(0, this.#dueMs - clock.monotonicMs()), () => {
      this.#writing = this.#write().finally(() => this.#written());
    });
  }

  #written(): void {
    const { lease, leaseMs } = this.deps;
    this.#writing = undefined;
    if (lease.lost.aborted) return this.#next.reject(lease.lost.reason);
    if (this.#stopping.signal.aborted) return;
    this.#due(renewalMs(leaseMs));
    this.#arm();
  }

  /**
   * Never rejects. What is not retried for ever ends the subscription, by `lost` or by its caller.
   */
  async #write(): Promise<void> {
    const { lease, window } = this.deps;
    const confirmation = this.#next;
    this.#next = new Confirmation();
    this.#dueMs = Infinity;
    try {
      await lease.write(window.place, this.#stopping.signal);
      confirmation.resolve();
    } catch (error) {
      if (this.#stopping.signal.aborted) this.#next.join(confirmation);
      else confirmation.reject(error);
    }
  }

  /**
   * The last write: the place, and that nobody holds it. Never rejects; bounded in time. `why`: for
   * acknowledgements that could not be confirmed.
   */
  async stop(why: unknown): Promise<void> {
    const { lease, window, clock } = this.deps;
    this.#timer?.cancel();
    const deadline = new Deadline(clock, RELEASE_MS, [], 'the place of the subscription is written');
    try {
      // A write that is under way has the revision that the last one needs.
      const patience = clock.setTimer(RELEASE_MS / 2, () => this.#stopping.abort(why));
      await deadline.race(this.#writing ?? Promise.resolve()).finally(() => patience.cancel());
      this.#stopping.abort(why);
      this.#timer?.cancel();
      await deadline.race(lease.release(window.place, deadline.signal));
      if (lease.lost.aborted) this.#next.reject(lease.lost.reason);
      else this.#next.resolve();
    } catch (error) {
      this.#next.reject(error);
    } finally {
      deadline.end();
    }
  }
}

/** Of the active instance: what it delivers, and what keeps its place. */
export interface Tenure {
  readonly window: DeliveryWindow;
  readonly writer: PlaceWriter;
}

/**
 * Resolves once the lease is this instance's; it is renewed from then on, until the writer is
 * stopped, also by one that has ended meanwhile. Rejects as `acquire`, and has let go then of
 * whatever it had taken: a candidate ends at any moment, also while the registry has its record and
 * it does not know yet.
 */
export async function takePlace(
  deps: Omit<PlaceWriterDeps, 'window'>,
  candidate: Candidate,
): Promise<Tenure> {
  const { lease, clock } = deps;
  try {
    const window = new DeliveryWindow(await lease.acquire(candidate));
    return { window, writer: new PlaceWriter({ ...deps, window }) };
  } catch (error) {
    await letGo(lease, clock);
    throw error;
  }
}

/** Never rejects; bounded in time. */
async function letGo(lease: SubscriptionLease, clock: Clock): Promise<void> {
  const deadline = new Deadline(clock, RELEASE_MS, [], 'the subscription is free');
  try {
    await deadline.race(lease.release(undefined, deadline.signal));
  } catch {
    // A standby waits for the end of the lease.
  } finally {
    deadline.end();
  }
}

/** A promise that nobody has to listen to. */
class Confirmation {
  readonly promise: Promise<void>;
  #settle: { resolve: () => void; reject: (error: unknown) => void } | undefined;

  constructor() {
    this.promise = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.promise.catch(() => undefined);
  }

  resolve(): void {
    this.#settle?.resolve();
  }

  reject(error: unknown): void {
    this.#settle?.reject(error);
  }

  /** The other one ends as this one does. */
  join(other: Confirmation): void {
    this.promise.then(
      () => other.resolve(),
      (error: unknown) => other.reject(error),
    );
  }
}
