import {
  AntiphonError,
  isSameName,
  movedTo,
  type ApplyOutcome,
  type ApplyRequest,
  type Batch,
  type ChecksumReport,
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
  type TransactionId,
  type Value,
  type WriteOutcome,
  type WriteRequest,
} from '@antiphon/core';
import { applyInTransaction, type ApplyManner } from './apply-transaction.js';
import { isCaptureGap, keepCaptureGaps } from './capture-record.js';
import { Connection } from './connection.js';
import { FileIdentity } from './file-identity.js';
import { isRefusal, storeError } from './errors.js';
import { sealExistingRows } from './existing-rows.js';
import { inspectDatabase } from './database-inspection.js';
import { hasMetadata } from './inspection.js';
import { installReplica } from './install.js';
import type { TrackedTable } from './local-table.js';
import { OpenGroup } from './open-group.js';
import { Pace } from './pace.js';
import { prepareGroup, type Preparation } from './prepare.js';
import { Quarantine } from './quarantine.js';
import { readTableOf } from './read-table.js';
import { reviveValue, type Reader } from './reader.js';
import { Recapture } from './recapture.js';
import { RecentMessages } from './recent-messages.js';
import { pruneSealed, readSealed } from './sealed-messages.js';
import { resumeFrom } from './resume.js';
import { schemaCookieOf, Session } from './session.js';
import { readIdentity, StateWriter, type ReplicaState } from './state.js';
import { PROCESS, type Surroundings } from './surroundings.js';
import type { SqliteTransaction } from './transaction.js';
import { DEFAULT_BUSY_TIMEOUT_MS, fileOf, readersOf, type SqliteOptions } from './store-options.js';
import { bindParameters } from './values.js';
import { GroupWriter } from './write.js';

type QuarantineQuery = Parameters<Store['quarantine']>[0];

const DEFAULT_MAX_ROWS = 10_000;
const DEFAULT_MAX_BYTES = 32 * 1024 * 1024;
/** How long `markPublished` may stay in memory only. */
const PUBLISHED_DELAY_MS = 1000;

export class SqliteStore implements Store<SqliteTransaction> {
  readonly engine = 'sqlite';
  readonly capabilities: StoreCapabilities = {
    sql: true,
    capturesForeignWriters: true,
    refusesForeignWriters: true,
  };
  readonly recapturing: Recapture;
  readonly #file: string;
  #guardNumbering: (() => void) | undefined;
  readonly #owner: string;
  /** Users' queries, and what Antiphon itself wants to know: neither has to wait for the other. */
  readonly #queries: Pick<Reader, 'read' | 'close'>;
  readonly #checks: Pick<Reader, 'read' | 'close'>;
  #writer: Connection | undefined;
  #fileIdentity: FileIdentity | undefined;
  #session: Session | undefined;
  #state: ReplicaState | undefined;
  #recent = new RecentMessages();
  #publishedTimer: ReturnType<Surroundings['setTimer']> | undefined;
  /** From a writing method's beginning to its end; from `prepare` to the end of its group. */
  #writing = false;
  #group: OpenGroup | undefined;
  #closed = false;

  constructor(
    private readonly options: SqliteOptions,
    private readonly surroundings: Surroundings = PROCESS,
  ) {
    this.#owner = surroundings.unique();
    this.#file = fileOf(options);
    const readers = readersOf(options);
    this.#queries = surroundings.reader({ file: this.#file, most: readers, kept: 1 });
    this.#checks = surroundings.reader({ file: this.#file, most: 1, kept: 0 });
    this.recapturing = new Recapture({
      file: this.#file,
      session: () => this.#installed(),
      current: () => this.#current(),
      committed: (state) => this.#committed(state),
      exclusively: (work) => this.#exclusively(work),
      newStore: (file) => new SqliteStore({ file }, surroundings),
    });
  }

  async inspect(options?: InspectOptions): Promise<StoreInspection> {
    const connection = await this.#open();
    try {
      const inspection = inspectDatabase(connection, options);
      return hasMetadata(connection) ? { ...inspection, identity: readIdentity(connection) } : inspection;
    } catch (thrown) {
      throw storeError(thrown, `cannot inspect ${this.#file}`);
    }
  }

  async #open(): Promise<Connection> {
    if (this.#closed) throw closed();
    if (this.#writer === undefined) {
      this.#writer = await this.#connect(true);
      this.#fileIdentity = await FileIdentity.of(this.#file, this.surroundings);
    }
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

  async install(options: InstallOptions, clock: HybridClock): Promise<void> {
    const writer = await this.#open();
    await this.recapturing.end();
    const applier = this.#session?.applier ?? (await this.#connect(false));
    await this.#exclusively(async () => {
      // Whatever the store was told: a founded or joined replica must not be lost in a power cut.
      writer.setDurable(true);
      await writer.begin();
      try {
        const { state, tables, fresh, captured, repeated } = installReplica(
          writer,
          options,
          new StateWriter(writer, this.#owner),
        );
        clock.restore(state.time);
        const session = new Session(writer, applier, tables, state, clock, this.#owner, repeated, () =>
          this.#guardNumbering?.(),
        );
        if (fresh && options.sealExistingRows) await this.#sealExisting(session, state, tables);
        if (captured) state.schemaCookie = schemaCookieOf(writer);
        session.countDisplaced(state);
        session.writerState.update(state);
        writer.commit();
        this.#session = session;
        this.#state = state.copy();
        this.#recent = new RecentMessages();
      } catch (thrown) {
        writer.rollback();
        if (this.#session === undefined) applier.close();
        throw storeError(thrown, `cannot make ${this.#file} a replica`);
      }
      for (const connection of [writer, applier]) connection.setDurable(options.durable);
    });
  }

  async #sealExisting(session: Session, state: ReplicaState, tables: readonly TrackedTable[]): Promise<void> {
    const { outbox, sealer } = session.sealing(session.writer);
    sealer.begin(state);
    for (const table of tables)
      await sealExistingRows(session.writer, outbox, sealer, table, Pace.ordinary(this.surroundings));
    sealer.finish();
  }

  state(): StoreState {
    return this.#current().snapshot();
  }

  async write(requests: readonly WriteRequest<SqliteTransaction>[]): Promise<readonly WriteOutcome[]> {
    const session = this.#installed();
    if (session.policy.writes === 'refuse') {
      const error = notWritable(session.policy.primary);
      return requests.map(() => ({ type: 'rejected', error }));
    }
    return this.#exclusively(async () => {
      const outcomes = await new GroupWriter(
        session,
        () => this.#current(),
        (state) => this.#committed(state),
      ).write(requests);
      await this.#settle();
      return outcomes;
    });
  }

  async prepare(
    requests: readonly WriteRequest<SqliteTransaction>[],
    options: PrepareOptions,
  ): Promise<PreparedGroup | undefined> {
    const session = this.#installed();
    this.#claimWriting();
    let preparation: Preparation | undefined;
    try {
      preparation =
        session.policy.writes === 'refuse' && requests.length > 0
          ? this.#refused(session, requests.length)
          : await prepareGroup(session, () => this.#current(), requests, options);
      if (this.#closed) throw closed();
    } catch (thrown) {
      this.#writing = false;
      throw this.#closed ? closed() : thrown;
    }
    if (preparation === undefined) {
      this.#writing = false;
      return undefined;
    }
    this.#group = new OpenGroup(session, preparation, {
      committed: (state) => this.#committed(state),
      settle: () => this.#settle(),
      released: () => {
        this.#group = undefined;
        this.#writing = false;
      },
    });
    return this.#group;
  }

  #refused({ policy }: Session, count: number): Preparation {
    const error = notWritable(policy.primary);
    return {
      writes: Array.from({ length: count }, () => ({ type: 'rejected', error })),
      draft: this.#current(),
    };
  }

  outcomeOf(id: TransactionId): Promise<GroupOutcome | undefined> {
    return this.#read('cannot read outcomes', ({ outcomes }) => {
      const applied = this.#current().counterOf(id.origin);
      return id.counter > applied ? undefined : outcomes.of(id);
    });
  }

  outcomes(fromSeq: number, limit: number): Promise<readonly GroupOutcome[]> {
    return this.#read('cannot read outcomes', ({ outcomes }) => outcomes.from(fromSeq, limit));
  }

  guardNumbering(guard: () => void): void {
    this.#guardNumbering = guard;
  }

  async seal(): Promise<number> {
    const session = this.#installed();
    if (!this.hasUnsealed()) return 0;
    return this.#exclusively(async () => {
      await session.writer.begin();
      try {
        const draft = this.#current().copy();
        const before = draft.lastCounter;
        session.verifySchema(session.writer, draft);
        await session.sealPending(session.writer, draft, Pace.ordinary(this.surroundings));
        session.sealing(session.writer).sealer.finish();
        session.writerState.update(draft);
        session.writer.commit();
        this.#committed(draft);
        await this.#settle();
        return draft.lastCounter - before;
      } catch (thrown) {
        session.writer.rollback();
        throw storeError(thrown, 'sealing failed');
      }
    });
  }

  hasUnsealed(): boolean {
    const session = this.#installed();
    try {
      return (
        schemaCookieOf(session.writer) !== this.#current().schemaCookie ||
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
    await this.#exclusively(async () => {
      const { writer } = session;
      try {
        if (schemaCookieOf(writer) === this.#current().schemaCookie)
          return session.writerState.assertOwned(this.#current());
        await writer.begin();
        const draft = this.#current().copy();
        session.verifySchema(writer, draft);
        session.writerState.update(draft);
        writer.commit();
        this.#committed(draft);
      } catch (thrown) {
        writer.rollback();
        if (isCaptureGap(thrown)) keepCaptureGaps(writer, session.tables);
        throw storeError(thrown, 'looking at the database failed');
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
    const recent = this.#recent.take({ lastCounter: after.counter, part: after.part }, maxBytes);
    return this.#read(
      'cannot read sealed messages',
      ({ writer }) => recent ?? readSealed(writer, after, maxBytes),
    );
  }

  /** On the writing connection; an open group stores nothing that is read like this before it commits. */
  #read<T>(what: string, read: (session: Session) => T): Promise<T> {
    const session = this.#installed();
    try {
      return Promise.resolve(read(session));
    } catch (thrown) {
      return Promise.reject(storeError(thrown, what));
    }
  }

  markPublished(counter: number, position?: Position): void {
    const state = this.#current();
    if (counter > state.publishedCounter) state.publishedCounter = Math.min(counter, state.lastCounter);
    if (
      position !== undefined &&
      (position.generation !== state.position.generation || position.seq > state.position.seq)
    )
      state.position = movedTo(state.position, position);
    if (this.#publishedTimer !== undefined || this.#closed) return;
    this.#publishedTimer = this.surroundings.setTimer(PUBLISHED_DELAY_MS, () => {
      this.#publishedTimer = undefined;
      if (!this.#storeState() && !this.#closed) this.markPublished(0);
    });
  }

  /** Stores what is only in memory, unless somebody is writing right now (whose commit will do it). */
  #storeState(): boolean {
    const { writer, writerState } = this.#installed();
    if (this.#writing) return false;
    try {
      if (!writer.tryBegin()) return false;
      const draft = this.#current().copy();
      writerState.update(draft);
      writer.commit();
      this.#committed(draft);
      return true;
    } catch {
      writer.rollback();
      return false;
    }
  }

  async prune(counter: number): Promise<void> {
    const session = this.#installed();
    const { publishedCounter } = this.#current();
    if (counter > publishedCounter) {
      throw new AntiphonError(
        'INTERNAL',
        `transactions up to ${counter} cannot be forgotten: only those up to ${publishedCounter} are in the log.`,
      );
    }
    for (;;) {
      const pruned = await this.#transaction('cannot forget sealed messages', (draft) => {
        const messages = pruneSealed(session.writer, draft, counter);
        session.writerState.update(draft);
        return messages;
      });
      if (pruned === 0) return;
      await Pace.ordinary(this.surroundings).rest();
    }
  }

  async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    return this.#exclusively(async () => {
      try {
        return await this.#apply(request, 'together');
      } catch (thrown) {
        if (this.#closed || !isRefusal(thrown)) throw storeError(thrown, 'applying failed');
      }
      try {
        return await this.#apply(request, 'one by one');
      } catch (thrown) {
        throw storeError(thrown, 'applying failed');
      }
    });
  }

  /** Rows that an own write set free come back in a transaction of their own; if it fails, with the next apply. */
  async #settle(): Promise<void> {
    const { position, unsettled } = this.#current();
    if (unsettled.length === 0) return;
    try {
      await this.#apply(
        { steps: [], position, yield: () => Pace.ordinary(this.surroundings).rest(), sliceMs: 8 },
        'together',
      );
    } catch {
      // Noted in the database; what was written is committed and must be reported so.
    }
  }

  #apply(request: ApplyRequest, how: ApplyManner): Promise<ApplyOutcome> {
    return applyInTransaction(this.#installed(), this.#current(), request, how, (draft) =>
      this.#committed(draft),
    );
  }

  quarantine({ afterId, seq, limit }: QuarantineQuery): Promise<readonly QuarantinedMessage[]> {
    return this.#read('cannot read the quarantine', ({ writer }) =>
      new Quarantine(writer).list(afterId, seq, limit),
    );
  }

  quarantinedData(id: number): Promise<Uint8Array | undefined> {
    return this.#read('cannot read the quarantine', ({ writer }) => new Quarantine(writer).data(id));
  }

  notePast(batches: readonly Batch[]): Promise<void> {
    const known = this.#current().lastCounter;
    return this.#read('cannot note what the log has', ({ past }) => past.note(batches, known));
  }

  async resumeFrom(counter: number, time: number): Promise<number> {
    const session = this.#installed();
    const work = (draft: ReplicaState): Promise<number> => resumeFrom(session, draft, counter, time);
    const forgotten = await this.#transaction('cannot resume', work);
    session.past.end();
    return forgotten;
  }

  /** On the writing connection; `work` stores the state that it changes. */
  async #transaction<T>(what: string, work: (draft: ReplicaState) => T | Promise<T>): Promise<T> {
    const { writer } = this.#installed();
    return this.#exclusively(async () => {
      await writer.begin();
      try {
        const draft = this.#current().copy();
        const result = await work(draft);
        writer.commit();
        this.#committed(draft);
        return result;
      } catch (thrown) {
        writer.rollback();
        throw storeError(thrown, what);
      }
    });
  }

  async query(
    sql: string,
    params: readonly Value[] | Readonly<Record<string, Value>>,
    options: { maxRows?: number; maxBytes?: number; signal?: AbortSignal } = {},
  ): Promise<QueryResult> {
    await this.#open();
    const request = {
      type: 'query',
      sql,
      parameters: bindParameters(params),
      maxRows: options.maxRows ?? DEFAULT_MAX_ROWS,
      maxBytes: options.maxBytes ?? DEFAULT_MAX_BYTES,
    } as const;
    return (await this.#queries.read(request, options.signal)).result;
  }

  async checksum(tables?: readonly string[], signal?: AbortSignal): Promise<ChecksumReport> {
    const session = this.#installed();
    const wanted = tables?.map((name) => this.#table(name)) ?? session.tables;
    const request = {
      type: 'checksum',
      tables: wanted.map(readTableOf),
      replica: this.#current().identity.replica,
    } as const;
    return (await this.#checks.read(request, signal)).report;
  }

  async rowDigests(
    table: string,
    afterKey: readonly Value[] | undefined,
    limit: number,
    signal?: AbortSignal,
  ): Promise<readonly RowDigest[]> {
    const request = { type: 'digests', table: readTableOf(this.#table(table)), afterKey, limit } as const;
    const { digests } = await this.#checks.read(request, signal);
    return digests.map(({ key, digest }) => ({ key: key.map(reviveValue), digest }));
  }

  #table(name: string): TrackedTable {
    const table = this.#installed().tables.find((candidate) => isSameName(candidate.name, name));
    if (table === undefined)
      throw new AntiphonError('UNKNOWN_TABLE', `this replica does not replicate a table ${name}.`, {
        context: { table: name },
      });
    return table;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#group?.abandon();
    if (this.#publishedTimer !== undefined) {
      this.#publishedTimer();
      this.#publishedTimer = undefined;
      this.#storeState();
    }
    this.#closed = true;
    await Promise.all([this.#queries.close(), this.#checks.close(), this.recapturing.end()]);
    this.#session?.applier.close();
    this.#writer?.close();
  }

  #installed(): Session {
    if (this.#closed) throw closed();
    if (this.#session === undefined)
      throw new AntiphonError('INTERNAL', 'the store must be installed first.');
    return this.#session;
  }

  #current(): ReplicaState {
    if (this.#state === undefined) throw new AntiphonError('INTERNAL', 'the store must be installed first.');
    return this.#state;
  }

  /** What `markPublished` learned while the transaction ran must not be lost with the state it replaces. */
  #committed(draft: ReplicaState): void {
    const { publishedCounter, position } = this.#current();
    if (publishedCounter > draft.publishedCounter) draft.publishedCounter = publishedCounter;
    if (position.generation === draft.position.generation && position.seq > draft.position.seq)
      draft.position = position;
    this.#state = draft;
    this.#recent.add(draft.newlySealed, draft.publishedCounter);
    draft.newlySealed.clear();
  }

  #claimWriting(): void {
    if (this.#writing)
      throw new AntiphonError('INTERNAL', 'two writing methods of one store were called at once.');
    this.#writing = true;
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.#claimWriting();
    try {
      return await work();
    } catch (thrown) {
      // Closed while it gave way: whatever it stumbled over, nothing of it was committed.
      throw this.#closed ? closed() : thrown;
    } finally {
      this.#writing = false;
    }
  }
}

function closed(): AntiphonError {
  return new AntiphonError('CLOSED', 'the store is closed.');
}

function notWritable(primary: string | undefined): AntiphonError {
  const where = primary === undefined ? 'write to the primary.' : `write to the primary ${primary}.`;
  return new AntiphonError(
    'NOT_WRITABLE',
    `this database is a replica; ${where}`,
    primary === undefined ? {} : { context: { primary } },
  );
}
