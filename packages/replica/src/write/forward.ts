import { remoteRef } from '@antiphon/actor';
import {
  abortError,
  type AckLevel,
  AntiphonError,
  mailboxPrefix,
  NOBODY,
  sentence,
  type Timer,
} from '@antiphon/core';
import { absentPrimary } from '../config/absent-primary.js';
import { idFrom } from '../config/ids.js';
import { notWritable } from '../config/not-writable.js';
import { writingPrimary } from '../config/writing-primary.js';
import { isPrimary, type Known, knownOf } from '../state/authority.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { retryDelayMs } from '../wait/deadline.js';
import { type Certainty, certaintyOf } from './certainty.js';
import { hasRun } from './refused.js';
import type { Statement } from './statement.js';
import { outlastingRequest, unknownRequest, whyAskNobodyElse } from './request-id.js';
import type { Executed, Request } from './requests.js';
import type { AskedRequest, WriteOptions } from './write-options.js';
import { traceHeaders } from '../tracing/tracer.js';

/**
 * An answer may have been lost: it is asked for again after so long, twice as long, and so on, and
 * the first one awaited. A primary that is busy for long must not be given ever more to read.
 */
const ASK_AGAIN_MS = 5000;
const LONGEST_PAUSE_MS = 40_000;
/**
 * With less left, nothing is asked once more: nobody could answer in time, and what is certain by
 * then would not be any more.
 */
const SHORTEST_MS = 20;
/** Nobody waits for it: the answer to the request says what came of it. */
const WITHDRAW_MS = 5000;
/** Of the time that is left, what the answer has for its way back. */
const WAY_BACK_SHARE = 0.1;
const WAY_BACK_MS = 250;
/** What a mailbox takes. */
const LONGEST_MS = 300_000;

interface Asked {
  readonly primary: string;
  readonly epoch: number;
}

/** Of its mailbox, what is asked for here. */
interface Primary {
  execute(request: {
    readonly statements: readonly Statement[];
    readonly timeoutMs: number;
    readonly acks?: AckLevel;
    readonly requestId: string;
    readonly forwarded: boolean;
    readonly epoch: number;
    readonly call: string;
    readonly again: boolean;
  }): Executed;
  withdraw(request: { readonly requestId: string; readonly call: string }): void;
}

/** Who is the primary, as somebody has read the log. */

interface Deps {
  /** For when this replica has become the primary itself. */
  readonly here: (options: WriteOptions) => Promise<Executed>;
  /** Monotonic. */
  readonly untilMs: number;
  /** By a client, which may have asked other replicas before. */
  readonly asked?: AskedRequest;
}

/**
 * One request on its way to the primary, whoever that is by then. It is sent again under the same
 * id until an answer is certain or the time is up: the primary writes it once.
 */
export class Forwarding {
  place = -1;
  readonly #startedMs: number;
  /** Names this one: the request may have others, from here and elsewhere. */
  readonly #call: string;
  #hasAsked: boolean;
  /** Some primary may have written it. */
  #isUnclear = false;
  #obstacle: AntiphonError | undefined;
  /** From whoever was asked, and has read further than this replica. */
  #hint: Known | undefined;
  #askedEpoch = Infinity;
  /** Those whose reign ended while they had it. */
  #lostPrimaries: number;
  /** Up to this one a client has counted them. */
  readonly #lostEpoch: number;
  /** Nobody else is asked. */
  #final: AntiphonError | undefined;
  #givenUp: AntiphonError | undefined;
  /** What waits for its turn at the primary never gets it; what it has begun is answered. */
  #withdraw: () => void = () => undefined;
  /** Ends the wait for an answer. */
  #interrupt: () => void = () => undefined;
  /** Ends the wait between two attempts. */
  #wake: () => void = () => undefined;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly request: Request,
    private readonly options: WriteOptions,
    private readonly deps: Deps,
  ) {
    this.#startedMs = scope.clock.monotonicMs();
    const { call = idFrom(scope.clock), again = false } = deps.asked ?? {};
    const { lostPrimaries = 0, lostEpoch = -1 } = deps.asked ?? {};
    this.#call = call;
    this.#hasAsked = again;
    this.#lostPrimaries = lostPrimaries;
    this.#lostEpoch = lostEpoch;
  }

  /** The replica is closing. */
  giveUp(error: AntiphonError): void {
    this.#givenUp ??= error;
    this.#interrupt();
    this.#wake();
  }

  async run(): Promise<Executed> {
    const { authority, clock, closing } = this.scope;
    const { signal } = this.options;
    const stopListening = authority.onChange(({ epoch }) => {
      if (epoch > this.#askedEpoch) this.#interrupt();
      this.#wake();
    });
    const onAbort = (): void => {
      this.#withdraw();
      this.#wake();
    };
    const ends = [closing, ...(signal === undefined ? [] : [signal])];
    for (const end of ends) end.addEventListener('abort', onAbort, { once: true });
    try {
      let attempt = 0;
      for (;;) {
        this.#assertGoingOn();
        const mayWrite = isPrimary(authority);
        const known = this.#known;
        try {
          return await (mayWrite ? this.#here() : this.#attempt(known));
        } catch (thrown) {
          this.#note(thrown, mayWrite);
        }
        const isOver = (): boolean => this.#known.epoch !== known.epoch;
        if (!isOver()) await this.#pause(retryDelayMs(attempt, clock));
        // Waits that have grown were for the last primary: the next one has it within a moment.
        attempt = isOver() ? 0 : attempt + 1;
      }
    } finally {
      stopListening();
      for (const end of ends) end.removeEventListener('abort', onAbort);
    }
  }

  get #leftMs(): number {
    return this.deps.untilMs - this.scope.clock.monotonicMs();
  }

  get #known(): Known {
    const mandate = knownOf(this.scope.authority);
    return this.#hint !== undefined && this.#hint.epoch > mandate.epoch ? this.#hint : mandate;
  }

  #here(): Promise<Executed> {
    const { signal, ...options } = this.options;
    const limit = { timeoutMs: this.#leftMs, ...(signal !== undefined && !this.#isUnclear && { signal }) };
    return this.deps.here({ ...options, ...limit });
  }

  #attempt({ epoch, primary }: Known): Promise<Executed> {
    const { id, cluster, log } = this.scope;
    if (log.connection !== 'connected') return Promise.reject(disconnected(id));
    const isKnown = primary !== undefined && primary !== NOBODY && primary !== id && epoch > 0;
    if (!isKnown) return Promise.reject(notWritable({ cluster, id, primary }));
    return this.#ask(primary, epoch);
  }

  async #ask(primary: string, epoch: number): Promise<Executed> {
    const { bus, cluster } = this.scope;
    const { id, statements } = this.request;
    const { acks } = this.options;
    const mailbox = remoteRef<Primary>(bus, mailboxPrefix(cluster, primary), { headers: traceHeaders });
    const interrupted = new AbortController();
    const { signal } = interrupted;
    this.#interrupt = () => interrupted.abort();
    this.#withdraw = () =>
      void mailbox
        .ask('withdraw', { requestId: id, call: this.#call }, { timeoutMs: WITHDRAW_MS, signal })
        .catch(() => undefined);
    this.#askedEpoch = epoch;
    const askedMs = this.scope.clock.monotonicMs();
    try {
      return await this.#firstAnswer((again) => {
        const leftMs = this.#leftMs;
        const wayBackMs = Math.min(WAY_BACK_MS, leftMs * WAY_BACK_SHARE);
        const timeoutMs = Math.max(1, Math.min(LONGEST_MS, Math.floor(leftMs - wayBackMs)));
        const request = {
          ...{ statements, timeoutMs, requestId: id, forwarded: true, epoch },
          ...{ call: this.#call, again },
          ...(acks !== undefined && { acks }),
        };
        return mailbox.ask('execute', request, { timeoutMs: Math.max(1, Math.ceil(leftMs)), signal });
      });
    } catch (thrown) {
      if (this.#known.epoch > epoch && isUnclear(thrown)) this.#lost({ primary, epoch }, askedMs, thrown);
      throw thrown;
    } finally {
      this.#withdraw = () => undefined;
      interrupted.abort();
    }
  }

  /** Its reign ended while it had the question. One that was killed by chance is not the rule. */
  #lost({ primary, epoch }: Asked, askedMs: number, cause: unknown): void {
    const { clock, limits } = this.scope;
    const openMs = clock.monotonicMs() - askedMs;
    if (epoch > this.#lostEpoch) this.#lostPrimaries++;
    const lost = { primary, openMs, primaries: this.#lostPrimaries };
    const why = whyAskNobodyElse(lost, limits.blockedMs);
    if (why !== undefined) this.#final = outlastingRequest(why, this.request.id, limits.blockedMs, cause);
  }

  /**
   * Of the same question, asked again and again. That nothing was written is an answer only when
   * all of them have it: the primary answers a question while it works on the same one alike, and
   * one that comes later may have written. But what ran, and was refused to a question that says
   * that it is not the first, is refused to all of them, also to one that has yet to come.
   */
  #firstAnswer(ask: (again: boolean) => Promise<Executed>): Promise<Executed> {
    const { clock } = this.scope;
    return new Promise<Executed>((resolve, reject) => {
      let open = 0;
      let pauseMs = ASK_AGAIN_MS;
      let timer: Timer | undefined;
      const ended = (): void => timer?.cancel();
      const failed = (thrown: unknown, wasAgain: boolean): void => {
        open--;
        const isAnswer = thrown instanceof AntiphonError && certaintyOf(thrown) === 'answer';
        if (isAnswer && open > 0 && !(wasAgain && hasRun(thrown))) return;
        if (open > 0 && !isAnswer) this.#isUnclear = true;
        ended();
        reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
      };
      const again = (): void => {
        open++;
        timer = clock.setTimer(pauseMs, again);
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
        const isAgain = this.#hasAsked;
        this.#hasAsked = true;
        ask(isAgain).then(
          (executed) => {
            ended();
            resolve(executed);
          },
          (thrown: unknown) => failed(thrown, isAgain),
        );
      };
      again();
    });
  }

  /** Throws what is an answer to the caller. */
  #note(thrown: unknown, wasHere: boolean): void {
    if (!(thrown instanceof AntiphonError)) throw thrown;
    const certainty = wasHere ? certaintyHere(thrown) : certaintyOf(thrown);
    // Else it says that nothing was written of this attempt, and there were others.
    const isOfAll = !this.#isUnclear || hasRun(thrown);
    // Withdrawn, and who has given up, the caller or this replica, is known here.
    const isWithdrawn = thrown.code === 'ABORTED' && !wasHere;
    if (thrown.context['outlasted'] === true && this.#isUnclear) this.#final = this.#outlasted(thrown);
    if (certainty === 'answer' && isOfAll && !isWithdrawn) throw thrown;
    if (certainty === 'unclear') this.#isUnclear = true;
    this.#obstacle = thrown;
    const { epoch, primary } = thrown.context;
    if (typeof epoch === 'number' && typeof primary === 'string') this.#hint = { epoch, primary };
  }

  /** The last primary may have written it, and this one has lost its lease over it. */
  #outlasted(thrown: AntiphonError): AntiphonError {
    const { id } = this.request;
    const why = `The primary ${String(thrown.context['replica'])} lost its lease while it had the write.`;
    if (thrown.retriable) return unknownRequest(why, id, thrown);
    return outlastingRequest(why, id, this.scope.limits.blockedMs, thrown);
  }

  /** Throws ABORTED, CLOSED, UnknownOutcomeError, and at the deadline what was in the way. */
  #assertGoingOn(): void {
    const { closing, id, health, clock } = this.scope;
    const { signal } = this.options;
    if (this.#final !== undefined) throw this.#final;
    if (this.#isUnclear) {
      if (this.#givenUp !== undefined)
        throw unknownRequest(
          'The replica closed before the primary answered.',
          this.request.id,
          this.#obstacle,
        );
      if (this.#leftMs > 0) return;
      const tookMs = Math.round(clock.monotonicMs() - this.#startedMs);
      throw unknownRequest(
        `The primary gave no certain answer within ${tookMs} ms.${this.#writing}`,
        this.request.id,
        this.#obstacle,
      );
    }
    if (signal?.aborted === true) throw abortError(signal, 'The caller gave up. Nothing was written.');
    if (this.#givenUp !== undefined) throw this.#givenUp;
    if (closing.aborted) {
      const state = health.ended ? health.state : 'closing';
      throw new AntiphonError('CLOSED', `Replica ${id} is ${state}. Nothing was written.`);
    }
    if (this.#leftMs <= (this.#obstacle === undefined ? 0 : SHORTEST_MS)) throw this.#late();
  }

  /** Why it does not answer, where that is known. */
  get #writing(): string {
    const { primary = '' } = this.#known;
    const writingMs = this.scope.members.writingMs(primary);
    return writingMs === undefined ? '' : ` ${writingPrimary(primary, writingMs)}`;
  }

  #late(): AntiphonError {
    const { clock, document, id } = this.scope;
    const within = `Nothing was written within ${Math.round(clock.monotonicMs() - this.#startedMs)} ms`;
    if (this.#obstacle === undefined) return new AntiphonError('TIMEOUT', `${within}. Try again.`);
    const { code, context, retriable } = this.#obstacle;
    const message =
      code === 'NO_ACTOR' ? absentPrimary(this.#known.primary ?? id, document) : this.#obstacle.message;
    return new AntiphonError(code, `${sentence(message)} ${within}.`, {
      ...{ context, retriable },
      cause: this.#obstacle,
    });
  }

  async #pause(delayMs: number): Promise<void> {
    const { clock } = this.scope;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(Math.max(0, Math.min(delayMs, this.#leftMs)), resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

function disconnected(id: string): AntiphonError {
  return new AntiphonError(
    'LOG_UNAVAILABLE',
    `Replica ${id} cannot ask the primary: its connection to NATS is down. Start nats-server. The connection comes back automatically.`,
    { context: { replica: id, started: false } },
  );
}

function isUnclear(thrown: unknown): boolean {
  return thrown instanceof AntiphonError && certaintyOf(thrown) === 'unclear';
}

/** Of what this replica has tried itself. */
function certaintyHere({ code }: AntiphonError): Certainty {
  return code === 'NOT_WRITABLE' ? 'nothing' : 'answer';
}
