import {
  abortError,
  abortReason,
  AntiphonError,
  decodeCursor,
  type DeliveryWindow,
  encodeCursor,
  SecondLooks,
  sentence,
  sleep,
  type SubscriptionHolder,
  type TransactionId,
} from '@antiphon/core';
import type { OpenSubscription, SubscriptionStatus } from '../state/active-subscriptions.js';
import type { Scope } from '../state/scope.js';
import { Deadline } from '../wait/deadline.js';
import {
  type Choice,
  type CommittedChange,
  follow,
  type Following,
  REOPEN_MS,
  sharedStartOf,
} from './changes.js';
import { HoldWatch } from './hold-watch.js';
import { PlaceJudge, whyNotInLog } from './place-judge.js';
import { type PlaceWriter, takePlace, type Tenure } from './place-writer.js';
import { SubscriptionLease, unlessAborted } from './subscription-lease.js';

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
  /** Settles once it is active, or has let go of whatever it had taken until it ended. */
  #taking: Promise<Tenure> | undefined;
  /** The cursor where a subscription that did not exist begins. */
  #begun: string | undefined;
  /** Of a standby: what it waits for, when that is not the active instance. */
  #waitsFor: string | undefined;
  readonly #judge: PlaceJudge;
  readonly #hold: HoldWatch;
  /** The consumer waits in `next()`. */
  #isAsked = false;
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
    this.#judge = new PlaceJudge(scope);
    this.#hold = new HoldWatch(scope.health, scope.clock, leaseMs, () => this.#leaveWhenStuck());
    this.#changes = this.#run();
    this.#stopListening = this.#listen(signal);
    if (signal?.aborted === true) this.#ending.abort(abortError(signal, endedBySignal(name)));
  }

  get epoch(): number | undefined {
    return this.#window === undefined || this.#ending.signal.aborted ? undefined : this.#lease.epoch;
  }

  status(): SubscriptionStatus {
    const { name, epoch } = this;
    if (epoch === undefined || this.#window === undefined) {
      const waitsFor = this.#waitsFor;
      return { name, state: 'standby', ...(waitsFor !== undefined && { waitsFor }) };
    }
    const lagEntries = Math.max(0, this.deps.scope.positions.end + 1 - this.#window.seq);
    return { name, state: 'active', epoch, lagEntries };
  }

  next(): Promise<IteratorResult<CommittedChange, void>> {
    this.#goesOn = true;
    this.#isAsked = true;
    this.#leaveWhenStuck();
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
    if (this.#ending.signal.aborted) throw this.#endedBy;
    const cursor: unknown = (change as Partial<typeof change> | undefined)?.cursor;
    if (typeof cursor !== 'string')
      throw new AntiphonError(
        'BAD_OPTION',
        'ack() needs a change of this subscription. Give the change, or { cursor } with its cursor.',
      );
    if (window === undefined || writer === undefined) throw notDelivered(this.name);
    const verdict = window.ack(cursor);
    if (verdict === 'unknown') throw notDelivered(this.name);
    this.#goesOn = false;
    writer.hurryUnless(() => this.#goesOn);
    await writer.confirmed();
  }

  get #endedBy(): unknown {
    const { reason } = this.#ending.signal as { readonly reason: unknown };
    return reason instanceof AntiphonError && reason.code === 'SUBSCRIPTION_LOST'
      ? reason
      : closed(this.name);
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
      this.#hold.stop();
      await this.#taking?.catch(() => undefined);
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
    const onState = scope.health.onState(() => this.#leaveWhenStopped());
    return () => {
      signal?.removeEventListener('abort', onAbort);
      scope.closing.removeEventListener('abort', onClosing);
      onState();
    };
  }

  /**
   * Another replica may be able to go on; this one cannot before somebody acts. A standby waits for
   * that, unless the replica has ended.
   */
  #leaveWhenStopped(): void {
    const { health } = this.deps.scope;
    if (health.ended || (!health.replicating && this.#window !== undefined))
      this.#ending.abort(health.stopped);
  }

  /**
   * Nothing comes while the replica holds, and that may take until somebody acts: another replica
   * may be able to go on. What was committed before is delivered first, if the consumer asks for
   * it.
   */
  #leaveWhenStuck(): void {
    const { name, deps } = this;
    const { id, health, positions } = deps.scope;
    const window = this.#window;
    if (!this.#hold.isLong || !this.#isAsked || window === undefined) return;
    if (window.readOn.seq <= positions.passed) return;
    this.#ending.abort(letGoOf(name, id, deps.leaseMs, health.obstacle));
  }

  async *#run(): AsyncGenerator<CommittedChange, void, undefined> {
    const { scope } = this.deps;
    try {
      this.#ending.signal.throwIfAborted();
      scope.subscriptions.add(this);
      yield* this.#whenActive();
    } catch (error) {
      // The replica ends, or the caller has closed it: nothing more comes.
      const isOver = this.#closing !== undefined || scope.closing.aborted || scope.health.ended;
      if (!isOver) throw abortReason(error, this.deps.signal);
    } finally {
      this.#ending.abort(closed(this.name));
      await this.#finish();
    }
  }

  async *#whenActive(): AsyncGenerator<CommittedChange, void, undefined> {
    const { signal } = this.#ending;
    const lease = this.#lease;
    this.#taking = this.#take();
    const { window, writer } = await this.#taking;
    signal.throwIfAborted();
    for await (const change of this.#read(window)) {
      // Nobody else delivers while the lease lasts; after a pause, only the registry can tell.
      while (lease.leftMs === 0) await unlessAborted(signal, writer.confirmedSoon());
      signal.throwIfAborted();
      window.delivered(change.cursor);
      this.#isAsked = false;
      yield change;
    }
  }

  async #take(): Promise<Tenure> {
    const { scope, leaseMs } = this.deps;
    const { health, clock } = scope;
    const tenure = await takePlace(
      { lease: this.#lease, leaseMs, clock },
      {
        canDeliver: () => health.replicating && health.holding === undefined,
        begin: () => this.#begin(),
        isReady: (at) => this.#isReady(at),
        signal: this.#ending.signal,
      },
    );
    [this.#window, this.#writer, this.#waitsFor] = [tenure.window, tenure.writer, undefined];
    // What happened before it had these went unnoticed.
    this.#leaveWhenStopped();
    return tenure;
  }

  /** Ends when the replica closes. */
  async *#read(window: DeliveryWindow): AsyncGenerator<CommittedChange, void, undefined> {
    const { clock } = this.deps.scope;
    const { signal } = this.#ending;
    const looks = new SecondLooks();
    for (;;) {
      const found: { missed?: TransactionId } = {};
      try {
        yield* this.#follow(window, looks, (missed) => (found.missed = missed));
        if (found.missed === undefined) return;
        if (!looks.misses(found.missed)) throw this.#notInLog(found.missed);
      } catch (error) {
        if (signal.aborted || !(error instanceof AntiphonError) || !error.retriable) throw error;
        await sleep(clock, REOPEN_MS, signal);
      }
    }
  }

  async *#follow(
    window: DeliveryWindow,
    looks: SecondLooks,
    missed: (id: TransactionId) => void,
  ): AsyncGenerator<CommittedChange, void, undefined> {
    const { scope, choice } = this.deps;
    const look = await looks.at(scope.log, window.readOn, this.#ending.signal);
    yield* follow(scope, {
      beginning: look?.place ?? window.readOn,
      ...(look && { again: look.order }),
      ...choice,
      signal: this.#ending.signal,
      tooOld: 'PLACE_LOST',
      lost: (why) => this.#placeLost(why),
      passed: (at) => {
        looks.delivered(at.vector);
        window.passed(at);
        this.#leaveWhenStuck();
      },
      missed,
    });
  }

  /** Where a subscription begins that does not exist yet. */
  async #begin(): Promise<string> {
    if (this.#begun !== undefined) return this.#begun;
    const { scope, beginning } = this.deps;
    const { clock, limits } = scope;
    const what = 'the log says where the subscription begins';
    const deadline = new Deadline(clock, limits.connectTimeoutMs, [this.#ending.signal], what);
    try {
      const start = await sharedStartOf(scope, beginning, deadline, (why) => this.#placeLost(why, true));
      await this.#assertInLog(start);
      this.#begun = encodeCursor(start);
      return this.#begun;
    } finally {
      deadline.end();
    }
  }

  /**
   * A replica that is behind the place could deliver nothing: another one may be further. Throws
   * PLACE_LOST when the log does not hold what this database and the place have to agree on.
   */
  async #isReady(text: string): Promise<boolean> {
    const verdict = await this.#judge.verdictOn(decodeCursor(text), this.#ending.signal);
    if (verdict.type === 'lost') throw this.#placeLost(verdict.why, text === this.#begun);
    this.#wait(verdict.type === 'behind' ? verdict.waitsFor : undefined);
    return verdict.type === 'ready';
  }

  #wait(waitsFor: string | undefined): void {
    if (waitsFor === this.#waitsFor) return;
    this.#waitsFor = waitsFor;
    const { name, deps } = this;
    if (waitsFor !== undefined)
      deps.scope.logger.warn({ subscription: name }, `Subscription ${name} waits for ${waitsFor}`);
  }

  /** Throws PLACE_LOST. */
  async #assertInLog(place: { readonly generation: string; readonly seq: number }): Promise<void> {
    const { log } = this.deps.scope;
    const identity = await log.identity(this.#ending.signal);
    const why = whyNotInLog(place, identity);
    // What became of a log that was replaced or has lost its end, the replica itself finds out.
    if (why !== undefined && place.seq < identity.firstSeq) throw this.#placeLost(why);
  }

  #notInLog({ origin, counter }: TransactionId): AntiphonError {
    const { id } = this.deps.scope;
    const what = `transaction ${origin}:${counter}, which ${id} has, is not in the log any more`;
    return this.#placeLost(`The changes of ${what}, or cannot be read there.`);
  }

  #placeLost(why: string, isNew = false): AntiphonError {
    const { name, scope } = this.deps;
    const message = isNew
      ? `Subscription ${name} does not exist yet and cannot begin at its \`from\`. ${why} Give 'now', 'beginning', or ` +
        'a newer cursor of this cluster.'
      : `Subscription ${name} cannot go on at its place. ${why} Remove the subscription ` +
        `(\`antiphon subscriptions --remove ${name}\`) and begin it anew. See docs/subscriptions.md.`;
    return new AntiphonError('PLACE_LOST', message, {
      context: { cluster: scope.cluster, replica: scope.id, subscription: name },
    });
  }
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

function letGoOf(name: string, id: string, leaseMs: number, obstacle: string | undefined): AntiphonError {
  return new AntiphonError(
    'SUBSCRIPTION_LOST',
    `This instance of subscription ${name} has let go of it, for another replica to go on: replica ${id} has been ` +
      `holding for more than ${leaseMs} ms. ${sentence(obstacle ?? 'See its status.')} What was not acknowledged is ` +
      'delivered again. Subscribe again to stand by.',
    { context: { replica: id, subscription: name } },
  );
}

function notDelivered(name: string): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `ack() was given a change that this instance of subscription ${name} did not deliver. Give it one that next() or ` +
      'the loop has returned.',
  );
}
