import type { ActorRef, ActorSystem, Exposure } from '@antiphon/actor';
import { AntiphonError, sleep, type QueryResult, type TransactionId, type Value } from '@antiphon/core';
import { changesOf, type ChangesOptions, type CommittedChange, type RowObject } from './changes.js';
import type { ReplicaProtocol } from './protocols.js';
import { findOutcome, type Outcome } from './outcome.js';
import { read, type QueryOptions } from './read.js';
import type { Scope } from './scope.js';
import type { Params, Statement } from './statement.js';
import { statusOf, type ReplicaStatus } from './status.js';
import type { Committed, WriteOptions, Writer } from './writer.js';

export interface CaughtUpOptions {
  /** 30 000 when absent. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** A running replica: one database, kept in step with the others of its cluster. */
export interface Replica<Tx> extends AsyncDisposable {
  readonly id: string;
  readonly cluster: string;
  /**
   * Runs `run` inside one transaction of the database, synchronously for embedded databases; a throw undoes it and is passed on. It
   * may run again when the database was busy, or when a concurrent transaction was committed first. Throws NOT_WRITABLE (naming the
   * primary), CONSTRAINT, BAD_SQL, OVERLOADED, STORE_BUSY, STORE_FULL, TIMEOUT, CLOSED; in a synchronous cluster also ConflictError,
   * NOT_IN_SYNC, LOG_UNAVAILABLE. After all of these nothing was written anywhere. UnknownOutcomeError: ask `outcome`.
   */
  transaction<T>(run: (tx: Tx) => T, options?: WriteOptions): Promise<Committed<T>>;
  /** As `transaction`, with statements; `value` is the number of rows that each one changed. */
  execute(statements: readonly Statement[], options?: WriteOptions): Promise<Committed<readonly number[]>>;
  /** What became of a write; for the `id` of an UnknownOutcomeError, on any replica. Throws BAD_OPTION, TIMEOUT, LOG_UNAVAILABLE. */
  outcome(id: string | TransactionId, options?: { readonly timeoutMs?: number }): Promise<Outcome>;
  /** Reads this replica's database, off the writing thread. Integers are bigint. Throws BAD_SQL, BAD_OPTION, TIMEOUT. */
  query(sql: string, params?: Params, options?: QueryOptions): Promise<readonly RowObject[]>;
  changes(options?: ChangesOptions): AsyncGenerator<CommittedChange, void, undefined>;
  status(): ReplicaStatus;
  /** Resolves when everything that the log holds now has been dealt with here. Throws TIMEOUT, LOG_UNAVAILABLE, LOG_REPLACED when stalled. */
  caughtUp(options?: CaughtUpOptions): Promise<void>;
  /** Idempotent, bounded in time, also without NATS. What was committed and not sent stays in the outbox. */
  close(): Promise<void>;
  /** Resolves, never rejects, when the replica has ended: with the error when it failed. */
  readonly ended: Promise<AntiphonError | undefined>;
}

export interface RunningParts<Tx> {
  readonly scope: Scope;
  readonly system: ActorSystem;
  readonly replica: ActorRef<ReplicaProtocol>;
  readonly writer: Writer<Tx>;
  readonly exposure: Exposure;
  /** Closed after the store; for what `createReplica` opened. */
  readonly release: () => Promise<void>;
}

const DEFAULT_CAUGHT_UP_MS = 30_000;
const DRAIN_MS = 2000;
/** For telling the others that they need not wait for this replica. */
const LEAVE_MS = 500;

export class RunningReplica<Tx> implements Replica<Tx> {
  readonly id: string;
  readonly cluster: string;
  readonly ended: Promise<AntiphonError | undefined>;
  readonly #closed = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(private readonly parts: RunningParts<Tx>) {
    this.id = parts.scope.id;
    this.cluster = parts.scope.cluster;
    this.ended = parts.system.terminated.then((reason) => {
      if (reason.type === 'stopped') return undefined;
      return this.#failed(reason.error);
    });
  }

  transaction<T>(run: (tx: Tx) => T, options?: WriteOptions): Promise<Committed<T>> {
    return this.parts.writer.transaction(run, options);
  }

  execute(statements: readonly Statement[], options?: WriteOptions): Promise<Committed<readonly number[]>> {
    return this.parts.writer.execute(statements, options);
  }

  async query(sql: string, params: Params = [], options: QueryOptions = {}): Promise<readonly RowObject[]> {
    return rowObjects(await read(this.parts.scope, sql, params, options));
  }

  async outcome(id: string | TransactionId, options: { readonly timeoutMs?: number } = {}): Promise<Outcome> {
    return findOutcome(this.parts.scope, this.parts.replica, id, options.timeoutMs);
  }

  changes(options: ChangesOptions = {}): AsyncGenerator<CommittedChange, void, undefined> {
    return changesOf(this.parts.scope, options, this.#closed.signal);
  }

  status(): ReplicaStatus {
    return statusOf(this.parts.scope);
  }

  async caughtUp(options: CaughtUpOptions = {}): Promise<void> {
    const { progress, log, condition, logEnd } = this.parts.scope;
    const { timeoutMs = DEFAULT_CAUGHT_UP_MS, signal } = options;
    this.#assertReplicating();
    const { lastSeq } = await log.identity(signal);
    logEnd.seen(Math.max(lastSeq, logEnd.seq));
    const waiting = { timeoutMs, what: `entry ${lastSeq} of the log was applied`, ...(signal && { signal }) };
    await progress.until(() => progress.seq >= lastSeq || !condition.replicating, waiting);
    this.#assertReplicating();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { scope, system, exposure, release } = this.parts;
    this.#closed.abort(new AntiphonError('CLOSED', `replica ${this.id} is closing`));
    exposure.close();
    await this.#drain();
    await this.#leaveInSync();
    scope.condition.handle('close');
    await system.stop();
    this.parts.writer.close(
      new AntiphonError('CLOSED', `replica ${this.id} is closing; nothing was written`),
    );
    await bounded(scope, scope.store.close());
    await bounded(scope, release());
    scope.condition.handle('closed');
    scope.progress.moved();
  }

  /** A program that writes and ends at once should not keep its changes to itself until it runs again. */
  async #drain(): Promise<void> {
    const { progress, condition, log } = this.parts.scope;
    if (!condition.replicating || log.connection !== 'connected') return;
    const what = 'everything was published';
    await progress
      .until(() => progress.unpublished === 0 || !condition.replicating, { timeoutMs: DRAIN_MS, what })
      .catch(() => undefined);
  }

  /** Who waits for all members must not wait for one that has gone in good order. */
  async #leaveInSync(): Promise<void> {
    const { sync, id, condition, log, clock } = this.parts.scope;
    if (sync?.inSync.has(id) !== true || !condition.replicating || log.connection !== 'connected') return;
    const left = sync.inSync.propose(
      (members) => members.filter((member) => member !== id),
      `${id} is closing`,
    );
    await Promise.race([left, sleep(clock, LEAVE_MS)]).catch(() => undefined);
  }

  async #failed(thrown: unknown): Promise<AntiphonError> {
    const { scope } = this.parts;
    scope.condition.handle('fail');
    const error = new AntiphonError(
      'INTERNAL',
      `replica ${this.id} has failed and stopped, its database is intact: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      { cause: thrown, context: { cluster: this.cluster, replica: this.id } },
    );
    scope.logger.error({ err: thrown }, error.message);
    return Promise.resolve(error);
  }

  #assertReplicating(): void {
    const { condition } = this.parts.scope;
    if (condition.ended)
      throw new AntiphonError('CLOSED', `replica ${this.id} is ${condition.state}; open it again`);
    if (condition.stalled === undefined) return;
    throw new AntiphonError(
      'LOG_REPLACED',
      `replica ${this.id} has stalled and will not catch up: ${condition.stalled.message}`,
    );
  }
}

function rowObjects({ columns, rows }: QueryResult): RowObject[] {
  return rows.map((row) =>
    Object.fromEntries(columns.map((name, index): [string, Value] => [name, row[index] ?? null])),
  );
}

/** Waits for it, but not for ever, and not for its failure: there is nothing left to do about either. */
async function bounded(scope: Scope, work: Promise<void>): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = scope.clock.setTimer(scope.limits.closeTimeoutMs, resolve);
    work
      .catch((error: unknown) => scope.logger.warn({ err: error }, 'something did not close cleanly'))
      .finally(() => {
        timer.cancel();
        resolve();
      });
  });
}
