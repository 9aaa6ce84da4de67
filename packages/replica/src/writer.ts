import type { ActorRef } from '@antiphon/actor';
import { AntiphonError, sleep, type TransactionId } from '@antiphon/core';
import { retryDelayMs } from './deadline.js';
import type { ReplicaProtocol } from './protocols.js';
import type { Scope } from './scope.js';
import { sessionPosition, type SessionPosition } from './session.js';
import { runStatements, type SqlTransaction, type Statement } from './statement.js';
import type { Sync } from './sync/sync.js';
import { SyncWrite } from './sync/sync-write.js';
import { soleWriter } from './topology.js';
import { parseAcks, type AckLevel } from './update.js';

export interface WriteOptions {
  /** Retries of a busy or full database included; the limit `writeTimeoutMs` when absent. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** What this write waits for, in a synchronous cluster; the cluster's when absent. */
  readonly acks?: AckLevel;
}

/** Who has committed a synchronous write durably. */
export interface Acknowledged {
  readonly level: AckLevel;
  /** Ids, the writer's own included. */
  readonly by: readonly string[];
  /** Who was waited for and had not answered. */
  readonly missing: readonly string[];
  /** False when the time was up before the level was reached: committed all the same, and the others get it from the log. */
  readonly reached: boolean;
}

/** Asynchronous: committed in this replica's database, and on its way to the others. Synchronous: `acks` says where. */
export interface Committed<T> {
  readonly outcome: 'committed';
  /** Absent when nothing that is replicated changed. */
  readonly id?: TransactionId;
  /** A session token, for `query`: a read after it shows this write. */
  readonly position: SessionPosition;
  /** What the function returned; of `execute`, the number of rows that each statement changed. */
  readonly value: T;
  /** Of a synchronous write that changed something. */
  readonly acks?: Acknowledged;
  /** Too few members were in sync, and it did not wait for them (`onShortfall: 'degrade'`). */
  readonly degraded?: true;
}

/** Local writes, from this process or over the bus. */
export class Writer<Tx> {
  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {}

  /** The function may run more than once: a busy database undoes the whole transaction, and it is tried again. */
  async transaction<T>(run: (tx: Tx) => T, options: WriteOptions = {}): Promise<Committed<T>> {
    this.#assertWritable();
    const { sync } = this.scope;
    if (sync !== undefined) return this.#synchronously(sync, run, options);
    if (options.acks !== undefined) throw needsSync('acks');
    const { clock, limits, condition, progress, store } = this.scope;
    const { signal } = options;
    const untilMs = clock.monotonicMs() + (options.timeoutMs ?? limits.writeTimeoutMs);
    for (let attempt = 0; ; attempt++) {
      const leftMs = untilMs - clock.monotonicMs();
      try {
        const request = { run: (tx: unknown) => run(tx as Tx) };
        const limit = { timeoutMs: Math.max(1, leftMs), ...(signal && { signal }) };
        const outcome = await this.replica.ask('write', request, limit);
        if (outcome.type === 'rejected') throw outcome.error;
        const { generation } = store.state().position;
        const position = sessionPosition(generation, progress.seq, outcome.id);
        const value = outcome.value as T;
        return { outcome: 'committed', ...(outcome.id && { id: outcome.id }), position, value };
      } catch (error) {
        const delayMs = retryDelayMs(attempt, clock);
        if (!isBusy(error) || delayMs >= leftMs) throw error;
        condition.counts.storeRetries++;
        await sleep(clock, delayMs, signal);
      }
    }
  }

  async #synchronously<T>(sync: Sync, run: (tx: Tx) => T, options: WriteOptions): Promise<Committed<T>> {
    const { clock, limits } = this.scope;
    const { acks, signal, timeoutMs = limits.writeTimeoutMs } = options;
    signal?.throwIfAborted();
    const level = acks === undefined ? sync.settings.acks : parseAcks(acks);
    const write = new SyncWrite(
      (tx) => run(tx as Tx),
      { acks: level, timeoutMs, ...(signal && { signal }) },
      clock,
    );
    if (!this.replica.tell('submit', write)) {
      write.reject(new AntiphonError('OVERLOADED', 'too many writes wait already; slow down and call again'));
    }
    const result = await write.promise;
    if (result.degraded === true) sync.counts.degraded++;
    return result as Committed<T>;
  }

  execute(
    statements: readonly Statement[],
    options: WriteOptions = {},
  ): Promise<Committed<readonly number[]>> {
    const { store } = this.scope;
    if (!store.capabilities.sql) {
      return Promise.reject(
        new AntiphonError('BAD_OPTION', `the ${store.engine} store takes no SQL; use transaction()`),
      );
    }
    return this.transaction((tx) => runStatements(tx as SqlTransaction, statements), options);
  }

  #assertWritable(): void {
    const { condition, document, cluster, id, writable } = this.scope;
    if (condition.ended) {
      throw new AntiphonError('CLOSED', `replica ${id} is ${condition.state}; open it again`, {
        context: { cluster, replica: id },
      });
    }
    if (writable) return;
    const primary = soleWriter(document.topology) ?? '';
    throw new AntiphonError(
      'NOT_WRITABLE',
      `replica ${id} takes no writes; write to the primary, ${primary}`,
      {
        context: { cluster, replica: id, primary },
      },
    );
  }
}

/** What only a synchronous cluster can promise. */
export function needsSync(what: string): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `${what} needs a cluster with \`update: { mode: sync }\`; this one completes writes on one database and propagates them`,
  );
}

function isBusy(error: unknown): boolean {
  return error instanceof AntiphonError && (error.code === 'STORE_BUSY' || error.code === 'STORE_FULL');
}
