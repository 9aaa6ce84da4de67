import { abortError, abortReason, checkOptions, type OptionNames, type Timer } from '@antiphon/core';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { EventQueue } from './event-queue.js';
import { eventsBetween, type HealthPicture, type ReplicaEvent, type WithoutTime } from './replica-event.js';
import { denialAlarms, epochStatus } from './status.js';

/** When to end. */
export interface EventsOptions {
  /** Ends the stream: it throws the reason given to `abort(reason)`, or ABORTED. */
  readonly signal?: AbortSignal;
}

const EVENTS_OPTIONS: OptionNames<EventsOptions> = { signal: true };
/** Events that nobody reads; the oldest are dropped then, and an event says how many. */
export const MAX_UNREAD_EVENTS = 1000;

/**
 * What happens on this replica, from the call on; the first events say how it is then. Ends after
 * the event of the state `closed`. Throws BAD_OPTION at the call.
 */
export function eventsOf(
  scope: ReplicaScope,
  options: EventsOptions,
): AsyncIterableIterator<ReplicaEvent, void, undefined> {
  checkOptions(options, EVENTS_OPTIONS, 'events()');
  return new EventStream(scope, options.signal);
}

class EventStream implements AsyncIterableIterator<ReplicaEvent, void, undefined> {
  readonly #queue = new EventQueue<ReplicaEvent>(MAX_UNREAD_EVENTS);
  readonly #events: AsyncGenerator<ReplicaEvent, void, undefined>;
  readonly #stopListening: readonly (() => void)[];
  #before: HealthPicture | undefined;
  #timer: Timer | undefined;
  #ended = false;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly signal: AbortSignal | undefined,
  ) {
    const { health, log, progress, conflicts, store } = scope;
    const look = (): void => this.#look();
    // Progress moves with every run of entries: only these are not told of by anybody else.
    const lookWhenKept = (): void => {
      const { quarantined, rescued } = store.state();
      if (quarantined !== this.#before?.quarantined || rescued !== this.#before.rescued) look();
    };
    const wake = (): void => this.#queue.wake();
    signal?.addEventListener('abort', wake, { once: true });
    this.#stopListening = [
      health.onChange(look),
      log.onConnection(look),
      progress.onMove(lookWhenKept),
      scope.authority.onChange(look),
      conflicts.onConflict((count, reports) => this.#push({ type: 'conflict', count, reports })),
      () => signal?.removeEventListener('abort', wake),
    ];
    this.#events = this.#run();
    this.#lookAgain();
  }

  next(): Promise<IteratorResult<ReplicaEvent, void>> {
    return this.#events.next();
  }

  return(): Promise<IteratorResult<ReplicaEvent, void>> {
    this.#end();
    return this.#events.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async *#run(): AsyncGenerator<ReplicaEvent, void, undefined> {
    try {
      for (;;) {
        if (this.signal?.aborted === true) throw this.#aborted(this.signal);
        const dropped = this.#queue.takeDropped();
        if (dropped > 0) yield { type: 'dropped', events: dropped, atMs: this.scope.clock.nowMs() };
        const event = this.#queue.take();
        if (event !== undefined) yield event;
        else if (this.#ended) return;
        else await this.#queue.woken();
      }
    } finally {
      this.#end();
    }
  }

  #aborted(signal: AbortSignal): unknown {
    return abortReason(abortError(signal, 'events() was ended by its signal.'), signal);
  }

  #end(): void {
    this.#ended = true;
    this.#timer?.cancel();
    for (const stop of this.#stopListening) stop();
    this.#queue.wake();
  }

  /** What NATS denies is told by nobody: it is looked at once a beat. */
  #lookAgain(): void {
    this.#look();
    if (this.#ended) return;
    this.#timer = this.scope.clock.setTimer(this.scope.limits.beatMs, () => this.#lookAgain());
  }

  #look(): void {
    if (this.#ended) return;
    const now = pictureOf(this.scope);
    for (const event of eventsBetween(this.#before, now)) this.#push(event);
    this.#before = now;
    if (now.state === 'closed') this.#end();
  }

  #push(event: WithoutTime<ReplicaEvent>): void {
    this.#queue.push({ ...event, atMs: this.scope.clock.nowMs() });
  }
}

function pictureOf(scope: ReplicaScope): HealthPicture {
  const { health, log, store } = scope;
  return {
    state: health.state,
    stalled: health.stalled,
    holding: health.holding,
    waiting: health.waiting,
    alarms: [...health.alarms, ...denialAlarms(scope)],
    connection: log.connection,
    quarantined: store.state().quarantined,
    rescued: store.state().rescued,
    epoch: epochStatus(scope).epoch,
  };
}
