import { abortError, AntiphonError, type Clock, sentence, sleep, toAntiphonError } from '@antiphon/core';
import type { BalanceSettings } from './balance-options.js';
import type { CircuitEvent } from './circuit.js';
import { eligible, type Eligible, type ReadNeeds } from './eligibility.js';
import { choose, type Credits } from './policies.js';
import type { ReplicaTable } from './replica-table.js';

/** One read, whoever answers it. */
export interface Read<T> {
  /** Sends it. `isLast()`: nobody else is left, so it may wait for as long as it has. */
  ask(
    id: string,
    limits: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly isLast: () => boolean },
  ): Promise<T>;
  readonly needs: Omit<ReadNeeds, 'tried' | 'zone'>;
  /** What says nothing about the replica, only that it cannot serve this. */
  readonly isNotServed?: (error: AntiphonError) => boolean;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Answered<T> {
  readonly value: T;
  /** Who has answered. */
  readonly replica: string;
}

/** Who would get a read, and why not the others. */
export interface ReadChoice extends Eligible {
  readonly replica: string | undefined;
}

/** Between two rounds, in which everybody who may serve the read was asked. */
const ROUND_PAUSE_MS = 50;
/** With less left, nobody else is asked. */
const SHORTEST_MS = 20;
/** Of all reads, so many may be hedged. */
const HEDGED_SHARE = 0.1;
const MOST_HEDGE_CREDIT = 10;

/**
 * What an error says of the one that was asked. `answer`: it is the caller's. `elsewhere`: this
 * replica cannot serve this read, and is well. `failed`, `gone`: as for its circuit.
 */
type Verdict = 'answer' | 'elsewhere' | 'failed' | 'gone';

const ELSEWHERE: ReadonlySet<string> = new Set([
  ...['NOT_IN_SYNC', 'NOT_WRITABLE', 'OVERLOADED', 'LOG_UNAVAILABLE', 'LOG_REPLACED', 'SCHEMA_DRIFT'],
]);
const FAILED: ReadonlySet<string> = new Set([
  ...['STORE_BUSY', 'STORE_FULL', 'STORE_UNAVAILABLE', 'STORE_CORRUPT', 'STORE_FAILED', 'STORE_CONTENT'],
  ...['STORE_REPLACED', 'INTERNAL', 'REMOTE'],
]);

/** Sends each read to one replica, and to the next one where that has gone or cannot serve it. */
export class ReadRouter {
  readonly #credits: Credits = new Map();
  #hedgeCredit = 1;

  constructor(
    private readonly table: ReplicaTable,
    private readonly settings: BalanceSettings,
    private readonly clock: Clock,
    private readonly random: () => number = Math.random,
  ) {}

  /** Asks nobody, and takes nobody's turn. */
  explain(needs: Read<unknown>['needs']): ReadChoice {
    return this.#choose(needs, new Set(), new Map(this.#credits));
  }

  #choose(needs: Read<unknown>['needs'], tried: ReadonlySet<string>, credits = this.#credits): ReadChoice {
    const found = this.#eligible(needs, tried);
    return { ...found, replica: choose(this.settings.policy, found.replicas, credits, this.random)?.id };
  }

  #eligible(needs: Read<unknown>['needs'], tried: ReadonlySet<string>): Eligible {
    const { zone } = this.settings;
    const wanted: ReadNeeds = { ...needs, ...(zone !== undefined && { zone }), tried };
    return eligible(this.table.views(), wanted, this.settings);
  }

  /**
   * @throws AntiphonError what the replica answers; NO_ACTOR, OVERLOADED, TIMEOUT and others with
   *   the last obstacle when nobody could serve the read in time; ABORTED
   */
  async read<T>(read: Read<T>): Promise<Answered<T>> {
    this.#hedgeCredit = Math.min(MOST_HEDGE_CREDIT, this.#hedgeCredit + HEDGED_SHARE);
    const untilMs = this.clock.monotonicMs() + read.timeoutMs;
    const leftMs = (): number => untilMs - this.clock.monotonicMs();
    let tried = new Set<string>();
    let obstacle: AntiphonError | undefined;
    for (;;) {
      if (read.signal?.aborted === true) throw abortError(read.signal, 'The caller gave up the read.');
      const choice = this.#choose(read.needs, tried);
      if (choice.replica === undefined) {
        obstacle ??= nobodyServes(choice, read.needs);
        if (leftMs() <= ROUND_PAUSE_MS) throw obstacle;
        await this.#pause(read.signal);
        tried = new Set();
        continue;
      }
      // Too little for any answer: it would only say that the query takes longer than that.
      if (obstacle !== undefined && leftMs() <= SHORTEST_MS) throw obstacle;
      tried.add(choice.replica);
      try {
        return await this.#hedged(read, choice.replica, leftMs, tried);
      } catch (thrown) {
        const error = toAntiphonError(thrown);
        obstacle = this.#note(read.needs.primaryOnly ? unlessDeposed(error) : error, leftMs());
      }
    }
  }

  /** Throws what is the caller's. */
  #note(error: AntiphonError, leftMs: number): AntiphonError {
    const { context } = error;
    const { primary, epoch } = context;
    if (typeof primary === 'string' && typeof epoch === 'number')
      this.table.learnPrimary({ id: primary, epoch });
    if (verdictOf(error) === 'answer' || leftMs <= 0) throw error;
    return error;
  }

  async #hedged<T>(
    read: Read<T>,
    first: string,
    leftMs: () => number,
    tried: Set<string>,
  ): Promise<Answered<T>> {
    const { hedgeAfterMs } = this.settings;
    const isLast = (): boolean => this.#eligible(read.needs, tried).replicas.length === 0;
    if (hedgeAfterMs === undefined || isLast()) return this.#ask(read, first, leftMs(), isLast);
    const ended = new AbortController();
    const ask = (id: string): Promise<Answered<T>> => this.#ask(read, id, leftMs(), isLast, ended.signal);
    try {
      const asked = ask(first);
      const settled = await Promise.race([
        asked.then(
          () => true,
          () => true,
        ),
        sleep(this.clock, hedgeAfterMs, ended.signal).then(
          () => false,
          () => true,
        ),
      ]);
      const second = settled || this.#hedgeCredit < 1 ? undefined : this.#choose(read.needs, tried).replica;
      if (second === undefined) return await asked;
      this.#hedgeCredit -= 1;
      tried.add(second);
      return await firstOf([asked, ask(second)]);
    } finally {
      ended.abort();
    }
  }

  /** One question to one replica. It is given up when the replica has gone. */
  async #ask<T>(
    read: Read<T>,
    id: string,
    timeoutMs: number,
    isLast: () => boolean,
    cancelled?: AbortSignal,
  ): Promise<Answered<T>> {
    const { clock, table, settings } = this;
    const over = new AbortController();
    let isGone = false;
    const stopWatching = table.watch(id, settings.silenceMs, () => {
      isGone = true;
      over.abort();
    });
    const stopFollowing = [follow(cancelled, over), follow(read.signal, over)];
    const startedMs = clock.monotonicMs();
    const ended = table.sent(id);
    let event: CircuitEvent | undefined;
    try {
      const value = await read.ask(id, {
        timeoutMs: Math.max(1, Math.ceil(timeoutMs)),
        signal: over.signal,
        isLast,
      });
      event = 'answered';
      return { value, replica: id };
    } catch (thrown) {
      const error = toAntiphonError(thrown);
      if (cancelled?.aborted === true || read.signal?.aborted === true) throw error;
      if (isGone) {
        event = 'failed';
        throw hasGone(id, error);
      }
      event = read.isNotServed?.(error) === true ? undefined : eventOf(error);
      throw error;
    } finally {
      stopWatching();
      for (const stop of stopFollowing) stop?.();
      ended(event, clock.monotonicMs() - startedMs);
    }
  }

  /** Until something is heard of a replica, or for a moment. */
  async #pause(signal: AbortSignal | undefined): Promise<void> {
    const over = new AbortController();
    const stop = this.table.onChange(() => over.abort());
    const signals = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
    await sleep(this.clock, ROUND_PAUSE_MS, signals).catch(() => undefined);
    stop();
  }
}

/** `AbortSignal.any` costs more, and there is one for every read. */
function follow(outer: AbortSignal | undefined, inner: AbortController): (() => void) | undefined {
  if (outer === undefined) return undefined;
  const onAbort = (): void => inner.abort(outer.reason);
  if (outer.aborted) onAbort();
  else outer.addEventListener('abort', onAbort, { once: true });
  return () => outer.removeEventListener('abort', onAbort);
}

/** The first answer; the last error where there is none. */
async function firstOf<T>(asked: readonly Promise<T>[]): Promise<T> {
  try {
    return await Promise.any(asked);
  } catch (thrown) {
    throw thrown instanceof AggregateError ? (thrown.errors.at(-1) as unknown) : thrown;
  }
}

function verdictOf({ code, context }: AntiphonError): Verdict {
  const isOfReplica = context['remoteCode'] !== undefined;
  if (code === 'NO_ACTOR' || code === 'CLOSED' || code === 'ACTOR_STOPPED') return 'gone';
  // The replica has read on, and did not get as far as the read needs within its time.
  if (code === 'TIMEOUT' && context['behind'] === true) return 'elsewhere';
  if (!isOfReplica && (code === 'TIMEOUT' || code === 'ABORTED')) return 'failed';
  if (!isOfReplica && code === 'LOG_UNAVAILABLE') return 'elsewhere';
  if (ELSEWHERE.has(code)) return 'elsewhere';
  return FAILED.has(code) ? 'failed' : 'answer';
}

/**
 * Who was asked as the primary, and has heard that it is not, says that it cannot promise what is
 * asked for: right for itself, and no mistake of the caller's.
 */
function unlessDeposed(error: AntiphonError): AntiphonError {
  const { code, context } = error;
  if (code !== 'NOT_PRIMARY' || typeof context['epoch'] !== 'number') return error;
  const message =
    `${String(context['replica'])} is not the primary any more, which a strong read needs. ` +
    'Which replica is the primary is being decided. Call again in a moment.';
  return new AntiphonError('NOT_IN_SYNC', message, { cause: error, context });
}

function eventOf(error: AntiphonError): CircuitEvent | undefined {
  const verdict = verdictOf(error);
  if (verdict === 'gone' || verdict === 'failed') return verdict;
  return error.context['remoteCode'] === undefined ? undefined : 'answered';
}

function hasGone(id: string, cause: AntiphonError): AntiphonError {
  return new AntiphonError('TIMEOUT', `${id} has gone, and has not answered. See \`antiphon status\`.`, {
    ...{ cause, context: { replica: id } },
  });
}

function nobodyServes({ passedOver }: Eligible, { primaryOnly }: Read<unknown>['needs']): AntiphonError {
  const why = passedOver.map((one) => sentence(one.why)).join(' ');
  const isFull = passedOver.some(({ reason }) => reason === 'full');
  const what = primaryOnly
    ? 'No primary is known that could serve the read.'
    : 'No replica can serve the read.';
  const message = `${what} ${why === '' ? 'None is a member of the cluster.' : why} See \`antiphon status\`.`;
  return new AntiphonError(isFull ? 'OVERLOADED' : 'NO_ACTOR', message, { retriable: true });
}

/** For `--explain`, and for logs. */
export function explained(
  { replica, replicas, passedOver, despite }: ReadChoice,
  policy: string,
): readonly string[] {
  const chosen =
    replica === undefined
      ? 'Nobody can serve it.'
      : `${replica} is asked: ${policy} among ${replicas.map(({ id }) => id).join(', ')}.`;
  return [chosen, ...(despite === undefined ? [] : [despite]), ...passedOver.map(({ why }) => why)];
}
