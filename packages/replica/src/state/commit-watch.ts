import { AntiphonError, type Clock, durationText, sentence, type Store } from '@antiphon/core';
import type { Health } from './health.js';

/** The machine's troubles. What a statement or its values are refused for says nothing about it. */
const TROUBLES: ReadonlySet<string> = new Set(['STORE_FULL', 'STORE_UNAVAILABLE', 'STORE_FAILED']);
const ALARM = 'store';
const LOCK_ALARM = 'lock';
/** Another program's transaction may last; that it does is no news before this. */
const LOCK_PATIENCE_MS = 5000;
/** After a commit, nothing need be tried for so long. */
const FRESH_MS = 1000;

export interface Refusable {
  readonly refused?: { readonly error: AntiphonError };
}

/**
 * Whether this database takes commits, as those who commit tell. One that has refused all of them
 * for a while is of no use as the primary.
 */
export class CommitWatch {
  #failure: AntiphonError | undefined;
  #sinceMs = 0;
  #succeededAtMs = -Infinity;
  #trying: Promise<void> | undefined;
  #lockedSinceMs: number | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly health: Health,
    private readonly id: string,
    /** For so long it may pass by itself. Infinity: it matters to nobody. */
    private readonly patienceMs: number,
  ) {}

  /** Why the last commit has failed. That may pass. */
  get failure(): AntiphonError | undefined {
    return this.#failure;
  }

  /** Why nothing is committed here, when that has lasted; undefined while it may pass. */
  get refusal(): AntiphonError | undefined {
    const forMs = this.clock.monotonicMs() - this.#sinceMs;
    if (this.#failure === undefined || forMs < this.patienceMs) return undefined;
    const { code, message } = this.#failure;
    return new AntiphonError(
      code,
      `The database of ${this.id} has committed nothing for ${durationText(forMs)}: ${sentence(message)} ` +
        'Free disk space, or see what is wrong with the file. The replica tries again by itself.',
      { cause: this.#failure, context: { replica: this.id } },
    );
  }

  /** Whatever a commit, or what was to be committed, has failed with. */
  failed(thrown: unknown): void {
    if (this.patienceMs === Infinity || !(thrown instanceof AntiphonError)) return;
    if (!TROUBLES.has(thrown.code)) return;
    if (this.#failure === undefined) this.#sinceMs = this.clock.monotonicMs();
    this.#failure = thrown;
    const { refusal } = this;
    if (refusal !== undefined) this.health.alarm(ALARM, refusal.message);
  }

  succeeded(): void {
    this.#succeededAtMs = this.clock.monotonicMs();
    this.#sawLock(false);
    if (this.#failure === undefined) return;
    this.#failure = undefined;
    this.health.clearAlarm(ALARM);
  }

  /** Now and then, since it may be that nobody commits anything. Does not throw. */
  async look(store: Pick<Store, 'tryCommit' | 'isLocked'>, mayWrite: boolean): Promise<void> {
    // Nobody else may try: writers wait for the next primary then.
    if (this.#failure !== undefined) return this.#tried(() => store.tryCommit());
    try {
      if (!this.isFresh) this.#sawLock(mayWrite && store.isLocked());
    } catch (thrown) {
      this.failed(thrown);
    }
  }

  /**
   * It passes with the other program's transaction, which no other primary could send: this one
   * stays what it is.
   */
  #sawLock(isLocked: boolean): void {
    const nowMs = this.clock.monotonicMs();
    if (!isLocked) {
      if (this.#lockedSinceMs === undefined) return;
      this.#lockedSinceMs = undefined;
      return this.health.clearAlarm(LOCK_ALARM);
    }
    this.#lockedSinceMs ??= nowMs;
    const forMs = nowMs - this.#lockedSinceMs;
    if (forMs < LOCK_PATIENCE_MS) return;
    this.health.alarm(
      LOCK_ALARM,
      `Another program has held the write lock of the database of ${this.id} for ${durationText(forMs)}. ` +
        'Nothing else is written here until it ends its transaction, and what it writes is sent after that. End the transaction, or the program.',
    );
  }

  /** Something was committed within the last second. */
  get isFresh(): boolean {
    return this.clock.monotonicMs() - this.#succeededAtMs <= FRESH_MS;
  }

  async #tried(commit: () => Promise<unknown>): Promise<void> {
    try {
      await commit();
      this.succeeded();
    } catch (thrown) {
      this.failed(thrown);
    }
  }

  /** However many ask: each try waits in the line of the replica's turns. */
  tryOnce(ask: () => Promise<void>): Promise<void> {
    this.#trying ??= ask().finally(() => (this.#trying = undefined));
    return this.#trying;
  }

  /** A try where nothing was committed lately, so that nothing is known of the next one. */
  async probed(commit: () => Promise<unknown>): Promise<void> {
    if (!this.isFresh) await this.#tried(commit);
  }

  /** What applies commits the position as well. Throws what the work does. */
  async applying<T extends Refusable>(work: Promise<T>, position: () => number): Promise<T> {
    const before = position();
    const done = await this.during(work);
    if (position() > before) this.succeeded();
    this.failed(done.refused?.error);
    return done;
  }

  /** Throws what the work does. */
  async during<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (thrown) {
      this.failed(thrown);
      throw thrown;
    }
  }
}
