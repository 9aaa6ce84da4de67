import type { ActorRef } from '@antiphon/actor';
import {
  abortError,
  type AckLevel,
  AntiphonError,
  checkOptions,
  type OptionNames,
  parseAcks,
  type WriteOutcome,
  withoutStop,
} from '@antiphon/core';
import { needsSync } from '../config/needs-sync.js';
import { assertTimeout, retryDelayMs } from '../wait/deadline.js';
import { LocalWrite } from './local-write.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { sessionPosition } from '../state/session.js';
import type { WriteResult } from '../state/write-result.js';
import { assertStatements, runStatements, type SqlTransaction, type Statement } from './statement.js';
import type { Sync } from '../sync/sync.js';
import { SyncWrite } from '../state/sync-write.js';

/** How long a write may take, and what it waits for. */
export interface WriteOptions {
  /**
   * How long the write may take, in milliseconds, retries of a busy or full database included.
   * A write that has not begun to run by then ends with TIMEOUT or with what was in its way, and
   * nothing is written. One that has begun ends as its database decides; in a synchronous cluster
   * with OUTCOME_UNKNOWN while the log may hold it, and with the acknowledgements so far once it is
   * committed.
   * @defaultValue `limits.writeTimeoutMs`, 10 000
   */
  readonly timeoutMs?: number;
  /**
   * Ends the write with ABORTED as long as its function has not begun to run, and where it would
   * have to run again: nothing is written then. Once it runs, and while the log may hold it, the
   * signal changes nothing, and the call tells what became of the write.
   */
  readonly signal?: AbortSignal;
  /**
   * Which databases the write waits for; only in a synchronous cluster.
   * @defaultValue `acks` of the cluster
   */
  readonly acks?: AckLevel;
}

const WRITE_OPTIONS: OptionNames<WriteOptions> = { timeoutMs: true, signal: true, acks: true };

/** Local writes, from this process or over the bus. */
export class Writer<Tx> {
  /**
   * Not decided yet; bounded by `waitingWrites` for those that wait, and by the acknowledgements
   * for the others.
   */
  readonly #open = new Set<Pick<SyncWrite, 'giveUp'>>();

  constructor(
    private readonly scope: ReplicaScope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {}

  /**
   * The function may run more than once: a busy database undoes the whole transaction, and it is
   * tried again.
   */
  async transaction<T>(run: (tx: Tx) => T, options: WriteOptions = {}): Promise<WriteResult<T>> {
    checkOptions(options, WRITE_OPTIONS, 'A write');
    if (typeof run !== 'function')
      throw new AntiphonError('BAD_OPTION', 'A transaction needs a function that gets `tx` and writes.');
    this.#assertWritable();
    const { sync, limits } = this.scope;
    const limit = limitOf(options, limits.writeTimeoutMs);
    if (sync !== undefined) return this.#synchronously(sync, run, options, limit);
    if (options.acks !== undefined) throw needsSync('acks');
    const write = new LocalWrite((tx) => run(tx as Tx), limit, this.scope.clock);
    this.#open.add(write);
    try {
      return await this.#locally(write);
    } finally {
      write.end();
      this.#open.delete(write);
    }
  }

  /** The replica is closing: nobody is left to decide what still waits. */
  close(error: AntiphonError): void {
    for (const write of [...this.#open]) write.giveUp(error);
  }

  async #locally<T>(write: LocalWrite<T>): Promise<WriteResult<T>> {
    const { counters, clock, positions, store } = this.scope;
    const request = { run: write.run };
    const ask = (): Promise<WriteOutcome> => this.replica.ask('write', request, { timeoutMs: Infinity });
    for (let attempt = 0; ; attempt++) {
      try {
        const outcome = await write.attempt(ask);
        if (outcome.type === 'rejected') throw outcome.error;
        const { generation } = store.state().position;
        const position = sessionPosition(generation, positions.applied, outcome.id);
        const value = outcome.value as T;
        return { outcome: 'committed', ...(outcome.id && { id: outcome.id }), position, value };
      } catch (error) {
        const delayMs = retryDelayMs(attempt, clock);
        if (!isBusy(error) || delayMs >= write.leftMs) throw this.#asClosed(error);
        counters.storeRetries++;
        await write.pause(delayMs);
      }
    }
  }

  /** An actor that ended is this replica that ended, to whoever calls it. */
  #asClosed(error: unknown): unknown {
    const { health, id } = this.scope;
    if (!(error instanceof AntiphonError) || error.code !== 'ACTOR_STOPPED' || !health.ended) return error;
    const started = error.context['started'] === true;
    const what = started ? 'See whether the write is there before you repeat it.' : 'Nothing was written.';
    return new AntiphonError('CLOSED', `Replica ${id} is ${health.state}. ${what}`, { cause: error });
  }

  async #synchronously<T>(
    sync: Sync,
    run: (tx: Tx) => T,
    { acks }: WriteOptions,
    limit: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<WriteResult<T>> {
    const { clock, health, id } = this.scope;
    const level = acks === undefined ? sync.settings.acks : parseAcks(acks);
    const inTheWay = (waitedMs: number) => sync.inTheWay.reason(waitedMs);
    const write = new SyncWrite((tx) => run(tx as Tx), { acks: level, ...limit, inTheWay }, clock);
    this.#open.add(write);
    try {
      if (!write.settled && !this.replica.tell('submit', write)) {
        write.reject(
          health.ended
            ? new AntiphonError('CLOSED', `Replica ${id} is ${health.state}. Nothing was written.`)
            : new AntiphonError(
                'OVERLOADED',
                'Too many writes are already waiting. Slow down and call again.',
              ),
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
    options: WriteOptions = {},
  ): Promise<WriteResult<readonly number[]>> {
    const { store } = this.scope;
    if (!store.capabilities.sql) {
      throw new AntiphonError('BAD_OPTION', `The ${store.engine} store takes no SQL. Use transaction().`);
    }
    assertStatements(statements);
    return this.transaction((tx) => runStatements(tx as SqlTransaction, statements), options);
  }

  /** Calls that have no answer yet. */
  get underWay(): number {
    return this.#open.size;
  }

  #assertWritable(): void {
    const { authority, health, cluster, id, clocks, closing } = this.scope;
    const { mayWrite, primary = '' } = authority.current();
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
    if (mayWrite) return clocks.assertInStep();
    throw new AntiphonError(
      'NOT_WRITABLE',
      `Replica ${id} takes no writes. Write to the primary, ${primary}.`,
      {
        context: { cluster, replica: id, primary },
      },
    );
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

function isBusy(error: unknown): boolean {
  return error instanceof AntiphonError && (error.code === 'STORE_BUSY' || error.code === 'STORE_FULL');
}
