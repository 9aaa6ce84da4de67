import type { ActorRef, ActorSystem, Exposure } from '@antiphon/actor';
import {
  AntiphonError,
  type QueryResult,
  type RowObject,
  sleep,
  type TransactionId,
  withAbortReason,
  sentence,
} from '@antiphon/core';
import { handOverAtEnd } from '../failover/hand-over.js';
import type { RescueAccess } from '../failover/rescue.js';
import { switchOver, type SwitchedOver, type SwitchOverOptions } from '../failover/switch-over.js';
import { takeOver, type TakenOver, type TakeOverOptions } from '../failover/take-over.js';
import { changesOf, type ChangeOf, type ChangesOptions } from '../read/changes.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import { findOutcome, type Outcome, type OutcomeOptions } from '../read/outcome.js';
import type { QuarantineAccess } from '../repair/quarantine.js';
import { read, type QueryOptions } from '../read/read.js';
import { streamOf, type StreamOptions } from '../read/stream.js';
import {
  removeSubscriptionOf,
  subscribe,
  subscriptionsOf,
  type SubscribeOptions,
  type SubscriptionInfo,
} from '../read/subscriptions.js';
import { shapedRows } from '../read/row-objects.js';
import type { Subscription } from '../read/subscription.js';
import type { RecaptureOptions, Recapturer, RecaptureResult } from '../repair/recapture.js';
import { readerOf } from '../deliver/feed.js';
import { endMembership, type Left, type LeaveOptions, prepareToLeave } from '../membership/leave.js';
import { removeMember, type RemoveMemberOptions, type Removal } from '../membership/remove-member.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import type { Params, Statement } from '../write/statement.js';
import { eventsOf, type EventsOptions } from './events.js';
import { healthOf, type ReplicaHealth } from './healthcheck.js';
import type { HealthOptions } from './problems.js';
import type { ReplicaEvent } from './replica-event.js';
import { caughtUp, type CaughtUpOptions } from './caught-up.js';
import { statusOf, type ReplicaStatus } from './status.js';
import type { WriteResult } from '../state/write-result.js';
import type { ExecuteOptions, WriteOptions } from '../write/write-options.js';
import type { ReadsAccess } from '../state/serving.js';
import { calledSpan } from '../tracing/spans.js';
import { type SpanSpec, traced } from '../tracing/tracer.js';
import type { Writer } from '../write/writer.js';

/**
 * A running replica: one database, kept in step with the others of its cluster. `Tx` is what the
 * functions of `transaction` get; with `sqlite()` a `SqliteTransaction`.
 *
 * An AntiphonError carries a stable `code` (docs/errors.md). Where a call takes a `signal`, it
 * rejects with the reason given to `abort(reason)`, or with ABORTED when none was given.
 */
export interface Replica<Tx> extends AsyncDisposable {
  /** Its id: unique in the cluster, and the origin of what is written here. */
  readonly id: string;
  /** The name of its cluster. */
  readonly cluster: string;
  /**
   * Runs `run` inside one transaction of the database, synchronously with SQLite. What `run` throws
   * undoes the transaction, and is what the promise rejects with, as it was thrown. `run` may run
   * again when the database was busy, when a write that ran with it failed, or when another
   * transaction was committed first: it should do nothing but read and write through `tx`.
   *
   * @throws AntiphonError NOT_WRITABLE (naming the primary), CONSTRAINT, BAD_SQL, BAD_OPTION,
   * OVERLOADED, STORE_BUSY, STORE_FULL, CLOCK_SKEW, TIMEOUT, CLOSED; in a synchronous cluster also
   * ConflictError, NOT_IN_SYNC and LOG_UNAVAILABLE. After all of these nothing was written
   * anywhere. UnknownOutcomeError: the write may be committed; `outcome(error.id)` finds out.
   * @example
   * const { id, value } = await replica.transaction((tx) => {
   *   tx.run('UPDATE stock SET amount = amount - 1 WHERE sku = ?', ['A-7']);
   *   return tx.get<{ amount: number }>('SELECT amount FROM stock WHERE sku = ?', ['A-7']);
   * });
   */
  transaction<T>(run: (tx: Tx) => T, options?: WriteOptions): Promise<WriteResult<T>>;
  /**
   * Runs statements in one transaction; `value` has the number of rows that each one changed. In a
   * cluster with `failover`, on any replica: it goes to the primary, whoever that is, and is
   * written once, also where the primary changes meanwhile.
   *
   * @throws what `transaction` throws; NO_ACTOR when the primary does not answer in time. Of an
   * UnknownOutcomeError whose `id` is that of a request, call again with `requestId: error.id`.
   * @example
   * await replica.execute([{ sql: 'UPDATE orders SET state = ? WHERE id = ?', params: ['paid', 7] }]);
   */
  execute(
    statements: readonly Statement[],
    options?: ExecuteOptions,
  ): Promise<WriteResult<readonly number[]>>;
  /**
   * Finds out what became of a write: `id` is that of an UnknownOutcomeError, or of a result. Any
   * replica of the cluster can be asked; only the writer's own can decide about what the log does
   * not hold.
   *
   * @throws AntiphonError BAD_OPTION, TIMEOUT, LOG_UNAVAILABLE, CLOSED
   */
  outcome(id: string | TransactionId, options?: OutcomeOptions): Promise<Outcome>;
  /**
   * Reads this replica's database, in a process of its own, so that nothing else waits for it. `R`
   * is what you say a row is; nothing checks it. Integers are bigint, unless `integers: 'number'`.
   *
   * @throws AntiphonError BAD_SQL (also for more rows than `maxRows`), BAD_OPTION, TIMEOUT,
   *   OVERLOADED, CLOSED; with a `consistency` other than `'any'` also LOG_UNAVAILABLE
   * @example
   * const sql = 'SELECT id, name FROM users';
   * const users = await replica.query<{ id: number; name: string }>(sql, [], { integers: 'number' });
   */
  query<R = RowObject>(sql: string, params?: Params, options?: QueryOptions): Promise<readonly R[]>;
  /**
   * As `query`, for any number of rows: they are read as the loop asks for them, from one snapshot,
   * and memory holds half a megabyte of them. Leaving the loop ends it. A slow loop keeps the
   * snapshot, so that it has `timeoutMs` in all, and `idleMs` from one row to the next.
   *
   * @throws AntiphonError BAD_OPTION at once; the loop: BAD_SQL, BAD_OPTION, TIMEOUT, ABORTED,
   *   OVERLOADED (four are open; see `streams` of sqlite()), CLOSED, STORE_FAILED; with a
   *   `consistency` other than `'any'` also LOG_UNAVAILABLE
   * @example
   * for await (const order of replica.stream<Order>('SELECT * FROM orders ORDER BY id'))
   *   await archive(order);
   */
  stream<R = RowObject>(
    sql: string,
    params?: Params,
    options?: StreamOptions,
  ): AsyncGenerator<R, void, undefined>;
  /**
   * Follows committed changes in the order of the log, from this call on unless `from` says
   * otherwise, as far as they are applied here. `Tables` names the tables and their rows. A
   * transaction's last change has `last: true`. A slow consumer does not buffer in memory; unread
   * entries stay in the log. The stream ends when the loop is left, or when the replica closes.
   *
   * @throws AntiphonError BAD_OPTION, UNKNOWN_TABLE, CLOSED at once; the stream: LOG_UNAVAILABLE,
   * LOG_REPLACED, MESSAGE_TOO_LARGE (see `limits.changeFeedBytes`), PLACE_LOST when the log does
   * not hold what follows `from` or the last change, or what was applied late
   * @example
   * for await (const change of replica.changes<{ orders: Order }>({ tables: ['orders'] }))
   *   if (change.op === 'insert') console.log(change.after.id);
   */
  changes<Tables = Record<string, RowObject>>(
    options?: ChangesOptions<NoInfer<keyof Tables & string>>,
  ): AsyncGenerator<ChangeOf<Tables>, void, undefined>;
  /**
   * A durable subscription to committed changes, for a service that reacts to them. The cluster
   * keeps its place under `name`, over restarts and crashes and on whichever replica an instance
   * runs. Of all instances with one name one is active; the others wait in `next()` and take over
   * when it closes, crashes or is cut off. What was not acknowledged by then is delivered again.
   * Takes part from the first `next()` on; one iteration for each subscription object.
   *
   * @throws BAD_OPTION, UNKNOWN_TABLE, CLOSED at once. The iterator throws SUBSCRIPTION_LOST when
   *   another instance has taken over, the subscription was removed, or this replica has been holding
   *   for longer than the lease; PLACE_LOST when the log no longer holds what follows its place or
   *   `from`; the code of the stall when this replica stalls; MESSAGE_TOO_LARGE, ACCESS_DENIED, and
   *   ABORTED with its signal. It waits while NATS is away, and ends when the replica closes.
   *
   * @example
   * await using orders = replica.subscribe<{ orders: Order }>('mailer', { tables: ['orders'] });
   * for await (const change of orders) {
   *   if (change.op === 'insert') await sendMail(change.after);
   *   if (change.last) void orders.ack(change); // the whole transaction
   * }
   */
  subscribe<Tables = Record<string, RowObject>>(
    name: string,
    options?: SubscribeOptions<NoInfer<keyof Tables & string>>,
  ): Subscription<ChangeOf<Tables>>;
  /**
   * The durable subscriptions of the cluster, in the order of their names. @throws LOG_UNAVAILABLE,
   * CLOSED
   */
  subscriptions(): Promise<readonly SubscriptionInfo[]>;
  /**
   * Forgets a durable subscription and its place; its instances end with SUBSCRIPTION_LOST. Returns
   * what it was: `from: place` begins a new one where it stood.
   *
   * @throws BAD_OPTION when there is none of that name, LOG_UNAVAILABLE, CLOSED
   */
  removeSubscription(name: string): Promise<SubscriptionInfo>;
  /** Everything that an operator asks first, as plain JSON. It costs no query. */
  status(): ReplicaStatus;
  /**
   * What happens on this replica, from the call on: changes of state, and the beginning and end of
   * everything that `status` shows as an alarm. The first events say how it is then. Up to 1000
   * events wait for their reader; beyond that the oldest are dropped, and an event of type
   * `dropped` says how many. Ends when the replica has closed.
   *
   * @throws BAD_OPTION at the call; the iterator throws ABORTED with its signal.
   *
   * @example
   * for await (const event of replica.events())
   *   if (event.type === 'alarm' && event.phase === 'begin') page(event.alarm.message);
   */
  events(options?: EventsOptions): AsyncIterableIterator<ReplicaEvent, void, undefined>;
  /**
   * For the probes of a service: whether to restart it (`live`), whether to send it requests
   * (`ready`), and why not. Answers at once, from what is known here.
   *
   * @throws BAD_OPTION
   *
   * @example
   * const { ready, problems } = replica.healthcheck({ maxLagSeconds: 30 });
   * response.writeHead(ready ? 200 : 503).end(problems.join('\n'));
   */
  healthcheck(options?: HealthOptions): ReplicaHealth;
  /**
   * Resolves when everything that the log holds now and that is to be applied is applied here:
   * nothing is held, nothing is missing.
   *
   * @throws AntiphonError TIMEOUT, which says what is in the way; LOG_UNAVAILABLE, CLOSED;
   * LOG_REPLACED and others when this replica has stalled
   */
  caughtUp(options?: CaughtUpOptions): Promise<void>;
  /**
   * Takes a member that is gone for good out of the cluster: no majority counts it any more, and
   * nobody keeps messages for it. What it wrote stays. When it is started again under its id, it
   * joins again.
   *
   * @throws AntiphonError BAD_OPTION (no such member, this replica itself, the primary),
   * MEMBER_RUNNING without `force`, NOT_IN_SYNC when nobody else is in sync, LOG_UNAVAILABLE,
   * TIMEOUT
   */
  removeMember(id: string, options?: RemoveMemberOptions): Promise<Removal>;
  /**
   * Leaves the cluster for good, and closes: the primary hands over first, and everything that was
   * written here is in the log. Nobody counts this replica any more; its file stays, and started
   * again it joins again. When it throws, it goes on as before, but for the primary that may be
   * another one.
   *
   * @throws AntiphonError BAD_OPTION (its rescue ledger keeps something, without `force`; the
   * primary, and nobody can take over), NOT_IN_SYNC when nobody else is in sync, TIMEOUT,
   * LOG_UNAVAILABLE, CLOSED
   */
  leave(options?: LeaveOptions): Promise<Left>;
  /**
   * Makes this replica the primary, in a cluster with `failover`. What the one before has committed
   * and the log has not is not lost: it goes to the rescue ledger there. Another replica's claim
   * may come first: see `elected`.
   *
   * @throws AntiphonError BAD_OPTION where the cluster has no failover, TIMEOUT, LOG_UNAVAILABLE,
   * CLOSED
   */
  takeOver(options?: TakeOverOptions): Promise<TakenOver>;
  /**
   * Makes another replica the primary, without a loss: writes wait until what was written is in the
   * log. Only the primary can; it stays the primary when that does not come about in time.
   *
   * @throws AntiphonError BAD_OPTION, NOT_WRITABLE when this replica is not the primary, NO_ACTOR
   * when the other one does not answer, TIMEOUT, LOG_UNAVAILABLE, CLOSED
   */
  switchOver(to: string, options?: SwitchOverOptions): Promise<SwitchedOver>;
  /**
   * Messages that this replica has quarantined because no replica can accept them, and the ways
   * out.
   */
  readonly quarantine: QuarantineAccess;
  /**
   * What this replica had committed and the log had not when another one became the primary, and
   * the ways out.
   */
  readonly rescue: RescueAccess;
  /** Whether clients that spread their reads over the replicas send some here. */
  readonly reads: ReadsAccess;
  /**
   * The way out when this replica has stalled since `table` was rebuilt or lost its triggers:
   * compares it with what replication knows, and makes the difference a change of this replica.
   * Where other programs may not write, it sets the difference back, keeps what was there, and in a
   * synchronous cluster writes that again. It reads the whole log. Look with `dryRun` first.
   *
   * @throws AntiphonError UNKNOWN_TABLE, SCHEMA_DRIFT (another shape), DELETES_ROWS (see
   * `deleteRows`), CONSTRAINT, MESSAGE_TOO_LARGE, OVERLOADED, STORE_BUSY, LOG_UNAVAILABLE,
   * LOG_REPLACED, TIMEOUT, CLOSED; nothing was changed then
   */
  recapture(table: string, options?: RecaptureOptions): Promise<RecaptureResult>;
  /**
   * Closes the replica, the store and what `createReplica` opened. Idempotent; takes at most about
   * `limits.closeTimeoutMs`, whatever NATS, the database or a query does. Every promise that this
   * replica gave is settled then, undecided ones with CLOSED. What was committed and not sent stays
   * in the outbox, and is sent after the next start. With automatic failover, a primary hands over
   * to the best of the others first, if there is one.
   */
  close(): Promise<void>;
  /** Resolves when the replica has ended, with the error when it failed. It never rejects. */
  readonly ended: Promise<AntiphonError | undefined>;
}

export interface RunningDeps<Tx> {
  readonly scope: ReplicaScope;
  readonly system: ActorSystem;
  readonly replica: ActorRef<ReplicaProtocol>;
  readonly writer: Writer<Tx>;
  readonly quarantine: QuarantineAccess;
  readonly recapturer: Recapturer;
  readonly rescue: RescueAccess;
  readonly exposure: Exposure;
  /** Of `scope.closing`. */
  readonly closing: AbortController;
  /** Closes what `createReplica` opened. */
  readonly release: () => Promise<void>;
}

/** What serves a replica needs more of it than the interface has. */
export type Inside = Pick<RunningDeps<unknown>, 'scope' | 'replica'>;

/**
 * Of the time for closing: what may be spent on sending the rest, then on leaving the in-sync set,
 * then on the actors.
 */
const DRAIN_SHARE = 0.4;
const LEAVE_SHARE = 0.1;
const STOP_SHARE = 0.3;
/** Instead of leaving the in-sync set, when it leaves for good. */
const END_SHARE = 0.2;
/** Of the whole, what the actors have before they are left behind. */
export const ACTORS_SHARE = 0.25;
/** Looks whether synchronous writes are settled, while it closes. */
const SETTLE_POLL_MS = 5;

export class RunningReplica<Tx> implements Replica<Tx> {
  readonly id: string;
  readonly cluster: string;
  readonly ended: Promise<AntiphonError | undefined>;
  readonly quarantine: QuarantineAccess;
  readonly rescue: RescueAccess;
  readonly reads: ReadsAccess;
  #closing: Promise<void> | undefined;
  /** It leaves for good, and how. */
  #leaving: LeaveOptions | undefined;

  constructor(private readonly deps: RunningDeps<Tx>) {
    this.id = deps.scope.id;
    this.cluster = deps.scope.cluster;
    this.quarantine = deps.quarantine;
    this.rescue = deps.rescue;
    this.reads = deps.scope.serving;
    const { health } = deps.scope;
    health.onState(() => this.#endWhenFailed());
    this.ended = deps.system.terminated.then(async (reason) => {
      if (health.failure !== undefined) {
        await this.close();
        return health.failure;
      }
      if (reason.type === 'stopped') return undefined;
      return this.#failed(reason.error);
    });
    // It may have found out before anybody listened.
    this.#endWhenFailed();
  }

  #endWhenFailed(): void {
    if (this.deps.scope.health.failure !== undefined) void this.close();
  }

  transaction<T>(run: (tx: Tx) => T, options?: WriteOptions): Promise<WriteResult<T>> {
    const describe = (): SpanSpec => calledSpan(this.deps.scope, 'transaction');
    return traced(describe, () => withAbortReason(this.deps.writer.transaction(run, options), options));
  }

  execute(
    statements: readonly Statement[],
    options?: ExecuteOptions,
  ): Promise<WriteResult<readonly number[]>> {
    const describe = (): SpanSpec => calledSpan(this.deps.scope, 'execute', statements);
    return traced(describe, () => withAbortReason(this.deps.writer.execute(statements, options), options));
  }

  async query<R = RowObject>(
    sql: string,
    params: Params = [],
    options: QueryOptions = {},
  ): Promise<readonly R[]> {
    const { scope } = this.deps;
    const describe = (): SpanSpec => calledSpan(scope, 'query', [{ sql }]);
    const reading = (): Promise<QueryResult> => read(scope, sql, params, options);
    const result = await traced(describe, () => withAbortReason(reading(), options));
    return shapedRows(result, options) as readonly R[];
  }

  stream<R = RowObject>(
    sql: string,
    params: Params = [],
    options: StreamOptions = {},
  ): AsyncGenerator<R, void, undefined> {
    return streamOf(this.deps.scope, sql, params, options) as AsyncGenerator<R, void, undefined>;
  }

  /** For `insideOf`. */
  get inside(): Inside {
    return this.deps;
  }

  async outcome(id: string | TransactionId, options: OutcomeOptions = {}): Promise<Outcome> {
    return withAbortReason(findOutcome(this.deps.scope, this.deps.replica, id, options), options);
  }

  changes<Tables = Record<string, RowObject>>(
    options: ChangesOptions<NoInfer<keyof Tables & string>> = {},
  ): AsyncGenerator<ChangeOf<Tables>, void, undefined> {
    return changesOf(this.deps.scope, options) as AsyncGenerator<ChangeOf<Tables>, void, undefined>;
  }

  subscribe<Tables = Record<string, RowObject>>(
    name: string,
    options: SubscribeOptions<NoInfer<keyof Tables & string>> = {},
  ): Subscription<ChangeOf<Tables>> {
    return subscribe(this.deps.scope, name, options) as Subscription<ChangeOf<Tables>>;
  }

  async takeOver(options: TakeOverOptions = {}): Promise<TakenOver> {
    return withAbortReason(takeOver(this.deps.scope, this.deps.replica, 'forced', options), options);
  }

  async switchOver(to: string, options: SwitchOverOptions = {}): Promise<SwitchedOver> {
    return withAbortReason(switchOver(this.deps.scope, this.deps.replica, to, options), options);
  }

  async subscriptions(): Promise<readonly SubscriptionInfo[]> {
    return subscriptionsOf(this.deps.scope);
  }

  async removeSubscription(name: string): Promise<SubscriptionInfo> {
    return removeSubscriptionOf(this.deps.scope, name);
  }

  status(): ReplicaStatus {
    return statusOf(this.deps.scope);
  }

  events(options: EventsOptions = {}): AsyncIterableIterator<ReplicaEvent, void, undefined> {
    return eventsOf(this.deps.scope, options);
  }

  healthcheck(options: HealthOptions = {}): ReplicaHealth {
    return healthOf(() => this.status(), options);
  }

  removeMember(id: string, options?: RemoveMemberOptions): Promise<Removal> {
    return removeMember(this.deps.scope, id, options);
  }

  async leave(options: LeaveOptions = {}): Promise<Left> {
    const left = await this.prepareToLeave(options);
    await this.close();
    return left;
  }

  /** All of `leave` that may fail; the end of it is up to `close`. */
  async prepareToLeave(options: LeaveOptions): Promise<Left> {
    const left = await prepareToLeave(this.deps.scope, this.deps.replica, options);
    this.#leaving = options;
    return left;
  }

  recapture(table: string, options?: RecaptureOptions): Promise<RecaptureResult> {
    return withAbortReason(this.deps.recapturer.recapture(table, options), options);
  }

  caughtUp(options: CaughtUpOptions = {}): Promise<void> {
    return withAbortReason(caughtUp(this.deps.scope, options), options);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * With the connection and the reading processes goes all that kept the process alive: it would
   * end in the middle of this, with the database still open.
   */
  async #close(): Promise<void> {
    const alive = this.deps.scope.clock.keepAlive?.();
    try {
      await this.#closeInSteps();
    } finally {
      alive?.cancel();
    }
  }

  /**
   * Each step has its share of the time, so that the sum is bounded: an operator's patience is not
   * counted per step.
   */
  async #closeInSteps(): Promise<void> {
    const { scope, system, replica, exposure, release, closing, writer } = this.deps;
    const { closeTimeoutMs } = scope.limits;
    const untilMs = scope.clock.monotonicMs() + closeTimeoutMs;
    const closed = new AntiphonError('CLOSED', `Replica ${this.id} is closing. Open it again to continue.`);
    closing.abort(closed);
    const ends = Promise.all([scope.subscriptions.close(), scope.publishing.close()]);
    const ended = bounded(scope, closeTimeoutMs * DRAIN_SHARE, ends);
    await Promise.all([this.#giveAway(closeTimeoutMs * DRAIN_SHARE), ended]);
    exposure.close();
    if (this.#leaving === undefined) await bounded(scope, closeTimeoutMs * LEAVE_SHARE, this.#leaveInSync());
    scope.health.handle('close');
    if (this.#leaving !== undefined) {
      const ending = endMembership(scope, readerOf, this.#leaving);
      await bounded(scope, closeTimeoutMs * END_SHARE, ending);
    }
    const stopUntilMs = scope.clock.monotonicMs() + closeTimeoutMs * STOP_SHARE;
    const stopTimeoutMs = closeTimeoutMs * ACTORS_SHARE;
    await bounded(scope, closeTimeoutMs * STOP_SHARE, replica.stop({ timeoutMs: stopTimeoutMs }));
    writer.close(
      new AntiphonError(
        'CLOSED',
        `Replica ${this.id} is closing. Nothing was written. Open it again to continue.`,
      ),
    );
    // Every write is settled: the mailbox tells those who called over the bus, before it stops as
    // well.
    await scope.clock.yield();
    await bounded(scope, Math.max(1, stopUntilMs - scope.clock.monotonicMs()), system.stop());
    scope.log.detach();
    scope.progress.end(closed);
    const leftMs = Math.max(1, untilMs - scope.clock.monotonicMs());
    const closings = [scope.store.close(), release(), scope.standIn?.close() ?? Promise.resolve()];
    await Promise.all(closings.map((end) => bounded(scope, leftMs, end)));
    scope.health.handle('closed');
    scope.progress.moved();
  }

  /**
   * What only this replica has, and the role with it. The others ask until then who is the primary:
   * one that does not answer has gone, and is followed by whoever notices first.
   */
  async #giveAway(timeoutMs: number): Promise<void> {
    const { clock, authority } = this.deps.scope;
    const untilMs = clock.monotonicMs() + timeoutMs;
    // Other programs may write on until it hands over, and then everything is sent as well.
    await this.#drain(authority.byTerm ? timeoutMs / 2 : timeoutMs);
    await handOverAtEnd(this.deps.scope, this.deps.replica, untilMs - clock.monotonicMs());
  }

  /**
   * A program that writes and ends at once should not keep its changes to itself until it runs
   * again.
   */
  async #drain(timeoutMs: number): Promise<void> {
    const { progress, health, log, clock } = this.deps.scope;
    if (!health.replicating || log.connection !== 'connected') return;
    const limit = { timeoutMs, what: 'everything is published' };
    const untilMs = clock.monotonicMs() + timeoutMs;
    await progress
      .until(() => progress.unpublished === 0 || !health.replicating, limit)
      .catch(() => undefined);
    // A synchronous write under way is not in the outbox, and who waits for it would be told that
    // nobody knows what became of it.
    while (this.#isUnderWay && health.replicating && clock.monotonicMs() < untilMs)
      await sleep(clock, SETTLE_POLL_MS);
  }

  get #isUnderWay(): boolean {
    return this.deps.writer.underWay > 0;
  }

  /** Who waits for all members must not wait for one that has gone in good order. */
  async #leaveInSync(): Promise<void> {
    const { sync, id, health, log } = this.deps.scope;
    if (sync?.inSync.has(id) !== true || !health.replicating || log.connection !== 'connected') return;
    await sync.inSync.propose((members) => members.filter((member) => member !== id), `${id} is closing`);
  }

  async #failed(thrown: unknown): Promise<AntiphonError> {
    const { scope } = this.deps;
    scope.health.handle('fail');
    const error = new AntiphonError(
      'INTERNAL',
      `Replica ${this.id} has failed and stopped. Its database keeps what was committed. ` +
        sentence(thrown instanceof Error ? thrown.message : String(thrown)),
      { cause: thrown, context: { cluster: this.cluster, replica: this.id } },
    );
    scope.logger.error({ err: thrown }, error.message);
    return Promise.resolve(error);
  }
}

/**
 * Waits for it, but not for ever, and not for its failure: there is nothing left to do about
 * either.
 */
async function bounded(scope: ReplicaScope, timeoutMs: number, work: Promise<unknown>): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = scope.clock.setTimer(timeoutMs, resolve);
    work
      .catch((error: unknown) => scope.logger.warn({ err: error }, 'Something did not close cleanly.'))
      .finally(() => {
        timer.cancel();
        resolve();
      });
  });
}
