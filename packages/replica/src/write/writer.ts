import type { ActorRef } from '@antiphon/actor';
import { type SpanContext, SpanKind } from '@opentelemetry/api';
import {
  abortError,
  AntiphonError,
  Bag,
  checkOptions,
  durationText,
  formatTransactionId,
  parseAcks,
  sentence,
  type TransactionId,
  UnknownOutcomeError,
  type WriteOutcome,
  withoutStop,
} from '@antiphon/core';
import { notWritable } from '../config/not-writable.js';
import { needsSync } from '../config/needs-sync.js';
import { assertTimeout, Deadline, retryDelayMs } from '../wait/deadline.js';
import { idFrom } from '../config/ids.js';
import { whyUnfit } from '../state/unfit.js';
import { Forwarding } from './forward.js';
import { isPrimary, knownOf } from '../state/authority.js';
import { LocalWrite, type LocalWriteOptions } from './local-write.js';
import { assertRequestId } from './request-id.js';
import { Requests } from './requests.js';
import type { ReplicaProtocol, WriteMessage } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { sessionPosition } from '../state/session.js';
import type { WriteResult } from '../state/write-result.js';
import {
  assertStatements,
  parseStatements,
  runStatements,
  type SqlTransaction,
  type Statement,
} from './statement.js';
import {
  type AskedRequest,
  EXECUTE_OPTIONS,
  WRITE_OPTIONS,
  type ExecuteOptions,
  type WriteOptions,
} from './write-options.js';
import type { Sync } from '../sync/sync.js';
import { stepSpan } from '../tracing/spans.js';
import { sampled, type SpanSpec, tracedWithin } from '../tracing/tracer.js';
import { SyncWrite, type SyncWriteOptions } from '../state/sync-write.js';

/** Local writes, from this process or over the bus. */
export class Writer<Tx> {
  /**
   * Not decided yet; bounded by `waitingWrites` for those that wait, and by the acknowledgements
   * for the others.
   */
  readonly #open = new Bag<SyncWrite | LocalWrite<unknown>>();
  /** On their way to the primary, and their answers. */
  readonly #forwarded = new Bag<Forwarding>();
  readonly #requests: Requests;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {
    this.#requests = new Requests(scope, {
      write: (run, options) => this.transaction(run, options),
      untilLeased: (limit) => this.#leased(limit),
    });
    if (scope.authority.byTerm) this.#requests.forgetOld();
  }

  /**
   * The function may run more than once: a busy database undoes the whole transaction, and it is
   * tried again.
   */
  transaction<T>(run: (tx: Tx) => T, options: WriteOptions = {}): Promise<WriteResult<T>> {
    const { clock, counters } = this.scope;
    const calledMs = clock.monotonicMs();
    const result = this.#transaction(run, options);
    result.then(
      () => counters.acknowledged(clock.monotonicMs() - calledMs),
      () => undefined,
    );
    return result;
  }

  async #transaction<T>(run: (tx: Tx) => T, options: WriteOptions): Promise<WriteResult<T>> {
    checkOptions(options, WRITE_OPTIONS, 'A write');
    if (typeof run !== 'function')
      throw new AntiphonError('BAD_OPTION', 'A transaction needs a function that gets `tx` and writes.');
    this.#assertWritable();
    const { sync, limits, clock } = this.scope;
    const limit = limitOf(options, limits.writeTimeoutMs);
    if (sync !== undefined)
      return this.#committing((trace) => this.#synchronously(sync, run, options, { ...limit, trace }));
    if (options.acks !== undefined) throw needsSync('acks');
    const left = this.scope.held.bars ? await this.#leased(limit) : limit;
    const { signal } = limit;
    // It may have waited for its turn, or for room, for longer than the lease.
    const leased = this.#timely(run, () => {
      if (this.scope.held.bars) throw this.#leaseless();
    });
    const write = new LocalWrite(leased, left, clock);
    this.#open.add(write);
    try {
      return await this.#committing((trace) =>
        this.#locally(write, { ...(signal && { signal }), ...(trace && { trace }) }),
      );
    } finally {
      write.end();
      this.#open.delete(write);
    }
  }

  /** From when it may run to when it is decided. */
  #committing<T>(run: (trace: SpanContext | undefined) => Promise<WriteResult<T>>): Promise<WriteResult<T>> {
    const describe = (): SpanSpec => stepSpan('commit', this.scope, SpanKind.INTERNAL);
    return tracedWithin(describe, async (span) => {
      const result = await run(sampled(span));
      if (result.id !== undefined) span?.setAttribute('antiphon.transaction', formatTransactionId(result.id));
      return result;
    });
  }

  /** The replica is closing: nobody is left to decide what still waits. */
  close(error: AntiphonError): void {
    for (const write of [...this.#open, ...this.#forwarded]) write.giveUp(error);
  }

  /**
   * A primary without its lease takes no writes: another replica may be the primary by now. In a
   * synchronous cluster the log tells that of each group.
   */
  async #leased(limit: LocalWriteOptions): Promise<LocalWriteOptions> {
    const { timeoutMs, signal } = limit;
    const { held, clock, authority } = this.scope;
    const sinceMs = clock.monotonicMs();
    const deadline = new Deadline(clock, timeoutMs, [signal, this.scope.closing], () => this.#leaseless());
    try {
      await deadline.race(
        new Promise<void>((resolve) => {
          const look = (): void => {
            if (!held.isValid && isPrimary(authority)) return;
            for (const stop of stops) stop();
            resolve();
          };
          const stops = [held.onChange(look), authority.onChange(look)];
        }),
      );
    } finally {
      deadline.end();
    }
    this.#assertWritable();
    return { ...limit, timeoutMs: timeoutMs - (clock.monotonicMs() - sinceMs) };
  }

  /**
   * One that outlasts the lease is undone while that is still possible. It would take as long when
   * its group runs again, and on the next primary. `assertMayRun`: before it runs, and after it.
   */
  #timely<T>(run: (tx: Tx) => T, assertMayRun: () => void = () => undefined): (tx: unknown) => T {
    const { clock, held, document } = this.scope;
    const { leaseMs = Infinity } = document.failover ?? {};
    let outlasted: AntiphonError | undefined;
    return (tx) => {
      if (outlasted !== undefined) throw outlasted;
      assertMayRun();
      const beganMs = clock.monotonicMs();
      const value = run(tx as Tx);
      const tookMs = clock.monotonicMs() - beganMs;
      if (tookMs > leaseMs && held.bars) throw (outlasted = this.#outlasted(tookMs));
      assertMayRun();
      return value;
    };
  }

  #outlasted(tookMs: number): AntiphonError {
    const { id, limits } = this.scope;
    const isTooLong = tookMs > limits.blockedMs;
    const wayOut = isTooLong
      ? `Write it in pieces, or raise \`limits.blockedMs\` (${durationText(limits.blockedMs)}).`
      : 'See in `antiphon status` on this replica why nobody renewed the lease, and call again.';
    return new AntiphonError(
      'TIMEOUT',
      `The write kept replica ${id} for ${durationText(tookMs)}, and this primary lost its lease meanwhile. ` +
        `Nothing was written here: another replica may be the primary by now. ${wayOut}`,
      { retriable: !isTooLong, context: { replica: id, outlasted: true } },
    );
  }

  #leaseless(): AntiphonError {
    const { id, commits } = this.scope;
    const unfit = whyUnfit(this.scope);
    const why = unfit ?? 'It could not renew its lease in time.';
    const wayOut = unfit === undefined ? 'Call again once NATS answers.' : 'Call again when that is mended.';
    return new AntiphonError(
      commits.refusal?.code ?? 'LOG_UNAVAILABLE',
      `Replica ${id} is the primary and takes no writes now. ${sentence(why)} Nothing was written. ${wayOut}`,
      { context: { leaseless: true } },
    );
  }

  async #locally<T>(
    write: LocalWrite<T>,
    { trace, ...limit }: Pick<LocalWriteOptions, 'signal'> & Pick<WriteMessage, 'trace'>,
  ): Promise<WriteResult<T>> {
    const { counters, clock, positions, store, held } = this.scope;
    const request = { run: write.run, ...(trace && { trace }) };
    const ask = (): Promise<WriteOutcome> => this.replica.ask('write', request, { timeoutMs: Infinity });
    for (let attempt = 0; ; attempt++) {
      try {
        const outcome = await write.attempt(ask);
        if (outcome.type === 'rejected') throw outcome.error;
        const { generation } = store.state().position;
        const position = sessionPosition(generation, positions.applied, outcome.id);
        const value = outcome.value as T;
        if (outcome.id !== undefined && !held.isValid) await this.#confirmed(outcome.id, write.leftMs);
        return { outcome: 'committed', ...(outcome.id && { id: outcome.id }), position, value };
      } catch (error) {
        const delayMs = retryDelayMs(attempt, clock);
        if (!(isBusy(error) || isLeaseless(error)) || delayMs >= write.leftMs) throw this.#asClosed(error);
        counters.storeRetries++;
        await write.pause(delayMs);
        if (this.scope.held.bars) await this.#leased({ timeoutMs: Math.max(1, write.leftMs), ...limit });
      }
    }
  }

  /**
   * Committed while the lease ran out: another replica may be the primary by now, and then it is in
   * the rescue ledger. Who relies on the answer is told when the log has it.
   */
  async #confirmed({ origin, counter }: TransactionId, timeoutMs: number): Promise<void> {
    const { held, progress, store, authority, cluster, id } = this.scope;
    if (!held.bars) return;
    const isLogged = (): boolean => store.state().publishedCounter >= counter;
    const isOver = (): boolean => held.isValid || isLogged() || !authority.current().mayWrite;
    const name = `${origin}:${counter}`;
    try {
      await progress.until(isOver, { timeoutMs: Math.max(1, timeoutMs), what: `the log has ${name}` });
    } catch (cause) {
      const message = `${name} is committed on ${id}, which has lost its lease, and the log has not taken it yet. Ask for its outcome.`;
      throw new UnknownOutcomeError(message, name, { cause });
    }
    if (isLogged() || authority.current().mayWrite) return;
    const { primary } = authority.current();
    throw new AntiphonError(
      'NOT_WRITABLE',
      `${id} had been deposed when it committed ${name}. It is in the rescue ledger of ${id}. Write to the primary, ${primary ?? ''}, and see \`antiphon rescue list\`.`,
      { context: { cluster, replica: id, primary, rescued: name } },
    );
  }

  /** An actor that ended is this replica that ended, to whoever calls it. */
  #asClosed(error: unknown): unknown {
    const { health, id } = this.scope;
    if (!(error instanceof AntiphonError) || error.code !== 'ACTOR_STOPPED' || !health.ended) return error;
    const started = error.context['started'] === true;
    const what = started ? 'See whether the write is there before you repeat it.' : 'Nothing was written.';
    return new AntiphonError('CLOSED', `Replica ${id} is ${health.state}. ${what}`, {
      cause: error,
      context: { started },
    });
  }

  async #synchronously<T>(
    sync: Sync,
    run: (tx: Tx) => T,
    { acks }: WriteOptions,
    limit: Pick<SyncWriteOptions, 'timeoutMs' | 'signal' | 'trace'>,
  ): Promise<WriteResult<T>> {
    const { clock, health, id } = this.scope;
    const level = acks === undefined ? sync.settings.acks : parseAcks(acks);
    const timely = this.#timely(run);
    const inTheWay = (waitedMs: number) => sync.inTheWay.reason(waitedMs);
    const write = new SyncWrite(timely, { acks: level, ...limit, inTheWay }, clock);
    this.#open.add(write);
    try {
      if (!write.settled && !this.replica.tell('submit', write)) {
        write.reject(
          health.ended
            ? new AntiphonError('CLOSED', `Replica ${id} is ${health.state}. Nothing was written.`)
            : overloaded(),
        );
      }
      const result = await write.promise;
      if (result.degraded === true) sync.counts.degraded++;
      return result as WriteResult<T>;
    } finally {
      this.#open.delete(write);
    }
  }

  async execute(
    statements: readonly Statement[],
    options: ExecuteOptions = {},
    asked: AskedRequest = {},
  ): Promise<WriteResult<readonly number[]>> {
    const { store, authority } = this.scope;
    if (!store.capabilities.sql) {
      throw new AntiphonError('BAD_OPTION', `The ${store.engine} store takes no SQL. Use transaction().`);
    }
    assertStatements(statements);
    checkOptions(options, EXECUTE_OPTIONS, 'A write');
    const { requestId, ...limits } = options;
    if (requestId !== undefined) this.#assertRequest(requestId);
    if (!authority.byTerm || asked.forwarded === true)
      return this.#here(statements, limits, requestId, asked);
    return this.#anywhere(statements, limits, requestId, asked);
  }

  /** Here if this replica is the primary, else there; again where that has just changed. */
  async #anywhere(
    statements: readonly Statement[],
    options: WriteOptions,
    requestId: string | undefined,
    asked: AskedRequest,
  ): Promise<WriteResult<readonly number[]>> {
    const { authority, clock, limits } = this.scope;
    const { timeoutMs } = limitOf(options, limits.writeTimeoutMs);
    const untilMs = clock.monotonicMs() + timeoutMs;
    if (isPrimary(authority))
      try {
        return await this.#here(statements, options, requestId, this.#inThisEpoch(asked));
      } catch (error) {
        if (!(error instanceof AntiphonError) || error.code !== 'NOT_WRITABLE') throw error;
        // Written elsewhere as well, it would be there twice once somebody applies the ledger.
        if (error.context['rescued'] !== undefined && requestId === undefined) throw error;
      }
    this.#assertOpen();
    this.#assertAcks(options);
    if (this.#forwarded.size >= limits.waitingWrites) throw overloaded();
    // What a message cannot carry as it is must not become something else on its way.
    const request = { id: requestId ?? this.#newRequestId(), statements: parseStatements(statements) };
    const here = (left: WriteOptions) =>
      this.#requests.once({ ...request, ...this.#inThisEpoch({ ...asked, again: true }) }, left);
    const forwarding = new Forwarding(this.scope, request, options, { here, untilMs, asked });
    this.#forwarded.add(forwarding);
    try {
      const describe = (): SpanSpec => stepSpan('forward', this.scope, SpanKind.CLIENT);
      return await tracedWithin(describe, () => forwarding.run());
    } finally {
      this.#forwarded.delete(forwarding);
    }
  }

  /** A call that others may forward as well is the same one here. */
  #inThisEpoch({ call, again = false }: AskedRequest): AskedRequest {
    return call === undefined ? {} : { call, again, epoch: this.scope.authority.current().epoch };
  }

  /**
   * The primary tells by the id how old the request is. The clock of this machine may be hours
   * behind, which keeps it from nothing else; the log's is the same for all.
   */
  #newRequestId(): string {
    const { clock, clocks } = this.scope;
    const logMs = clocks.logClock.window()?.earliestMs ?? -Infinity;
    const nowMs = (): number => Math.max(clock.nowMs(), Math.floor(logMs));
    return idFrom({ nowMs, random: () => clock.random() });
  }

  /** By whoever has forwarded it. */
  withdraw(requestId: string, call: string): void {
    this.#requests.withdraw(requestId, call);
  }

  #here(
    statements: readonly Statement[],
    options: WriteOptions,
    requestId: string | undefined,
    { epoch, call, again }: AskedRequest = {},
  ): Promise<WriteResult<readonly number[]>> {
    if (requestId === undefined)
      return this.transaction((tx) => runStatements(tx as SqlTransaction, statements), options);
    const asked = { ...(epoch !== undefined && { epoch }), ...(call !== undefined && { call, again }) };
    return this.#requests.once({ id: requestId, statements, ...asked }, options);
  }

  /** Throws BAD_OPTION. */
  #assertRequest(requestId: string): void {
    const { authority, cluster } = this.scope;
    assertRequestId(requestId);
    if (authority.byTerm) return;
    throw new AntiphonError(
      'BAD_OPTION',
      `Cluster ${cluster} was created without \`failover\`, and remembers no requests. Leave \`requestId\` out.`,
    );
  }

  /** Throws BAD_OPTION. */
  #assertAcks({ acks }: WriteOptions): void {
    if (acks === undefined) return;
    if (this.scope.sync === undefined) throw needsSync('acks');
    parseAcks(acks);
  }

  /** Calls that have no answer yet, and wait for others than this database. */
  get underWay(): number {
    return this.#forwarded.size + (this.scope.sync === undefined ? 0 : this.#open.size);
  }

  #assertWritable(): void {
    const { authority, cluster, id, clocks } = this.scope;
    this.#assertOpen();
    if (isPrimary(authority)) return clocks.assertInStep();
    const { primary, epoch } = knownOf(authority);
    throw notWritable({ cluster, id, primary, ...(authority.byTerm && { epoch }) });
  }

  #assertOpen(): void {
    const { health, cluster, id, closing } = this.scope;
    // What is still written while it closes would be settled by nobody.
    if (closing.aborted && !health.ended)
      throw new AntiphonError('CLOSED', `Replica ${id} is closing. Nothing was written. Open it again.`, {
        context: { cluster, replica: id },
      });
    if (health.ended) {
      const why = health.failure === undefined ? '' : ` (${withoutStop(health.failure.message)})`;
      throw new AntiphonError('CLOSED', `Replica ${id} is ${health.state}${why}. Open it again.`, {
        context: { cluster, replica: id },
        cause: health.failure,
      });
    }
  }
}

/** Throws BAD_OPTION, and ABORTED when the caller gave up before it called. */
function limitOf(
  { timeoutMs, signal }: WriteOptions,
  defaultMs: number,
): { readonly timeoutMs: number; readonly signal?: AbortSignal } {
  assertTimeout(timeoutMs);
  if (signal?.aborted === true)
    throw abortError(signal, 'The caller had given up before it called. Nothing was written.');
  return { timeoutMs: timeoutMs ?? defaultMs, ...(signal && { signal }) };
}

function overloaded(): AntiphonError {
  const message = 'Too many writes are already waiting. Slow down and call again.';
  return new AntiphonError('OVERLOADED', message);
}

function isLeaseless(error: unknown): boolean {
  return error instanceof AntiphonError && error.context['leaseless'] === true;
}

function isBusy(error: unknown): boolean {
  return error instanceof AntiphonError && (error.code === 'STORE_BUSY' || error.code === 'STORE_FULL');
}
