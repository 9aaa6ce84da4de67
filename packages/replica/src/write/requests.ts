import { AntiphonError, type Clock, type Store, UnknownOutcomeError } from '@antiphon/core';
import { notWritable } from '../config/not-writable.js';
import { placeBefore } from '../state/session.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import type { WriteResult } from '../state/write-result.js';
import type { LocalWriteOptions } from './local-write.js';
import { hasRun, Refused } from './refused.js';
import { timeOf, unknownRequest } from './request-id.js';
import { runStatements, type SqlTransaction, type Statement } from './statement.js';
import type { AskedRequest, WriteOptions } from './write-options.js';

export type Executed = WriteResult<readonly number[]>;

/** A request that may come more than once, and is written once. */
export interface Request extends Pick<AskedRequest, 'epoch' | 'call' | 'again'> {
  readonly id: string;
  readonly statements: readonly Statement[];
}

/** A request may be repeated for so long. */
export const REPEATABLE_MS = 3_600_000;
/** Of two machines that take turns as the primary, one clock may be behind. */
const CLOCKS_APART_MS = 600_000;
const FORGET_MS = 60_000;
/** In one transaction. */
const FORGOTTEN_ROWS = 1000;

/** What ends in time answers within it. */
const ANSWER_MS = 100;

interface UnderWay {
  readonly epoch: number | undefined;
  readonly answer: Promise<Executed>;
  readonly withdrawal: AbortController;
  /** By the call that it is for. */
  isAskedAgain: boolean;
}

interface Deps {
  readonly write: (run: (tx: unknown) => readonly number[], options: WriteOptions) => Promise<Executed>;
  /**
   * Of a primary that has lost its lease: until it has one again. What is left of the time; throws
   * NOT_WRITABLE when another replica is the primary.
   */
  readonly untilLeased: (limit: LocalWriteOptions) => Promise<LocalWriteOptions>;
}

/**
 * Requests with an id, on the primary: a row in the transaction of the first one says to all later
 * ones, here and on every primary that follows, that it was written, and what came of it.
 */
export class Requests {
  /** By id: the newest one of those that have no answer. */
  readonly #underWay = new Map<string, UnderWay>();
  /** Of other replicas. */
  readonly #calls = new Map<string, UnderWay>();
  readonly #refused: Refused;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly deps: Deps,
  ) {
    this.#refused = new Refused(scope.clock, REPEATABLE_MS + CLOCKS_APART_MS);
  }

  /**
   * One after the other: what is answered to a later one is also true of those before it.
   *
   * @throws what the write throws; BAD_OPTION
   */
  async once(request: Request, options: WriteOptions): Promise<Executed> {
    const { clock, limits } = this.scope;
    const untilMs = clock.monotonicMs() + (options.timeoutMs ?? limits.writeTimeoutMs);
    const call = callOf(request);
    const refusal = call === undefined ? undefined : this.#refused.find(call, request.epoch);
    if (refusal !== undefined) throw refusal;
    const joined = call === undefined ? undefined : this.#calls.get(call);
    // Asked again by whoever has forwarded it, and has no answer yet.
    if (joined !== undefined && joined.epoch === request.epoch) {
      joined.isAskedAgain = true;
      return this.#joined(joined.answer, request, untilMs);
    }
    const withdrawal = new AbortController();
    const signals = [options.signal, withdrawal.signal].filter((signal) => signal !== undefined);
    const withdrawable = { ...options, signal: AbortSignal.any(signals) };
    const answer = this.#after(this.#underWay.get(request.id)?.answer, request, withdrawable, untilMs);
    const { epoch, again: isAskedAgain = false } = request;
    const underWay = { answer, withdrawal, epoch, isAskedAgain };
    this.#underWay.set(request.id, underWay);
    if (call !== undefined) this.#calls.set(call, underWay);
    try {
      return await answer;
    } catch (error) {
      if (call !== undefined && underWay.isAskedAgain && hasRun(error)) this.#refused.add(call, epoch, error);
      throw error;
    } finally {
      if (this.#underWay.get(request.id) === underWay) this.#underWay.delete(request.id);
      if (call !== undefined && this.#calls.get(call) === underWay) this.#calls.delete(call);
    }
  }

  /**
   * Whoever has forwarded it for that call has given up: what has not begun does not begin any
   * more. Other calls of the same request have their own time, and go on.
   */
  withdraw(id: string, call: string): void {
    this.#calls.get(nameOf(id, call))?.withdrawal.abort();
  }

  async #joined(answer: Promise<Executed>, { id }: Request, untilMs: number): Promise<Executed> {
    if (await endsBy(answer, untilMs + ANSWER_MS, this.scope.clock))
      return { ...(await answer), repeated: true };
    throw unknownRequest('The same request is still being written.', id);
  }

  async #after(
    before: Promise<unknown> | undefined,
    request: Request,
    options: WriteOptions,
    untilMs: number,
  ): Promise<Executed> {
    if (before === undefined) return this.#once(request, options);
    const { clock } = this.scope;
    const isOver = await endsBy(before, untilMs, clock);
    const timeoutMs = untilMs - clock.monotonicMs();
    if (isOver && timeoutMs > 0) {
      const { signal, ...limits } = options;
      // Of what another call has written, nobody who gave up is told that nothing was written.
      const isOpen = await isUnwritten(before);
      const limit = { timeoutMs, ...(isOpen && signal && { signal }) };
      // What the first one has cost the lease, the next one would do as long, for nothing.
      const left = this.scope.held.bars ? await this.deps.untilLeased(limit) : limit;
      return this.#once(request, { ...limits, ...left });
    }
    throw unknownRequest('The same request is still being written.', request.id);
  }

  async #once({ id, statements, epoch }: Request, options: WriteOptions): Promise<Executed> {
    const { scope } = this;
    const rows = rowsOf(scope);
    assertRecent(id, scope.clock);
    let repeated = false;
    const result = await this.deps
      .write((tx) => {
        this.#assertEpoch(epoch);
        const known = rows.find(id);
        repeated = known !== undefined;
        const atMs = timeToKeep(id, scope.clock.nowMs());
        if (known !== undefined) {
          rows.renew(id, atMs);
          return JSON.parse(known) as readonly number[];
        }
        const changes = runStatements(tx as SqlTransaction, statements);
        rows.add(id, atMs, JSON.stringify(changes));
        return changes;
      }, options)
      .catch((error: unknown) => {
        throw ofRequest(error, id);
      });
    if (!repeated) return result;
    // What notes the repetition may be undone, and the write be there all the same.
    const { id: note, position, ...others } = result;
    const place = note === undefined ? position : placeBefore(note, position, scope.store.state());
    return { ...others, position: place, repeated };
  }

  /** It was sent to the primary of that epoch, and may have been sent to the next one since. */
  #assertEpoch(epoch: number | undefined): void {
    const { authority, cluster, id } = this.scope;
    const mandate = authority.current();
    if (epoch === undefined || epoch === mandate.epoch) return;
    throw notWritable({ cluster, id, primary: mandate.primary, epoch: mandate.epoch });
  }

  /**
   * Forgets what nobody may ask for any more, once a minute, as long as this replica is the
   * primary.
   */
  forgetOld(): void {
    const { clock, closing, authority, logger } = this.scope;
    if (closing.aborted) return;
    const timer = clock.setTimer(FORGET_MS, () => {
      closing.removeEventListener('abort', stop);
      const forgetting = authority.current().mayWrite ? this.#forget() : Promise.resolve();
      forgetting
        .catch((error: unknown) => logger.debug({ err: error }, 'Old requests were not forgotten.'))
        .finally(() => this.forgetOld());
    });
    const stop = (): void => timer.cancel();
    closing.addEventListener('abort', stop, { once: true });
  }

  async #forget(): Promise<void> {
    const { clock } = this.scope;
    const rows = rowsOf(this.scope);
    const beforeMs = clock.nowMs() - REPEATABLE_MS - CLOCKS_APART_MS;
    for (let forgotten = FORGOTTEN_ROWS; forgotten === FORGOTTEN_ROWS;) {
      const { value } = await this.deps.write(() => [rows.forget(beforeMs, FORGOTTEN_ROWS)], {});
      forgotten = value[0] ?? 0;
    }
  }
}

function callOf({ id, call }: Request): string | undefined {
  return call === undefined ? undefined : nameOf(id, call);
}

function nameOf(id: string, call: string): string {
  return `${call} ${id}`;
}

/** Of what has ended: it says itself that it has written nothing. */
function isUnwritten(ended: Promise<unknown>): Promise<boolean> {
  return ended.then(
    () => false,
    (error: unknown) => !(error instanceof UnknownOutcomeError),
  );
}

/** What became of one attempt says nothing of those before it: only the request's own id does. */
function ofRequest(error: unknown, id: string): unknown {
  if (!(error instanceof UnknownOutcomeError)) return error;
  return unknownRequest('The log may hold the write, and did not say so in time.', id, error);
}

/**
 * When it was made, as far as that can be: one that names a time far ahead would be kept until
 * then, and is remembered as one that names none.
 */
function timeToKeep(id: string, nowMs: number): number {
  return Math.max(nowMs, Math.min(timeOf(id) ?? 0, nowMs + CLOCKS_APART_MS));
}

/** Throws BAD_OPTION. */
function assertRecent(id: string, clock: Pick<Clock, 'nowMs'>): void {
  const ageMs = clock.nowMs() - (timeOf(id) ?? Infinity);
  if (ageMs <= REPEATABLE_MS) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `Request ${id} was made ${Math.round(ageMs / 60_000)} minutes ago, and requests are remembered for an hour. ` +
      'Nothing was written now. See whether it is there before you write it under a new id; ' +
      'if it is a new request, compare the clocks.',
  );
}

function rowsOf({ store, cluster }: ReplicaScope): NonNullable<Store['requests']> {
  if (store.requests !== undefined) return store.requests;
  throw new AntiphonError('BAD_OPTION', `The ${store.engine} store of ${cluster} cannot remember requests.`);
}

function endsBy(work: Promise<unknown>, untilMs: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(Math.max(0, untilMs - clock.monotonicMs()), () => resolve(false));
    const end = (): void => {
      timer.cancel();
      resolve(true);
    };
    work.then(end, end);
  });
}
