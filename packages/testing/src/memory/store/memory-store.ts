import {
  AntiphonError,
  sleep,
  systemClock,
  toAntiphonError,
  type ApplyOutcome,
  type ApplyRequest,
  type ChecksumReport,
  type Clock,
  type GroupOutcome,
  type HybridClock,
  type InspectOptions,
  type InstallOptions,
  type Position,
  type PreparedGroup,
  type PrepareOptions,
  type QuarantinedMessage,
  type QueryResult,
  type RowDigest,
  type SealedMessage,
  type Store,
  type StoreCapabilities,
  type StoreInspection,
  type StoreState,
  type Timer,
  type TransactionId,
  type Value,
  type WriteOutcome,
  type WriteRequest,
} from '@antiphon/core';
import { Faults } from '../../faults/faults.js';
import { Applying } from './applying.js';
import { capturedTransactions } from './capture.js';
import { checksumOf, digestRows } from './checksum.js';
import { MemoryDatabase } from './database.js';
import type { DatabaseTransaction } from './database-transaction.js';
import { inspectDatabase, installReplica } from './installation.js';
import { DEFAULT_CUT_LIMITS, type CutLimits } from './message-cutter.js';
import { forgetUpTo, outboxSize, sealedAfter, type OutboxPlace } from './outbox.js';
import { outcomeOf, outcomesFrom } from './outcomes.js';
import { MemoryGroup } from './prepared-group.js';
import { Preparing } from './preparing.js';
import { laterOf, withMark, type PublishedMark } from './published-mark.js';
import { readRecord, stateOf, writeRecord, type ReplicaRecord } from './replica-record.js';
import { runWrite } from './running.js';
import { sealCaptured, type Sealing } from './sealing.js';
import { PARTIAL, QUARANTINE, sequenceKey } from './spaces.js';
import { MEMORY_ENGINE } from './table.js';
import type { MemoryTransaction } from './user-transaction.js';

export interface MemoryStoreOptions {
  /** The "file": outlives the store. A new one with nothing in it when absent. */
  readonly database?: MemoryDatabase;
  readonly clock?: Clock;
  readonly faults?: Faults;
  /** A message of whole transactions is closed at so many bytes of changes. */
  readonly batchBytes?: number;
  /** Transactions with more bytes of changes are cut into parts of this size. */
  readonly partBytes?: number;
  /** Changes applied between two turns given away. */
  readonly sliceChanges?: number;
}

type QuarantineQuery = Parameters<Store['quarantine']>[0];

const DEFAULT_SLICE_CHANGES = 500;
/** `markPublished` is kept by itself after this. */
const MARK_AFTER_MS = 900;

const CAPABILITIES: StoreCapabilities = {
  sql: false,
  capturesForeignWriters: true,
  refusesForeignWriters: true,
};

/**
 * The Store port in memory, for simulations and tests: real transactions, the real wire format, captured writers,
 * row versions, displaced rows. What it commits is in its `MemoryDatabase`, which outlives it as a file outlives a process.
 *
 *     const database = memoryDatabase({ tables });
 *     const store = memoryStore({ database });
 *     database.writeOutside((tx) => tx.put('items', [1n, 'from another program']));
 *     store.crash();                                  // then memoryStore({ database }) again
 */
export class MemoryStore implements Store<MemoryTransaction> {
  readonly engine = MEMORY_ENGINE;
  readonly capabilities = CAPABILITIES;
  readonly database: MemoryDatabase;
  protected readonly clock: Clock;
  protected readonly faults: Faults;
  protected readonly limits: CutLimits;
  protected readonly sliceChanges: number;
  #hybrid: HybridClock | undefined;
  #guardNumbering: (() => void) | undefined;
  #mark: PublishedMark | undefined;
  #markTimer: Timer | undefined;
  /** The transaction of the writing method that runs, or of the group that it prepared. */
  #transaction: DatabaseTransaction | undefined;
  /** Of the group that was prepared last; may have ended. */
  #prepared: DatabaseTransaction | undefined;
  #life: 'open' | 'closed' | 'crashed' = 'open';

  constructor(options: MemoryStoreOptions = {}) {
    this.database = options.database ?? new MemoryDatabase();
    this.clock = options.clock ?? systemClock();
    this.faults = options.faults ?? Faults.none();
    this.limits = {
      batchBytes: options.batchBytes ?? DEFAULT_CUT_LIMITS.batchBytes,
      partBytes: options.partBytes ?? DEFAULT_CUT_LIMITS.partBytes,
    };
    this.sliceChanges = options.sliceChanges ?? DEFAULT_SLICE_CHANGES;
  }

  async inspect({ tables }: InspectOptions = {}): Promise<StoreInspection> {
    this.#assertOpen();
    return inspectDatabase(this.database, tables);
  }

  async install(options: InstallOptions, clock: HybridClock): Promise<void> {
    await this.#writeTransaction(async (transaction) => {
      const record = installReplica(this.database, transaction, options);
      // Before anything is sealed: a row that is there must never be later than one that is written now.
      clock.restore(record.lastTime);
      // Nothing else is sealed yet: own past first.
      const sealed = options.sealExistingRows ? this.sealCaptured(transaction, record, clock).record : record;
      writeRecord(transaction, sealed);
    });
    // The cluster counts on what was installed here as soon as it was: a power loss must not take that back.
    this.database.sync();
    this.#hybrid = clock;
  }

  state(): StoreState {
    const record = this.#record();
    const partial = Object.fromEntries(
      [...this.database.entries(PARTIAL)].map(([origin, { header, bodies }]) => [
        origin,
        {
          counter: header.firstCounter,
          time: header.time,
          bytes: bodies.reduce((sum, body) => sum + body.length, 0),
        },
      ]),
    );
    const kept = [...this.database.entries(QUARANTINE)];
    return {
      ...stateOf(withMark(record, this.#mark)),
      partial,
      ...outboxSize(this.database),
      quarantined: kept.length,
      quarantinedBytes: kept.reduce((sum, [, { data }]) => sum + data.length, 0),
    };
  }

  async write(requests: readonly WriteRequest<MemoryTransaction>[]): Promise<readonly WriteOutcome[]> {
    return await this.#writeTransaction(async (transaction) => {
      const record = this.sealCaptured(transaction, this.#record(transaction)).record;
      writeRecord(transaction, record);
      const runs = requests.map((request) => runWrite(this.database, transaction, request));
      const sealing = this.sealCaptured(transaction, record);
      writeRecord(transaction, sealing.record);
      return runs.map((run): WriteOutcome => {
        if (run.type === 'rejected') return run;
        const id = sealing.ids.get(run.writer);
        return { type: 'committed', value: run.value, ...(id === undefined ? {} : { id }) };
      });
    });
  }

  async prepare(
    requests: readonly WriteRequest<MemoryTransaction>[],
    options: PrepareOptions,
  ): Promise<PreparedGroup | undefined> {
    const transaction = this.#begin();
    try {
      if (requests.length > 0 && capturedTransactions(transaction).length > 0) return this.#end(transaction);
      const record = withMark(this.#record(transaction), this.#mark);
      const context = { database: this.database, clock: this.hybridClock() };
      const preparation = new Preparing(transaction, record, options, context).run(requests);
      await this.#takeTime();
      this.#assertOpen();
      this.#prepared = transaction;
      return new MemoryGroup(transaction, preparation, options.token, (keep) =>
        this.#commitGroup(transaction, keep),
      );
    } catch (error) {
      this.#end(transaction);
      throw toAntiphonError(error, 'STORE_FAILED');
    }
  }

  async outcomeOf(id: TransactionId): Promise<GroupOutcome | undefined> {
    this.#assertOpen();
    return outcomeOf(this.database, id);
  }

  async outcomes(fromSeq: number, limit: number): Promise<readonly GroupOutcome[]> {
    this.#assertOpen();
    return outcomesFrom(this.database, fromSeq, limit);
  }

  guardNumbering(guard: () => void): void {
    this.#guardNumbering = guard;
  }

  async seal(): Promise<number> {
    this.#assertOpen();
    if (!this.hasUnsealed()) return 0;
    return await this.#writeTransaction(async (transaction) => {
      const sealing = this.sealCaptured(transaction, this.#record(transaction));
      writeRecord(transaction, sealing.record);
      return sealing.ids.size;
    });
  }

  check(): Promise<void> {
    return Promise.resolve();
  }

  hasUnsealed(): boolean {
    return this.database.hasCaptured();
  }

  unsealed(): number {
    return this.hasUnsealed() ? 1 : 0;
  }

  schemaCookie(): number {
    return 0;
  }

  async sealed(after: OutboxPlace, maxBytes: number): Promise<readonly SealedMessage[]> {
    this.#assertOpen();
    return sealedAfter(this.database, after, maxBytes);
  }

  markPublished(counter: number, position?: Position): void {
    if (this.#life !== 'open') return;
    this.#mark = {
      counter: Math.max(counter, this.#mark?.counter ?? 0),
      position: laterOf(position, this.#mark?.position),
    };
    this.#markTimer ??= this.clock.setTimer(MARK_AFTER_MS, () => this.#keepMark());
  }

  async prune(counter: number): Promise<void> {
    await this.#writeTransaction(async (transaction) => {
      const { publishedCounter } = withMark(this.#record(transaction), this.#mark);
      forgetUpTo(transaction, counter, publishedCounter);
    });
  }

  async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    return await this.#writeTransaction((transaction) => this.applySteps(transaction, request));
  }

  async quarantine({ afterId, seq, limit }: QuarantineQuery): Promise<readonly QuarantinedMessage[]> {
    this.#assertOpen();
    return [...this.database.entries(QUARANTINE)]
      .map(([, { data, ...message }]) => ({ ...message, bytes: data.length }))
      .filter((message) => message.id > afterId && (seq === undefined || message.seq === seq))
      .slice(0, limit);
  }

  async quarantinedData(id: number): Promise<Uint8Array | undefined> {
    this.#assertOpen();
    return this.database.get(QUARANTINE, sequenceKey(id))?.data;
  }

  async resumeFrom(counter: number, time: number): Promise<void> {
    await this.#writeTransaction(async (transaction) => {
      const record = this.#record(transaction);
      this.#hybrid?.restore(time);
      const lastTime = Math.max(record.lastTime, time);
      const behind = counter > record.lastCounter;
      const resumed = behind ? { lastCounter: counter, pastUntil: counter } : {};
      writeRecord(transaction, { ...record, ...resumed, lastTime });
    });
  }

  async query(
    _sql: string,
    _params: readonly Value[] | Readonly<Record<string, Value>>,
  ): Promise<QueryResult> {
    throw new AntiphonError(
      'BAD_SQL',
      'a memory store takes no SQL; read its rows with `database.rows(table)`',
    );
  }

  async checksum(tables?: readonly string[]): Promise<ChecksumReport> {
    this.#assertOpen();
    return checksumOf(this.database, this.#record(), tables);
  }

  async rowDigests(
    table: string,
    afterKey: readonly Value[] | undefined,
    limit: number,
  ): Promise<readonly RowDigest[]> {
    this.#assertOpen();
    return digestRows(this.database, table, afterKey, limit);
  }

  async close(): Promise<void> {
    if (this.#life !== 'open') return;
    this.#prepared?.rollback();
    this.#keepMark();
    this.#markTimer?.cancel();
    this.#life = 'closed';
  }

  /** The process is killed: what is not committed is gone, and nothing more happens. */
  crash(): void {
    if (this.#life === 'crashed') return;
    this.#life = 'crashed';
    this.#markTimer?.cancel();
    this.#transaction?.rollback();
  }

  protected async applySteps(transaction: DatabaseTransaction, request: ApplyRequest): Promise<ApplyOutcome> {
    // Sealed first: the context of what others wrote here must not claim what they had not seen (I5).
    const sealed = this.sealCaptured(transaction, this.#record(transaction)).record;
    const context = { database: this.database, clock: this.hybridClock(), sliceChanges: this.sliceChanges };
    const applying = new Applying(transaction, request, context, sealed);
    const outcome = await applying.run();
    writeRecord(transaction, applying.record);
    return outcome;
  }

  protected sealCaptured(
    transaction: DatabaseTransaction,
    record: ReplicaRecord,
    clock = this.hybridClock(),
  ): Sealing {
    if (this.hasUnsealed()) this.#guardNumbering?.();
    return sealCaptured(transaction, record, { database: this.database, clock, limits: this.limits });
  }

  async #writeTransaction<T>(work: (transaction: DatabaseTransaction) => Promise<T>): Promise<T> {
    const transaction = this.#begin();
    try {
      const value = await work(transaction);
      await this.#commit(transaction);
      return value;
    } catch (error) {
      throw toAntiphonError(error, 'STORE_FAILED');
    } finally {
      this.#end(transaction);
    }
  }

  async #commitGroup(transaction: DatabaseTransaction, keep: () => void): Promise<void> {
    try {
      this.#assertOpen();
      this.#assertUsable();
      keep();
      await this.#commit(transaction);
    } catch (error) {
      throw toAntiphonError(error, 'STORE_FAILED');
    } finally {
      this.#end(transaction);
    }
  }

  #begin(): DatabaseTransaction {
    this.#assertOpen();
    this.#assertUsable();
    return (this.#transaction = this.database.begin());
  }

  async #commit(transaction: DatabaseTransaction): Promise<void> {
    await this.#takeTime();
    this.#storeMark(transaction);
    this.#commitNow(transaction);
    await this.#takeTime();
  }

  #commitNow(transaction: DatabaseTransaction): void {
    transaction.commit();
    if (readRecord(this.database)?.durable === true) this.database.sync();
  }

  /** Nothing happens to what was committed. */
  #end(transaction: DatabaseTransaction): undefined {
    transaction.rollback();
    if (this.#transaction === transaction) this.#transaction = undefined;
  }

  #keepMark(): void {
    this.#markTimer = undefined;
    if (this.#mark === undefined || this.#life !== 'open') return;
    // Somebody else's transaction is open: the next commit of ours keeps it, or the next try.
    if (this.database.busy) {
      this.#markTimer = this.clock.setTimer(MARK_AFTER_MS, () => this.#keepMark());
      return;
    }
    const transaction = this.database.begin();
    this.#storeMark(transaction);
    this.#commitNow(transaction);
  }

  #storeMark(transaction: DatabaseTransaction): void {
    const record = readRecord(transaction);
    if (record === undefined || this.#mark === undefined) return;
    writeRecord(transaction, withMark(record, this.#mark));
    this.#mark = undefined;
  }

  async #takeTime(): Promise<void> {
    const ms = this.faults.storeMs();
    if (ms > 0) await sleep(this.clock, ms);
  }

  #assertUsable(): void {
    if (this.faults.strikes('storeBusy'))
      throw new AntiphonError('STORE_BUSY', 'another program holds the write lock; try again');
    if (this.faults.strikes('storeFull'))
      throw new AntiphonError('STORE_FULL', 'the disk is full; make room');
  }

  #assertOpen(): void {
    if (this.#life === 'open') return;
    throw new AntiphonError('CLOSED', 'the store is closed; open another one on its database');
  }

  #record(reading: DatabaseTransaction | MemoryDatabase = this.database): ReplicaRecord {
    const record = readRecord(reading);
    if (record === undefined)
      throw new AntiphonError('BAD_OPTION', 'this database is no replica yet; call install first');
    return record;
  }

  protected hybridClock(): HybridClock {
    if (this.#hybrid === undefined)
      throw new AntiphonError('BAD_OPTION', 'call install before anything else');
    return this.#hybrid;
  }
}

export function memoryStore(options?: MemoryStoreOptions): MemoryStore {
  return new MemoryStore(options);
}
