import {
  abortError,
  abortReason,
  AntiphonError,
  decodeCursor,
  DeliveryWindow,
  dominates,
  encodeCursor,
  sleep,
  type SubscriptionHolder,
  type TransactionId,
} from '@antiphon/core';
import type { OpenSubscription, SubscriptionStatus } from '../state/active-subscriptions.js';
import type { Scope } from '../state/scope.js';
import { Deadline } from '../wait/deadline.js';
import { type Choice, type CommittedChange, follow, type Following, isSame, startOf } from './changes.js';
import { PlaceWriter } from './place-writer.js';
import { SubscriptionLease } from './subscription-lease.js';

/** Between two tries to open the log again. */
const REOPEN_MS = 500;

/**
 * An instance of a durable subscription: committed changes in the order of the log, from the place
 * that the cluster keeps under its name. Of all instances with one name exactly one is active; the
 * others wait in `next()`.
 */
export interface Subscription<Change>
  extends AsyncIterableIterator<Change, void, undefined>, AsyncDisposable {
  readonly name: string;
  /**
   * Of an active instance, else undefined. Rises whenever another instance takes over: a fencing
   * token. Store it with what you write elsewhere, and refuse a lower one there, if even a process
   * that was paused must not write twice.
   */
  readonly epoch: number | undefined;
  /**
   * Acknowledges this change and all that were delivered before it: no instance gets them again
   * once the promise has resolved. You need not wait for it; acknowledgements are collected for up
   * to 100 ms, and the last ones are written at the end. A change that was acknowledged before
   * changes nothing.
   *
   * @throws BAD_OPTION when this instance did not deliver it; SUBSCRIPTION_LOST when another one
   *   has taken over; CLOSED after its end.
   */
  ack(change: { readonly cursor: string }): Promise<void>;
  /**
   * Writes what is acknowledged and lets go of the subscription, so that a standby takes over at
   * once. Idempotent, never rejects, and takes at most a few seconds without NATS. `break` out of
   * the loop does the same.
   */
  close(): Promise<void>;
}

export interface SubscriptionDeps {
  readonly scope: Scope;
  readonly name: string;
  readonly leaseMs: number;
  /** Of a subscription that does not exist yet. */
  readonly beginning: Following['beginning'];
  readonly choice: Choice;
  readonly signal: AbortSignal | undefined;
}

export class DurableSubscription implements Subscription<CommittedChange>, OpenSubscription {
  readonly name: string;
  readonly #lease: SubscriptionLease;
  /** Aborted by whatever ends it: `close`, the caller's signal, a stall, another instance. */
  readonly #ending = new AbortController();
  readonly #stopListening: () => void;
  readonly #changes: AsyncGenerator<CommittedChange, void, undefined>;
  /** From when it is active. */
  #window: DeliveryWindow | undefined;
  #writer: PlaceWriter | undefined;
  /** The consumer has asked for its next change since it acknowledged one. */
  #goesOn = false;
  #closing: Promise<void> | undefined;
  #finishing: Promise<void> | undefined;

  constructor(private readonly deps: SubscriptionDeps) {
    const { scope, name, leaseMs, signal } = deps;
    this.name = name;
    const number = scope.subscriptions.nextNumber();
    const holder: SubscriptionHolder = {
      replica: scope.id,
      instance: `${scope.instance}-${number}`,
      leaseMs,
    };
    this.#lease = new SubscriptionLease({ name, holder, registry: scope.registry, clock: scope.clock });
    this.#changes = this.#run();
    this.#stopListening = this.#listen(signal);
    if (scope.closing.aborted) this.#ending.abort(scope.closing.reason);
    if (signal?.aborted === true) this.#ending.abort(abortError(signal, endedBySignal(name)));
  }

  get epoch(): number | undefined {
    return this.#window === undefined || this.#ending.signal.aborted ? undefined : this.#lease.epoch;
  }

  status(): SubscriptionStatus {
    const { name, epoch } = this;
    if (epoch === undefined || this.#window === undefined) return { name, state: 'standby' };
    const lagEntries = Math.max(0, this.deps.scope.positions.end + 1 - this.#window.seq);
    return { name, state: 'active', epoch, lagEntries };
  }

  next(): Promise<IteratorResult<CommittedChange, void>> {
    this.#goesOn = true;
    return this.#changes.next();
  }

  async return(): Promise<IteratorResult<CommittedChange, void>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  ack(change: { readonly cursor: string }): Promise<void> {
    const acknowledged = this.#ack(change);
    // Nobody has to wait for it: the iterator ends with the same error.
    acknowledged.catch(() => undefined);
    return acknowledged;
  }

  async #ack(change: { readonly cursor: string }): Promise<void> {
    const [window, writer] = [this.#window, this.#writer];
    if (this.#lease.lost.aborted) throw this.#lease.lost.reason;
    if (this.#ending.signal.aborted) throw closed(this.name);
    const cursor: unknown = (change as Partial<typeof change> | undefined)?.cursor;
    if (typeof cursor !== 'string')
      throw new AntiphonError('BAD_OPTION', 'ack() needs a change of this subscription, or its cursor.');
    if (window === undefined || writer === undefined) throw notDelivered(this.name);
    const verdict = window.ack(cursor);
    if (verdict === 'unknown') throw notDelivered(this.name);
    this.#goesOn = false;
    writer.hurryUnless(() => this.#goesOn);
    await writer.confirmed();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#ending.abort(closed(this.name));
    // Behind a `next()` that is under way, which ends now.
    await this.#changes.return().catch(() => undefined);
    await this.#finish();
  }

  /**
   * Also while the consumer has a change in hand: it is delivered again, and nobody waits for this
   * one.
   */
  #finish(): Promise<void> {
    this.#finishing ??= (async () => {
      this.#stopListening();
      await this.#writer?.stop(this.#ending.signal.reason);
      this.deps.scope.subscriptions.delete(this);
    })();
    return this.#finishing;
  }

  #listen(signal: AbortSignal | undefined): () => void {
    const { scope } = this.deps;
    const end = (reason: unknown): void => this.#ending.abort(reason);
    const onAbort = (): void => end(abortError(signal, endedBySignal(this.name)));
    const onClosing = (): void => end(scope.closing.reason);
    const onLost = (): void => end(this.#lease.lost.reason);
    this.#ending.signal.addEventListener('abort', () => void this.#finish(), { once: true });
    signal?.addEventListener('abort', onAbort, { once: true });
    scope.closing.addEventListener('abort', onClosing, { once: true });
    this.#lease.lost.addEventListener('abort', onLost, { once: true });
    // Another replica may be able to go on; this one cannot before somebody acts.
    const onState = scope.health.onState((state) => {
      if (state === 'stalled' && this.#window !== undefined) end(scope.health.stopped);
    });
    return () => {
      signal?.removeEventListener('abort', onAbort);
      scope.closing.removeEventListener('abort', onClosing);
      onState();
    };
  }

  async *#run(): AsyncGenerator<CommittedChange, void, undefined> {
    const { scope } = this.deps;
    scope.subscriptions.add(this);
    try {
      yield* this.#whenActive();
    } catch (error) {
      // The replica closes, or the caller has closed it: nothing more comes.
      if (this.#closing === undefined && !scope.closing.aborted) throw abortReason(error, this.deps.signal);
    } finally {
      this.#ending.abort(closed(this.name));
      await this.#finish();
    }
  }

  async *#whenActive(): AsyncGenerator<CommittedChange, void, undefined> {
    const { scope, leaseMs } = this.deps;
    const { signal } = this.#ending;
    const lease = this.#lease;
    const place = await lease.acquire({
      begin: () => this.#begin(),
      isReady: (at) => this.#isReady(at),
      signal,
    });
    const window = new DeliveryWindow(place);
    const writer = new PlaceWriter({ lease, leaseMs, window, clock: scope.clock });
    [this.#window, this.#writer] = [window, writer];
    for await (const change of this.#read(window)) {
      // Nobody else delivers while the lease lasts; after a pause, only the registry can tell.
      while (lease.leftMs === 0) await unlessAborted(signal, writer.confirmedSoon());
      signal.throwIfAborted();
      window.delivered(change.cursor);
      yield change;
    }
  }

  /** Ends when the replica closes. */
  async *#read(window: DeliveryWindow): AsyncGenerator<CommittedChange, void, undefined> {
    const { clock } = this.deps.scope;
    const { signal } = this.#ending;
    for (let sought: TransactionId | undefined; ;) {
      const found: { missed?: TransactionId } = {};
      try {
        yield* this.#follow(window, sought !== undefined, (missed) => (found.missed = missed));
        if (found.missed === undefined) return;
        if (sought !== undefined && isSame(sought, found.missed)) throw this.#notInLog(sought);
        sought = found.missed;
      } catch (error) {
        if (signal.aborted || !(error instanceof AntiphonError) || !error.retriable) throw error;
        await sleep(clock, REOPEN_MS, signal);
      }
    }
  }

  /**
   * `anew`: from the beginning of the log, for what was applied only after the stream had passed
   * it.
   */
  async *#follow(
    window: DeliveryWindow,
    anew: boolean,
    missed: (id: TransactionId) => void,
  ): AsyncGenerator<CommittedChange, void, undefined> {
    const { scope, choice } = this.deps;
    const place = window.readOn;
    const firstSeq = await this.#assertInLog(place);
    // What was delivered is known by the vector and not delivered again; within a transaction it
    // would not be.
    const seq = anew && place.skip === 0 ? Math.max(1, firstSeq) : place.seq;
    yield* follow(scope, {
      beginning: { ...place, seq },
      ...choice,
      signal: this.#ending.signal,
      tooOld: 'PLACE_LOST',
      passed: (at) => window.passed(at),
      missed,
    });
  }

  /** Where a subscription begins that does not exist yet. */
  async #begin(): Promise<string> {
    const { scope, beginning } = this.deps;
    const { clock, limits } = scope;
    const what = 'the log says where the subscription begins';
    const deadline = new Deadline(clock, limits.connectTimeoutMs, [this.#ending.signal], what);
    try {
      const start = await startOf(scope, beginning, deadline);
      await this.#assertInLog(start);
      return encodeCursor(start);
    } finally {
      deadline.end();
    }
  }

  /**
   * A replica that is behind the place could deliver nothing: another one may be further. Throws
   * PLACE_LOST when the log does not hold what this database and the place have to agree on.
   */
  async #isReady(text: string): Promise<boolean> {
    const { health, positions, progress, document, log } = this.deps.scope;
    const { signal } = this.#ending;
    if (!health.replicating) return false;
    const place = decodeCursor(text);
    if (place.generation !== document.generation) throw this.#placeLost('It is a place in another log.');
    if (dominates(progress.vector, place.vector)) return true;
    const { lastSeq } = await log.identity(signal);
    const isCaughtUp = positions.applied >= lastSeq && health.complete;
    if (!isCaughtUp || dominates(progress.vector, place.vector)) return false;
    throw this.#placeLost(
      `It is behind transactions that the log, which ends at entry ${lastSeq}, does not hold: the log lost them.`,
    );
  }

  /** Returns where the log begins. */
  async #assertInLog(place: { readonly generation: string; readonly seq: number }): Promise<number> {
    const { log, document } = this.deps.scope;
    if (place.generation !== document.generation) throw this.#placeLost('It is a place in another log.');
    const { firstSeq } = await log.identity(this.#ending.signal);
    if (place.seq < firstSeq)
      throw this.#placeLost(`It is at entry ${place.seq}, and the log begins at entry ${firstSeq} now.`);
    return firstSeq;
  }

  #notInLog({ origin, counter }: TransactionId): AntiphonError {
    const { id } = this.deps.scope;
    const what = `transaction ${origin}:${counter}, which ${id} has, is not in the log any more`;
    return this.#placeLost(`The changes of ${what}, or cannot be read there.`);
  }

  #placeLost(why: string): AntiphonError {
    const { name, scope } = this.deps;
    return new AntiphonError(
      'PLACE_LOST',
      `Subscription ${name} cannot go on at its place. ${why} Remove the subscription ` +
        `(\`antiphon subscriptions --remove ${name}\`) and begin it anew. See docs/subscriptions.md.`,
      { context: { cluster: scope.cluster, replica: scope.id, subscription: name } },
    );
  }
}

/** The result of `work`, or the reason of the signal as soon as it aborts. */
function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function endedBySignal(name: string): string {
  return `Subscription ${name} was ended by its caller's signal.`;
}

function closed(name: string): AntiphonError {
  return new AntiphonError(
    'CLOSED',
    `This instance of subscription ${name} is closed. Subscribe again to go on.`,
  );
}

function notDelivered(name: string): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `ack() was given a change that this instance of subscription ${name} did not deliver. Give it one that next() or ` +
      'the loop has returned.',
  );
}
