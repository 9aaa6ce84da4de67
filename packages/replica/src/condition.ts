import type { AntiphonError, Clock } from '@antiphon/core';
import { nextState, type LifecycleEvent, type LifecycleState } from './lifecycle.js';
import type { Logger } from './logger.js';
import type { Role } from './topology.js';

export interface StallReason {
  readonly code: string;
  readonly message: string;
  readonly sinceMs: number;
}

/** An origin whose transactions cannot be applied until a missing one has come. */
export interface Waiting {
  readonly origin: string;
  /** The counter that is missing. */
  readonly expected: number;
  /** The lowest counter that came without it. */
  readonly found: number;
  readonly reason: string;
  /** What its origin said when it was asked to publish it again, or that it does not answer. Absent until then. */
  readonly answer?: string;
  readonly sinceMs: number;
}

/** A process that goes on would do harm, or nothing: it ends, and says so with its exit code. */
const ENDING: ReadonlySet<string> = new Set(['DUPLICATE_REPLICA', 'MEMBER_REMOVED', 'STORE_REPLACED']);
const MAX_ALARMS = 32;
const MAX_WAITING = 256;

/** How this replica is: one place that all actors write to and `status` reads. */
export class Condition {
  #state: LifecycleState = 'joining';
  #attempts = 0;
  #stalled: StallReason | undefined;
  #failure: AntiphonError | undefined;
  readonly #waiting = new Map<string, Waiting>();
  readonly #alarms = new Map<string, { message: string; sinceMs: number; count: number }>();
  readonly #listeners = new Set<(state: LifecycleState) => void>();
  readonly counts = {
    quarantined: 0,
    quarantineOverflow: 0,
    duplicates: 0,
    holes: 0,
    foreign: 0,
    storeRetries: 0,
  };
  readonly totals = {
    appliedTransactions: 0,
    appliedRows: 0,
    writes: 0,
    publishedMessages: 0,
    publishedBytes: 0,
  };

  constructor(
    private readonly role: Role,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** Numbers the relay's attempts, over its restarts as well: an id that was used once must never be used for a repetition. */
  nextAttempt(): number {
    return ++this.#attempts;
  }

  get state(): LifecycleState {
    return this.#state;
  }

  get stalled(): StallReason | undefined {
    return this.#stalled;
  }

  /** Why this replica ended by itself; undefined while it runs, and when it was closed. */
  get failure(): AntiphonError | undefined {
    return this.#failure;
  }

  get waiting(): readonly Waiting[] {
    return [...this.#waiting.values()];
  }

  get alarms(): readonly { name: string; message: string; sinceMs: number; count: number }[] {
    return [...this.#alarms].map(([name, alarm]) => ({ name, ...alarm }));
  }

  /** Replication goes on; neither stalled nor ending. */
  get replicating(): boolean {
    return this.#state !== 'stalled' && !this.ended;
  }

  get ended(): boolean {
    return this.#state === 'failed' || this.#state === 'closing' || this.#state === 'closed';
  }

  handle(event: LifecycleEvent): void {
    const before = this.#state;
    this.#state = nextState(before, event, this.role);
    if (this.#state === before) return;
    this.logger.debug({ from: before, to: this.#state }, 'lifecycle changed');
    for (const listener of [...this.#listeners]) listener(this.#state);
  }

  /** Replication stops here, or the whole replica, by the code of the error; the first reason is kept. */
  stall(error: AntiphonError): void {
    if (ENDING.has(error.code)) return this.fail(error);
    if (!this.replicating) return;
    this.#stalled = { code: error.code, message: error.message, sinceMs: this.clock.nowMs() };
    this.logger.error({ code: error.code, ...error.context }, `replication stalled: ${error.message}`);
    this.handle('stall');
  }

  /** This replica must not go on: it ends, with this error. */
  fail(error: AntiphonError): void {
    if (this.ended) return;
    this.#failure = error;
    this.#stalled ??= { code: error.code, message: error.message, sinceMs: this.clock.nowMs() };
    this.logger.error({ code: error.code, ...error.context }, `the replica ends: ${error.message}`);
    this.handle('fail');
  }

  onState(listener: (state: LifecycleState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  waitFor(origin: string, expected: number, found: number, reason: string): void {
    const known = this.#waiting.get(origin);
    if (known?.expected === expected || (known === undefined && this.#waiting.size >= MAX_WAITING)) return;
    this.#waiting.set(origin, { origin, expected, found, reason, sinceMs: this.clock.nowMs() });
    this.logger.warn({ origin, expected, found }, `waiting for ${origin}:${expected}: ${reason}`);
  }

  /** What became of the question for a missing transaction. */
  answered(origin: string, expected: number, answer: string): void {
    const known = this.#waiting.get(origin);
    if (known?.expected !== expected || known.answer === answer) return;
    this.#waiting.set(origin, { ...known, answer });
    this.logger.warn({ origin, expected }, `waiting for ${origin}:${expected}: ${answer}`);
  }

  arrived(origin: string): void {
    if (this.#waiting.size > 0) this.#waiting.delete(origin);
  }

  /** Logged when it begins; later only counted. At most MAX_ALARMS kinds are kept. */
  alarm(name: string, message: string): void {
    const known = this.#alarms.get(name);
    if (known !== undefined) {
      known.count++;
      known.message = message;
    } else if (this.#alarms.size < MAX_ALARMS) {
      this.#alarms.set(name, { message, sinceMs: this.clock.nowMs(), count: 1 });
      this.logger.warn({ alarm: name }, message);
    }
  }

  clearAlarm(name: string): void {
    if (this.#alarms.delete(name)) this.logger.info({ alarm: name }, 'alarm is over');
  }
}
