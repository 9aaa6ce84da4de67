import type { SpanContext } from '@opentelemetry/api';
import {
  abortError,
  type AckLevel,
  AntiphonError,
  type Clock,
  ConflictError,
  type Timer,
  UnknownOutcomeError,
  sentence,
} from '@antiphon/core';
import type { WriteResult } from '../state/write-result.js';

/**
 * Where a write stands, and so what its caller is told when the time is up. `waiting`: nothing of
 * it is anywhere. `running`: its function has begun to run, and nobody but its group decides
 * whether that stays. `published`: the log may hold it. `committed`: it is in the log for good, and
 * acknowledgements are coming in; or in this database, if it concerns no other.
 */
type Phase =
  | { readonly type: 'waiting' | 'running'; readonly why: AntiphonError | undefined }
  | { readonly type: 'published'; readonly id: string; readonly why?: AntiphonError }
  | { readonly type: 'committed'; readonly result: () => WriteResult<unknown> }
  | { readonly type: 'settled' };

export interface SyncWriteOptions {
  readonly acks: AckLevel;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Why it has not begun, when nobody has told it, after so long. */
  readonly inTheWay?: (waitedMs: number) => AntiphonError | undefined;
  /** The span of its commit: what follows from it goes on with it. */
  readonly trace?: SpanContext | undefined;
}

/**
 * One synchronous write, from its call to its outcome. Settled exactly once, at its deadline at the
 * latest, or when its group is decided if its function has begun to run by then.
 */
export class SyncWrite {
  place = -1;
  readonly promise: Promise<WriteResult<unknown>>;
  readonly acks: AckLevel;
  readonly trace: SpanContext | undefined;
  readonly submittedAtMs: number;
  /** Times that certification rejected it for a conflict of its own. */
  conflicts = 0;
  /** It writes only to what is not replicated: for a transaction of its own. */
  alone = false;
  /** The last group ended before it: it goes before all that came later. */
  leftOut = false;
  /** What it needs of a message, once it was left out of one. */
  knownBytes = 0;
  /** Not run again before; monotonic. */
  notBeforeMs = 0;
  #phase: Phase = { type: 'waiting', why: undefined };
  /** Its time was up, or its replica was closed, while it ran: told once its group is decided. */
  #late: (() => void) | undefined;
  /** The last conflict of its own: what it waits for when nothing else is in its way. */
  #conflict: ConflictError | undefined;
  #resolve: (result: WriteResult<unknown>) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  readonly #inTheWay: NonNullable<SyncWriteOptions['inTheWay']>;
  readonly #timer: Timer;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#abort();

  constructor(
    private readonly work: (tx: unknown) => unknown,
    { acks, timeoutMs, signal, inTheWay = () => undefined, trace }: SyncWriteOptions,
    private readonly clock: Clock,
  ) {
    this.acks = acks;
    this.trace = trace;
    this.#inTheWay = inTheWay;
    this.submittedAtMs = clock.monotonicMs();
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#timer = clock.setTimer(timeoutMs, () =>
      this.#expire(`The log did not answer within ${Math.round(timeoutMs)} ms.`, timeoutMs),
    );
    this.#signal = signal;
    if (signal?.aborted === true) this.#abort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get settled(): boolean {
    return this.#phase.type === 'settled';
  }

  /** Its function has run, and nobody waits for it any more: its group is better undone. */
  get expired(): boolean {
    return this.#late !== undefined;
  }

  get ageMs(): number {
    return this.clock.monotonicMs() - this.submittedAtMs;
  }

  /**
   * In the database's transaction. From here on it is settled only by what becomes of its group, so
   * that nobody is told that nothing was kept of what is sent a moment later. Throws when its
   * caller was told that before.
   */
  readonly run = (tx: unknown): unknown => {
    // It runs again: what it did before was undone, with another one of its group.
    this.undone();
    if (this.settled)
      throw new AntiphonError('ABORTED', 'Nobody waits for this write any more. It does not run.');
    if (this.#phase.type === 'waiting') this.#phase = { ...this.#phase, type: 'running' };
    return this.work(tx);
  };

  /** It has run, and nothing of that was kept. */
  undone(): void {
    if (this.#phase.type === 'running') this.waits(this.#phase.why);
  }

  /** Nothing of it is anywhere; `why` is what it waits for, for the error at its deadline. */
  waits(why?: AntiphonError): void {
    if (this.settled) return;
    if (why instanceof ConflictError) this.#conflict = why;
    this.#become({ type: 'waiting', why: why ?? this.#conflict });
    // Its caller gave up while it ran or the log was asked, and would not have it run again.
    if (this.#signal?.aborted === true) this.#abort();
  }

  published(id: string): void {
    this.#become({ type: 'published', id });
  }

  /** `result` says what has been reached so far. */
  committed(result: () => WriteResult<unknown>): void {
    this.#become({ type: 'committed', result });
  }

  complete(result: WriteResult<unknown>): void {
    if (this.#end()) this.#resolve(result);
  }

  /** Also with what its function threw, as it is. */
  reject(error: unknown): void {
    if (this.#end()) this.#reject(error);
  }

  /** The log has it, and this database does not take it now. */
  held(why: AntiphonError): void {
    if (this.#phase.type === 'published') this.#phase = { ...this.#phase, why };
  }

  /** The replica is closing: says what is known. */
  giveUp(error: AntiphonError): void {
    if (this.#phase.type === 'waiting') return this.reject(error);
    if (this.#phase.type === 'running') this.#late ??= () => this.giveUp(error);
    this.#expire('The replica closed before the log answered.');
  }

  /** `what` happened before the log answered. */
  #expire(what: string, timeoutMs = this.ageMs): void {
    const phase = this.#phase;
    if (phase.type === 'committed') return this.complete(phase.result());
    if (phase.type === 'published') {
      const { id, why } = phase;
      return this.reject(
        unknown(id, why === undefined ? what : `The log has the write. ${sentence(why.message)}`, why),
      );
    }
    if (phase.type === 'running') this.#late ??= () => this.#expire(what, timeoutMs);
    if (phase.type === 'waiting') this.reject(rejected(timeoutMs, phase.why ?? this.#inTheWay(this.ageMs)));
  }

  /** What has come too early for the phase before is told in this one. */
  #become(phase: Phase): void {
    if (this.settled) return;
    this.#phase = phase;
    const late = this.#late;
    this.#late = undefined;
    late?.();
  }

  /**
   * A write that has begun to run, or may be in the log, cannot be called back: its caller learns
   * what became of it.
   */
  #abort(): void {
    if (this.#phase.type !== 'waiting') return;
    this.reject(abortError(this.#signal, 'The caller gave up. Nothing of the write was kept.'));
  }

  #end(): boolean {
    if (this.settled) return false;
    this.#phase = { type: 'settled' };
    this.#timer.cancel();
    this.#signal?.removeEventListener('abort', this.#onAbort);
    return true;
  }
}

function rejected(timeoutMs: number, why: AntiphonError | undefined): AntiphonError {
  const within = `Nothing was written within ${Math.round(timeoutMs)} ms`;
  if (why instanceof ConflictError)
    return new ConflictError(`${sentence(why.message)} ${within}.`, why.details, { cause: why });
  if (why !== undefined) {
    const { code, context, retriable } = why;
    return new AntiphonError(code, `${sentence(why.message)} ${within}.`, { cause: why, context, retriable });
  }
  return new AntiphonError('TIMEOUT', `${within}: other writes were before it. Try again.`);
}

function unknown(id: string, what: string, cause: AntiphonError | undefined): UnknownOutcomeError {
  return new UnknownOutcomeError(
    `${what} The write may or may not be committed. ` +
      `Ask \`antiphon outcome ${id}\` or replica.outcome('${id}') before writing it again.`,
    id,
    { cause },
  );
}
