import {
  AntiphonError,
  movedTo,
  type ApplyOutcome,
  type ApplyRequest,
  type Batch,
  type ChecksumReport,
  type GroupOutcome,
  type HybridClock,
  type InspectOptions,
  type InstallOptions,
  type InstallReport,
  type KeptConflict,
  type LeftOutWrite,
  type Position,
  type PreparedGroup,
  type PrepareOptions,
  type QuarantinedMessage,
  type QueryResult,
  type Rescue,
  type RescueChange,
  type RescueState,
  type RescueWrite,
  type RewindOptions,
  type RewindReport,
  type RowDigest,
  type RowStream,
  type SealedMessage,
  type Store,
  type StoreCapabilities,
  type StoreInspection,
  type StoreState,
  type TransactionId,
  type WriteOutcome,
  type WriteRequest,
  type WritingWatch,
} from '@antiphon/core';
import { applySteps, type ApplyManner } from './apply-transaction.js';
import { isUncaptured, keepUncapturedTables } from './capture-record.js';
import { Connection } from './connection.js';
import { CurrentState } from './current-state.js';
import { FileIdentity } from './file-identity.js';
import { isRefusal, notWritable, storeClosed, storeError } from './errors.js';
import { putGuardAlone } from './guard-view.js';
import { sealExistingRows } from './existing-rows.js';
import { readBelonging } from './agreement.js';
import { inspectDatabase } from './database-inspection.js';
import { hasMetadata } from './inspection.js';
import { installReplica, type Installation } from './install.js';
import type { TrackedTable } from './local-table.js';
import { OpenGroup } from './open-group.js';
import { Pace } from './pace.js';
import { prepareGroup, type Preparation } from './prepare.js';
import { ConflictLedger } from './conflicts.js';
import { Quarantine } from './quarantine.js';
import { Recapture } from './recapture.js';
import { pruneSealed, readSealed } from './sealed-messages.js';
import { Requests } from './requests.js';
import { RescueLedger } from './rescue-ledger.js';
import { writeRescued } from './rescue-writes.js';
import { resumeFrom } from './resume.js';
import { tryToRenew } from './foreign-lease.js';
import { handOver, rewind } from './rewind.js';
import { isLocked, NO_COMMIT, tryRoom } from './room.js';
import { rowsHere } from './rows-here.js';
import { schemaCookieOf, Session } from './session.js';
import { namedPrimary, StateWriter, type ReplicaState } from './state.js';
import { StoreReads } from './store-reads.js';
import { PROCESS, type Surroundings } from './surroundings.js';
import type { SqliteTransaction } from './transaction.js';
import { DEFAULT_BUSY_TIMEOUT_MS, fileOf, processesOf, type SqliteOptions } from './store-options.js';
import { GroupWriter } from './write.js';

type QuarantineQuery = Parameters<Store['quarantine']>[0];

/** How long `markPublished` may stay in memory only. */
const PUBLISHED_DELAY_MS = 1000;
const SETTLE_AGAIN_MS = 1000;

export class SqliteStore implements Store<SqliteTransaction> {
  readonly engine = 'sqlite';
  readonly capabilities: StoreCapabilities = {
    sql: true,
    capturesForeignWriters: true,
    refusesForeignWriters: true,
  };
  readonly recapturing: Recapture;
  readonly requests = new Requests(() => this.#installed().writer);
  readonly #file: string;
  #guardNumbering: (() => void) | undefined;
  readonly #owner: string;
  readonly #reads: StoreReads;
  #writer: Connection | undefined;
  #fileIdentity: FileIdentity | undefined;
  #session: Session | undefined;
  readonly #state = new CurrentState(() => (this.#closed ? storeClosed() : undefined));
  /** On the monotonic clock: rows that an own write set free are not looked at before. */
  #settleAgainMs = 0;
  #publishedTimer: ReturnType<Surroundings['setTimer']> | undefined;
  #group: OpenGroup | undefined;
  #closed = false;

  constructor(
    private readonly options: SqliteOptions,
    private readonly surroundings: Surroundings = PROCESS,
  ) {
    this.#owner = surroundings.unique();
    this.#file = fileOf(options);
    this.#reads = new StoreReads(this.#file, processesOf(options), surroundings);
    this.recapturing = new Recapture({
      file: this.#file,
      session: () => this.#installed(),
      state: this.#state,
      newStore: (file) => new SqliteStore({ file }, surroundings),
    });
  }

  async inspect(options?: InspectOptions): Promise<StoreInspection> {
    const connection = await this.#open();
    try {
      const inspection = inspectDatabase(connection, options);
      return hasMetadata(connection) ? { ...inspection, ...readBelonging(connection) } : inspection;
    } catch (thrown) {
      throw storeError(thrown, `Cannot inspect ${this.#file}`);
    }
  }

  async #open(): Promise<Connection> {
    if (this.#closed) throw storeClosed();
    if (this.#writer !== undefined) return this.#writer;
    this.surroundings.assertCanRead();
    this.#writer = await this.#connect(true);
    this.#fileIdentity = await FileIdentity.of(this.#file, this.surroundings);
    return this.#writer;
  }

  #connect(enforces: boolean): Promise<Connection> {
    return Connection.open({
      file: this.#file,
      synchronous: this.options.synchronous ?? 'normal',
      enforces,
      busyTimeoutMs: this.options.busyTimeoutMs ?? DEFAULT_BUSY_TIMEOUT_MS,
      surroundings: this.surroundings,
    });
  }

  async install(options: InstallOptions, clock: HybridClock): Promise<InstallReport> {
    const writer = await this.#open();
    await this.recapturing.end();
    const applier = this.#session?.applier ?? (await this.#connect(false));
    return this.#state.exclusively(async () => {
      let report: InstallReport;
      // Whatever the store was told: a created or joined replica must not be lost in a power cut.
      writer.setDurable(true);
      try {
        const { session, state, upgraded } = await writer.transaction(() =>
          this.#install(writer, applier, options, clock),
        );
        this.#session = session;
        this.#state.installed(state);
        report = upgraded === undefined ? {} : { upgraded };
      } catch (thrown) {
        if (this.#session === undefined) applier.close();
        throw storeError(thrown, `Cannot make ${this.#file} a replica`);
      }
      for (const connection of [writer, applier]) connection.setDurable(options.durable);
      return report;
    });
  }

  async #install(
    writer: Connection,
    applier: Connection,
    options: InstallOptions,
    clock: HybridClock,
  ): Promise<Pick<Installation, 'state' | 'upgraded'> & { readonly session: Session }> {
    const states = new StateWriter(writer, this.#owner);
    const installation = installReplica(writer, options, states);
    const { state, tables, fresh, captured, repeated, upgraded } = installation;
    clock.restore(state.time);
    const session = new Session(writer, applier, tables, state, clock, this.#owner, repeated, () =>
      this.#guardNumbering?.(),
    );
    if (fresh && options.sealExistingRows) await this.#sealExisting(session, state, tables);
    if (captured) state.schemaCookie = schemaCookieOf(writer);
    session.countHidden(state);
    session.storeState(writer, state);
    return { session, state, upgraded };
  }

  async #sealExisting(session: Session, state: ReplicaState, tables: readonly TrackedTable[]): Promise<void> {
    const { outbox, sealer } = session.sealing(session.writer);
    sealer.begin(state);
    for (const table of tables)
      await sealExistingRows(session.writer, outbox, sealer, table, Pace.ordinary(this.surroundings));
    sealer.finish();
  }

  state(): StoreState {
    return this.#state.get().snapshot();
  }

  async write(
    requests: readonly WriteRequest<SqliteTransaction>[],
  ): Promise<readonly (WriteOutcome | LeftOutWrite)[]> {
    const session = this.#installed();
    if (session.policy.writes === 'refuse') {
      const error = notWritable(namedPrimary(session.policy));
      return requests.map(() => ({ type: 'rejected', error }));
    }
    return this.#state.exclusively(async () => {
      const outcomes = await new GroupWriter(session, this.#state).write(requests);
      await this.#settle();
      return outcomes;
    });
  }

  async prepare(
    requests: readonly WriteRequest<SqliteTransaction>[],
    options: PrepareOptions,
  ): Promise<PreparedGroup | undefined> {
    const session = this.#installed();
    this.#state.claim();
    let preparation: Preparation | undefined;
    try {
      preparation =
        session.policy.writes === 'refuse' && requests.length > 0
          ? this.#refused(session, requests.length)
          : await prepareGroup(session, () => this.#state.get(), requests, options);
      if (this.#closed) throw storeClosed();
    } catch (thrown) {
      this.#state.release();
      throw this.#closed ? storeClosed() : thrown;
    }
    if (preparation === undefined) {
      this.#state.release();
      return undefined;
    }
    this.#group = new OpenGroup(session, preparation, {
      committed: (state) => this.#state.committed(state),
      settle: () => this.#settle(),
      released: () => {
        this.#group = undefined;
        this.#state.release();
      },
    });
    return this.#group;
  }

  #refused({ policy }: Session, count: number): Preparation {
    const error = notWritable(namedPrimary(policy));
    return {
      writes: Array.from({ length: count }, () => ({ type: 'rejected', error })),
      draft: this.#state.get(),
    };
  }

  outcomeOf(id: TransactionId): Promise<GroupOutcome | undefined> {
    return this.#read('Cannot read outcomes', ({ outcomes }) => {
      const applied = this.#state.get().counterOf(id.origin);
      return id.counter > applied ? undefined : outcomes.of(id);
    });
  }

  outcomes(fromSeq: number, limit: number): Promise<readonly GroupOutcome[]> {
    return this.#read('Cannot read outcomes', ({ outcomes }) => outcomes.from(fromSeq, limit));
  }

  guardNumbering(guard: () => void): void {
    this.#guardNumbering = guard;
  }

  watchWriting(watch: WritingWatch | undefined): void {
    this.#state.watch = watch;
  }

  async seal(): Promise<number> {
    const session = this.#installed();
    if (!this.hasUnsealed()) return 0;
    const { writer } = session;
    return this.#state.exclusively(async () => {
      const before = this.#state.get().lastCounter;
      if (this.#mustSettle) {
        // Which seals as well.
        await this.#settle();
        if (!this.hasUnsealed()) return this.#state.get().lastCounter - before;
      }
      const sealed = await this.#transaction('Sealing failed', async (draft) => {
        session.verifySchema(writer, draft);
        await session.sealPending(writer, draft, Pace.ordinary(this.surroundings));
        session.sealing(writer).sealer.finish();
        return draft.lastCounter - before;
      });
      await this.#settle();
      return sealed;
    });
  }

  hasUnsealed(): boolean {
    const session = this.#installed();
    try {
      return (
        this.#mustSettle ||
        schemaCookieOf(session.writer) !== this.#state.get().schemaCookie ||
        !session.sealing(session.writer).outbox.isEmpty()
      );
    } catch {
      // Another process repairs the WAL right now: `seal` waits for it.
      return true;
    }
  }

  async check(): Promise<void> {
    const session = this.#installed();
    await this.#fileIdentity?.assertSame();
    const { writer } = session;
    const what = 'Reading the schema of the database failed';
    await this.#state.exclusively(async () => {
      try {
        if (schemaCookieOf(writer) === this.#state.get().schemaCookie)
          return session.writerState.assertOwned(this.#state.get());
        await this.#transaction(what, (draft) => session.verifySchema(writer, draft));
      } catch (thrown) {
        if (isUncaptured(thrown)) keepUncapturedTables(writer, session.tables);
        putGuardAlone(writer, () => session.writerState.assertOwned(this.#state.get()));
        throw storeError(thrown, what);
      }
    });
  }

  unsealed(): number {
    const session = this.#session;
    if (session === undefined || this.#closed) return 0;
    try {
      return session.sealing(session.writer).outbox.length();
    } catch {
      return 0;
    }
  }

  schemaCookie(): number {
    const { writer } = this.#installed();
    try {
      return schemaCookieOf(writer);
    } catch {
      // Whoever has locked the database may be changing it.
      return -1;
    }
  }

  sealed(
    after: { readonly counter: number; readonly part: number },
    maxBytes: number,
  ): Promise<readonly SealedMessage[]> {
    const recent = this.#state.recent.take({ lastCounter: after.counter, part: after.part }, maxBytes);
    // A transaction that gives way while it seals has messages there that may yet be undone.
    const upTo = this.#state.get().lastCounter;
    return this.#read(
      'Cannot read sealed messages',
      ({ writer }) => recent ?? readSealed(writer, after, { maxBytes, upTo }),
    );
  }

  /** On the writing connection, where an open group stores nothing of this before it commits. */
  async #read<T>(what: string, read: (session: Session) => T | Promise<T>): Promise<T> {
    const session = this.#installed();
    try {
      return await read(session);
    } catch (thrown) {
      throw storeError(thrown, what);
    }
  }

  markPublished(counter: number, position?: Position): void {
    const state = this.#state.get();
    state.published(counter);
    if (
      position !== undefined &&
      (position.generation !== state.position.generation || position.seq > state.position.seq)
    )
      state.position = movedTo(state.position, position);
    if (this.#publishedTimer !== undefined || this.#closed) return;
    this.#publishedTimer = this.surroundings.setTimer(PUBLISHED_DELAY_MS, () => {
      this.#publishedTimer = undefined;
      if (!this.#state.tryTransaction(this.#installed()) && !this.#closed) this.markPublished(0);
    });
  }

  async prune(counter: number): Promise<void> {
    const session = this.#installed();
    const { publishedCounter } = this.#state.get();
    if (counter > publishedCounter) {
      throw new AntiphonError(
        'INTERNAL',
        `Transactions up to ${counter} cannot be forgotten: only those up to ${publishedCounter} are in the log. Please report it.`,
      );
    }
    for (;;) {
      const pruned = await this.#state.exclusively(() =>
        this.#transaction('Cannot forget sealed messages', (draft) =>
          pruneSealed(session.writer, draft, counter),
        ),
      );
      if (pruned === 0) return;
      await Pace.ordinary(this.surroundings).rest();
    }
  }

  async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    return this.#state.exclusively(async () => {
      try {
        return await this.#apply(request, 'together');
      } catch (thrown) {
        if (this.#closed || !isRefusal(thrown)) throw storeError(thrown, 'Applying failed');
      }
      try {
        return await this.#apply(request, 'one by one');
      } catch (thrown) {
        throw storeError(thrown, 'Applying failed');
      }
    });
  }

  /**
   * Rows that an own write set free come back in a transaction of their own; if it fails, with the
   * next apply, or when it is looked for unsealed changes.
   */
  async #settle(): Promise<void> {
    const { position, unsettled } = this.#state.get();
    if (unsettled.length === 0) return;
    try {
      await this.#apply(
        { steps: [], position, yield: () => Pace.ordinary(this.surroundings).rest(), sliceMs: 8 },
        'together',
      );
    } catch {
      // Noted in the database; what was written is committed and must be reported so.
      this.#settleAgainMs = this.surroundings.monotonicMs() + SETTLE_AGAIN_MS;
    }
  }

  /** It failed, and may succeed by now. */
  get #mustSettle(): boolean {
    return this.#state.get().unsettled.length > 0 && this.surroundings.monotonicMs() >= this.#settleAgainMs;
  }

  async #apply(request: ApplyRequest, how: ApplyManner): Promise<ApplyOutcome> {
    const session = this.#installed();
    const outcome = await this.#state.transaction(session, session.applier, (draft) =>
      applySteps(session, draft, request, how),
    );
    session.policy = this.#state.get().policy;
    return outcome;
  }

  quarantine({ afterId, seq, limit }: QuarantineQuery): Promise<readonly QuarantinedMessage[]> {
    return this.#read('Cannot read the quarantine', ({ writer }) =>
      new Quarantine(writer).list(afterId, seq, limit),
    );
  }

  quarantinedData(id: number): Promise<Uint8Array | undefined> {
    return this.#read('Cannot read the quarantine', ({ writer }) => new Quarantine(writer).data(id));
  }

  async rewind(options: RewindOptions): Promise<RewindReport> {
    const session = this.#installed();
    return this.#state.exclusively(async () => {
      try {
        const report = await this.#state.transaction(session, session.applier, (draft) =>
          rewind(session, draft, options),
        );
        this.#state.forgetRecent();
        session.policy = this.#state.get().policy;
        return report;
      } catch (thrown) {
        throw storeError(thrown, 'Rewinding failed');
      }
    });
  }

  renewForeignLease(): void {
    const { policy, writer } = this.#installed();
    if (!this.#state.isWriting) tryToRenew(writer, policy);
  }

  tryCommit(): Promise<void> {
    const { writer } = this.#installed();
    return this.#state.exclusively(() => tryRoom(writer, (work) => this.#transaction(NO_COMMIT, work)));
  }

  isLocked(): boolean {
    return !this.#state.isWriting && isLocked(this.#installed().writer);
  }

  async handOver(): Promise<void> {
    const session = this.#installed();
    await this.#state.exclusively(() =>
      this.#transaction('Handing over failed', (draft) => handOver(session, draft)),
    );
    session.policy = this.#state.get().policy;
  }

  conflicts(query: Parameters<Store['conflicts']>[0]): Promise<readonly KeptConflict[]> {
    return this.#read('Cannot read the conflicts', ({ writer, tables }) =>
      new ConflictLedger(writer).list(tables, query),
    );
  }

  rescues(query: Parameters<Store['rescues']>[0]): Promise<readonly Rescue[]> {
    return this.#read('Cannot read the rescue ledger', ({ writer }) => new RescueLedger(writer).list(query));
  }

  rescueChanges(...[id, query]: Parameters<Store['rescueChanges']>): Promise<readonly RescueChange[]> {
    return this.#read('Cannot read the rescue ledger', ({ writer, tables, rescuePlaces }) =>
      new RescueLedger(writer).changes(id, query, rescuePlaces, rowsHere(writer, tables)),
    );
  }

  rescueData(...[id, piece]: Parameters<Store['rescueData']>): ReturnType<Store['rescueData']> {
    return this.#read('Cannot read a rescue', ({ writer }) => new RescueLedger(writer).piece(id, piece));
  }

  resolveRescue(id: number, state: Exclude<RescueState, 'kept'>, by?: string): Promise<boolean> {
    return this.#state.exclusively(() =>
      this.#transaction('Cannot write the rescue ledger', (draft) =>
        new RescueLedger(this.#installed().writer).resolve(draft, id, state, by),
      ),
    );
  }

  writeRescued(changes: readonly RescueChange[], options: { readonly force: boolean }): RescueWrite {
    return writeRescued(this.#installed(), changes, options);
  }

  notePast(batches: readonly Batch[]): Promise<void> {
    const known = this.#state.get().lastCounter;
    return this.#read('Cannot note what the log has', ({ past }) => past.note(batches, known));
  }

  async resumeFrom(counter: number, time: number): Promise<number> {
    const session = this.#installed();
    const forgotten = await this.#state.exclusively(() =>
      this.#transaction('Cannot resume', (draft) => resumeFrom(session, draft, counter, time)),
    );
    session.past.end();
    return forgotten;
  }

  /** On the writing connection, inside of a writing method. */
  async #transaction<T>(what: string, work: (draft: ReplicaState) => T | Promise<T>): Promise<T> {
    const session = this.#installed();
    try {
      return await this.#state.transaction(session, session.writer, work);
    } catch (thrown) {
      throw storeError(thrown, what);
    }
  }

  async query(...[sql, params, options]: Parameters<Store['query']>): Promise<QueryResult> {
    await this.#open();
    return this.#reads.query(sql, params, options);
  }

  async stream(...[sql, params, options]: Parameters<Store['stream']>): Promise<RowStream> {
    await this.#open();
    return this.#reads.stream(sql, params, options);
  }

  async checksum(names?: readonly string[], signal?: AbortSignal): Promise<ChecksumReport> {
    const { tables } = this.#installed();
    return this.#reads.checksum(this.#state.get().identity.replica, tables, names, signal);
  }

  async rowDigests(...asked: Parameters<Store['rowDigests']>): Promise<readonly RowDigest[]> {
    return this.#reads.rowDigests(this.#installed().tables, ...asked);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#group?.abandon();
    if (this.#publishedTimer !== undefined) {
      this.#publishedTimer();
      this.#publishedTimer = undefined;
      this.#state.tryTransaction(this.#installed());
    }
    this.#closed = true;
    await Promise.all([this.#reads.close(), this.recapturing.end()]);
    this.#session?.applier.close();
    this.#writer?.close();
  }

  #installed(): Session {
    if (this.#closed) throw storeClosed();
    if (this.#session === undefined)
      throw new AntiphonError('INTERNAL', 'The store must be installed first.');
    return this.#session;
  }
}
