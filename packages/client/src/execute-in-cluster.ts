import {
  abortError,
  type AckLevel,
  AntiphonError,
  checkRequired,
  OPTION,
  type OptionNames,
  sentence,
  shownOption,
  sleep,
  systemClock,
  toAntiphonError,
  UnknownOutcomeError,
} from '@antiphon/core';
import { DEFAULT_LIMITS, newId, type Statement, type WriteResult } from '@antiphon/replica';
import {
  assertRequestId,
  assertStatements,
  certaintyOf,
  hasRun,
  IS_UNCLEAR,
  idFrom,
  outlastingRequest,
  unknownRequest,
  whyAskNobodyElse,
} from '@antiphon/replica/internal';
import { chooseReplica, type ChosenReplica, furthestOf, type ReplicaSight } from './choose-replica.js';
import type { ClusterClient } from './cluster-client.js';
import { untilConnected, whyUnsent } from './connection.js';
import { askMember, askMembers } from './member-answers.js';
import { isReplaced, lookAt, type Watched } from './watched-replica.js';

/** How a write is asked for. */
export interface ClusterExecuteOptions {
  /** In milliseconds, from when the first replica is asked. */
  readonly timeoutMs: number;
  /** Ends the wait; what was asked for may still be written. */
  readonly signal?: AbortSignal;
  /** As `acks` of `replica.execute`. */
  readonly acks?: AckLevel;
  /**
   * As `requestId` of `replica.execute`.
   * @defaultValue a new one where the primary may change
   */
  readonly requestId?: string;
  /**
   * Only this one is asked.
   * @defaultValue the one that `chooseReplica` chooses, and another one where it is gone
   */
  readonly replica?: string;
  /** Told of each replica before it is asked. */
  readonly onAsk?: (asked: ChosenReplica) => void;
  /**
   * Says who is asked.
   * @defaultValue `chooseReplica`, which asks all of them for their status
   */
  readonly choose?: () => Promise<ChosenReplica>;
}

/** What was written, and who was asked. */
export interface ExecutedInCluster {
  readonly result: WriteResult<readonly number[]>;
  /** Who has answered. */
  readonly replica: string;
  /** Absent where the primary never changes, and none was given. */
  readonly requestId?: string;
}

type Statements = readonly Statement[];
type Executed = ExecutedInCluster['result'];

const OPTIONS: OptionNames<ClusterExecuteOptions> = {
  ...{ timeoutMs: true, signal: true, acks: true, requestId: true, replica: true, onAsk: true },
  choose: OPTION.callback,
};
/** The answer still has to travel: the replica's own time limit comes first, and says more. */
const ANSWER_MARGIN_MS = 1000;
/** With less left, nobody else is asked. */
const SHORTEST_MS = 20;
/** So often it is looked whether the asked replica is still there. */
const LOOK_MS = 1000;
const PAUSE_MS = 200;
/** So many are asked without a pause. */
const MOST_IN_A_ROW = 2;
/** A replica takes no more. */
const LONGEST_MS = 300_000;
const clock = systemClock();

/**
 * Writes, from outside of the cluster. Where its primary may change, the write has an id: if the
 * replica that was asked is gone, another one is asked under the same id, and it is written once.
 *
 * While NATS is away it waits, and sends nothing.
 *
 * @throws AntiphonError what `chooseReplica` throws, and what the replica answers; LOG_UNAVAILABLE,
 *   ABORTED, CLOSED where nothing was sent. Where the primary may change, UnknownOutcomeError with
 *   the request's id when no answer came in time.
 */
export async function executeInCluster(
  client: ClusterClient,
  statements: Statements,
  options: ClusterExecuteOptions,
): Promise<ExecutedInCluster> {
  checkRequired(options, OPTIONS, 'executeInCluster()', ['timeoutMs']);
  const { requestId, replica } = options;
  assertTime(options.timeoutMs);
  if (requestId !== undefined) assertRequestId(requestId);
  assertStatements(statements);
  assertWanted(options.signal);
  const chosen = replica === undefined ? await choiceOf(client, options) : await named(client, replica);
  const status = replica === undefined ? chosen.status : await statusOfAny(client, replica);
  if (status?.epoch !== undefined) {
    // Requests are dated: the clock of this machine may be behind.
    const nowMs = (): number => Math.max(Date.now(), status.nowMs);
    const id = requestId ?? idFrom({ nowMs, random: Math.random });
    return new ClusterWrite(client, { id, statements }, options, status).run(chosen);
  }
  const result = await askOnlyOne(client, chosen, statements, options);
  return { result, replica: chosen.id, ...(requestId && { requestId }) };
}

/** Nobody else can be asked, and what may have come there is not sent again. */
async function askOnlyOne(
  client: ClusterClient,
  chosen: ChosenReplica,
  statements: Statements,
  { requestId, onAsk, signal, acks, ...limits }: ClusterExecuteOptions,
): Promise<Executed> {
  const untilMs = clock.monotonicMs() + limits.timeoutMs;
  const leftMs = (): number => Math.max(1, Math.ceil(untilMs - clock.monotonicMs()));
  const wasAway = whyUnsent(client) !== undefined;
  for (;;) {
    await untilConnected(client, { timeoutMs: leftMs(), signal });
    const unsent = whyUnsent(client);
    if (unsent !== undefined) throw unsent;
    onAsk?.(chosen);
    const timeoutMs = leftMs();
    const request = { statements, timeoutMs, ...(acks && { acks }), ...(requestId && { requestId }) };
    const wait = { timeoutMs: timeoutMs + ANSWER_MARGIN_MS, ...(signal && { signal }) };
    try {
      return await chosen.ref.ask('execute', request, wait);
    } catch (thrown) {
      const error = withItsId(ofQuestion(thrown, signal), requestId);
      if (certaintyOf(error) === 'unclear') throw unclear(error);
      // The replica connects again as well, and perhaps a moment later.
      if (!wasAway || error.code !== 'NO_ACTOR' || leftMs() <= PAUSE_MS) throw error;
      await sleep(clock, PAUSE_MS, signal).catch(() => undefined);
      assertWanted(signal);
    }
  }
}

/** What the caller's signal gives as its reason says nothing about the write. */
function ofQuestion(thrown: unknown, signal: AbortSignal | undefined): AntiphonError {
  const error = toAntiphonError(thrown);
  if (signal?.aborted !== true || error.context['remoteCode'] !== undefined) return error;
  return new AntiphonError('ABORTED', sentence(error.message), { cause: error });
}

/** Without an id nobody can find out what became of it, nor write it again without risk. */
function unclear(error: AntiphonError): AntiphonError {
  const { code, message, context, cause } = error;
  if (context['remoteCode'] !== undefined) return error;
  const whole = `${sentence(message)} ${IS_UNCLEAR} Look before you write it again.`;
  return new AntiphonError(code, whole, { cause, context, retriable: false });
}

/** Throws BAD_OPTION. */
function assertTime(timeoutMs: unknown): void {
  if (typeof timeoutMs === 'number' && timeoutMs > 0 && timeoutMs <= LONGEST_MS) return;
  const message = `\`timeoutMs\` is ${shownOption(timeoutMs)}. Give milliseconds above 0, at most ${LONGEST_MS}.`;
  throw new AntiphonError('BAD_OPTION', message);
}

/** Throws ABORTED. */
function assertWanted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortError(signal, 'The caller gave up. Nothing was written.');
}

function choiceOf(client: ClusterClient, { choose }: ClusterExecuteOptions): Promise<ChosenReplica> {
  return choose?.() ?? chooseReplica(client, undefined, 'write');
}

function named(client: ClusterClient, replica: string): Promise<ChosenReplica> {
  return chooseReplica(client, replica, 'write');
}

/** In a long write it answers nobody: then others know whether the primary may change. */
async function statusOfAny(client: ClusterClient, id: string): Promise<ReplicaSight | undefined> {
  const { status } = await askMember(client, id);
  return status ?? furthestOf((await askMembers(client)).flatMap((answer) => answer.status ?? []));
}

interface Request {
  readonly id: string;
  readonly statements: Statements;
}

interface Asked {
  readonly replica: ChosenReplica;
  readonly known: Watched;
  readonly isPrimary: boolean;
  /** The epoch that was known then. */
  readonly epoch: number;
  readonly sinceMs: number;
}

/** One request, of one replica after the other, until an answer is certain or the time is up. */
class ClusterWrite {
  readonly #startedMs = clock.monotonicMs();
  /** Names this one: the request may have others. */
  readonly #call = newId();
  #questions = 0;
  /** Somebody may have written it. */
  #isUnclear = false;
  #obstacle: AntiphonError | undefined;
  /** The epoch in which it was sent first. */
  #firstEpoch: number | undefined;
  /** Those that are gone, and had it. */
  #lostPrimaries = 0;
  /** Of the last of them, which others need not count again. */
  #lostEpoch: number | undefined;
  /** The one that was asked last has gone, and not only the connection to it. */
  #hasGone = false;

  constructor(
    private readonly client: ClusterClient,
    private readonly request: Request,
    private readonly options: ClusterExecuteOptions,
    private readonly status: ReplicaSight,
  ) {}

  async run(first: ChosenReplica): Promise<ExecutedInCluster> {
    let asked = askedOf(first, this.status);
    for (;;) {
      const { id } = asked.replica;
      try {
        return { result: this.#ofThisCall(await this.#ask(asked)), replica: id, requestId: this.request.id };
      } catch (thrown) {
        this.#note(toAntiphonError(thrown));
      }
      if (this.options.replica !== undefined) throw this.#end(`${id} is gone, and has not answered.`);
      asked = await this.#next(asked);
    }
  }

  get #leftMs(): number {
    return this.#startedMs + this.options.timeoutMs - clock.monotonicMs();
  }

  async #ask({ replica, known, epoch }: Asked): Promise<Executed> {
    this.#hasGone = false;
    const { nats } = this.client;
    const unsent = whyUnsent(this.client);
    if (unsent !== undefined) throw unsent;
    this.options.onAsk?.(replica);
    this.#firstEpoch ??= epoch;
    const { acks, signal } = this.options;
    const { id: requestId, statements } = this.request;
    const timeoutMs = Math.max(1, Math.ceil(this.#leftMs));
    const request = {
      ...{ statements, timeoutMs, requestId, ...(acks && { acks }) },
      ...{ call: this.#call, again: this.#questions > 0, lostPrimaries: this.#lostPrimaries },
      ...(this.#lostEpoch !== undefined && { lostEpoch: this.#lostEpoch }),
    };
    this.#questions++;
    const over = new AbortController();
    const gone = new AbortController();
    void this.#watch(known, over.signal).then((isOver) => isOver && gone.abort());
    const ends = [gone.signal, ...(signal === undefined ? [] : [signal])];
    const wait = { timeoutMs: timeoutMs + ANSWER_MARGIN_MS, signal: AbortSignal.any(ends) };
    const { reconnects } = nats;
    try {
      return await replica.ref.ask('execute', request, wait);
    } catch (thrown) {
      throw ofQuestion(thrown, signal);
    } finally {
      over.abort();
      // After a restart of NATS nobody listens yet, and all are there.
      this.#hasGone = gone.signal.aborted && nats.status === 'connected' && nats.reconnects === reconnects;
    }
  }

  /** Whether it is gone; false once nobody needs to know any more. */
  async #watch(known: Watched, over: AbortSignal): Promise<boolean> {
    for (;;) {
      await sleep(clock, LOOK_MS, over).catch(() => undefined);
      if (over.aborted) return false;
      // What cannot be found out now is looked at again.
      if (await this.#isGone(known).catch(() => false)) return !over.aborted;
    }
  }

  /** One that was named may take its time: nobody else is asked in its place. */
  async #isGone(known: Watched): Promise<boolean> {
    const sight = await lookAt(this.client, known, LOOK_MS);
    if (sight !== 'silent' || this.options.replica !== undefined) return sight === 'gone';
    return isReplaced(this.client, known, LOOK_MS);
  }

  /** Throws what is an answer to the caller. */
  #note(error: AntiphonError): void {
    const certainty = certaintyOf(error);
    const isOfReplica = error.context['remoteCode'] !== undefined;
    if (certainty === 'answer' && (!this.#isUnclear || hasRun(error))) throw error;
    // It has asked whoever there is itself.
    if (error.code === 'OUTCOME_UNKNOWN' && isOfReplica) throw withItsId(error, this.request.id);
    if (certainty === 'unclear') this.#isUnclear = true;
    this.#obstacle = error;
    if (this.options.signal?.aborted === true) throw this.#end('The wait for an answer was ended.');
  }

  async #next(last: Asked): Promise<Asked> {
    for (;;) {
      if (this.#leftMs <= SHORTEST_MS || this.options.signal?.aborted === true) throw this.#late();
      const { signal } = this.options;
      await untilConnected(this.client, { timeoutMs: this.#leftMs, signal }).catch(() => undefined);
      const unsent = whyUnsent(this.client);
      if (unsent !== undefined) throw this.#givenUp(unsent);
      const replica = await choiceOf(this.client, this.options).catch(() => undefined);
      if (replica?.status !== undefined && replica.status.instance !== last.known.instance) {
        this.#assertNotFatal(last, replica.status);
        await this.#restAfter(last);
        const instead = `${last.replica.id} does not answer any more. ${replica.id} is asked under the same id.`;
        return askedOf({ ...replica, instead }, replica.status);
      }
      await sleep(clock, Math.min(PAUSE_MS, Math.max(1, this.#leftMs)));
      // It was away for a moment, or nobody is there yet.
      if (replica?.status !== undefined) return askedOf(replica, replica.status);
    }
  }

  /**
   * It may be what ends one primary after the other, as far as an epoch says so: one that does not
   * answer may be there all the time. Throws UnknownOutcomeError.
   */
  #assertNotFatal(last: Asked, { epoch }: ReplicaSight): void {
    if (!this.#isUnclear || epoch === undefined || this.#firstEpoch === undefined) return;
    const { id } = last.replica;
    const isReplaced = epoch.number > last.epoch;
    if ((isReplaced || this.#hasGone) && (last.isPrimary || epoch.primary === id)) {
      this.#lostPrimaries++;
      this.#lostEpoch = last.isPrimary ? last.epoch : epoch.number;
    }
    const epochs = epoch.number - this.#firstEpoch;
    if (epochs <= 0) return;
    const primaries = Math.max(this.#lostPrimaries, epochs);
    const { blockedMs } = DEFAULT_LIMITS;
    const lost = { primary: id, openMs: clock.monotonicMs() - last.sinceMs, primaries };
    const why = whyAskNobodyElse(lost, blockedMs);
    if (why !== undefined) throw outlastingRequest(why, this.request.id, blockedMs, this.#obstacle);
  }

  /** After a restart of NATS nobody listens for a moment, and each says so at once. */
  async #restAfter({ sinceMs }: Asked): Promise<void> {
    if (this.#questions <= MOST_IN_A_ROW) return;
    const restMs = Math.min(PAUSE_MS - (clock.monotonicMs() - sinceMs), this.#leftMs);
    if (restMs > 0) await sleep(clock, restMs);
  }

  /** Nothing more can be sent. */
  #givenUp(unsent: AntiphonError): AntiphonError {
    if (!this.#isUnclear) this.#obstacle = unsent;
    return unsent.code === 'CLOSED' ? this.#end('The client was closed.') : this.#late();
  }

  #late(): AntiphonError {
    const tookMs = Math.round(clock.monotonicMs() - this.#startedMs);
    return this.#end(`No replica gave a certain answer within ${tookMs} ms.`);
  }

  /** `why`: a sentence. */
  #end(why: string): AntiphonError {
    const { signal } = this.options;
    if (!this.#isUnclear && signal?.aborted === true)
      return abortError(signal, 'The caller gave up. Nothing was written.');
    if (!this.#isUnclear && this.#obstacle !== undefined) return this.#obstacle;
    return unknownRequest(why, this.request.id, this.#obstacle);
  }

  /** Of an id that nobody else has, only this call can have written it before. */
  #ofThisCall({ repeated, ...result }: Executed): Executed {
    return repeated === true && this.options.requestId !== undefined ? { ...result, repeated } : result;
  }
}

/**
 * An unknown outcome that a replica tells of has lost its class on the way, and with it the `id`
 * that callers ask again under: without one, they would write twice.
 */
function withItsId(error: AntiphonError, requestId: string | undefined): AntiphonError {
  const { code, message, context } = error;
  const id = requestId ?? context['id'];
  if (code !== 'OUTCOME_UNKNOWN' || typeof id !== 'string') return error;
  return new UnknownOutcomeError(message, id, { cause: error, context });
}

function askedOf(replica: ChosenReplica, status: ReplicaSight): Asked {
  const { id, instance, epoch } = status;
  const known = { id: replica.id, ...(id === replica.id && { instance }) };
  const isPrimary = epoch?.primary === replica.id;
  return { replica, known, isPrimary, epoch: epoch?.number ?? 0, sinceMs: clock.monotonicMs() };
}
