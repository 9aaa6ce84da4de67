import type { ActorRef } from '@antiphon/actor';
import { AntiphonError, sleep, type Position, type TransactionId } from '@antiphon/core';
import { retryDelayMs } from './deadline.js';
import type { ReplicaProtocol } from './protocols.js';
import type { Scope } from './scope.js';
import { runStatements, type SqlTransaction, type Statement } from './statement.js';
import { soleWriter } from './topology.js';

export interface WriteOptions {
  /** Retries of a busy or full database included; the limit `writeTimeoutMs` when absent. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Committed in this replica's database, and on its way to the others. */
export interface Committed<T> {
  readonly outcome: 'committed';
  /** Absent when nothing that is replicated changed. */
  readonly id?: TransactionId;
  /** Up to where this replica had dealt with the log. */
  readonly position: Position;
  /** What the function returned; of `execute`, the number of rows that each statement changed. */
  readonly value: T;
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
        const position = { generation: store.state().position.generation, seq: progress.seq };
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

function isBusy(error: unknown): boolean {
  return error instanceof AntiphonError && (error.code === 'STORE_BUSY' || error.code === 'STORE_FULL');
}
