import type { AntiphonError } from '../errors/antiphon-error.js';
import type { RowLimits } from '../codec/limits.js';
import type { HybridClock } from '../clocks/hybrid-clock.js';
import type { VectorClock } from '../clocks/vector-clock.js';
import type { Position } from '../model/position.js';
import type { ClusterSchema } from '../model/schema.js';
import type { Batch, PartBatch, TransactionBatch } from '../model/transaction.js';
import type { TransactionId } from '../model/transaction-id.js';
import type { PassedEpoch } from '../model/epoch.js';
import type { EpochRecord } from '../model/epoch-record.js';
import type { Parameter, Value } from '../model/value.js';
import type { ChecksumReport, QueryResult, RowDigest, RowStream } from './checksums.js';
import type { UncapturedTable, RecaptureReport, CompareOptions, KeptTable } from './recapture.js';
import type { GroupOutcome, LeftOutWrite, PreparedGroup, PrepareOptions } from './group.js';
import type { RequestRows } from './requests.js';
import type { InspectOptions, LeftOut, StoreIdentity, StoreInspection } from './inspection.js';
import type { KeptParts } from '../model/kept-parts.js';
import type { ConflictPort, RowConflict } from './conflicts.js';
import type { Rewinding } from './rescue.js';

export * from './checksums.js';
export * from './group.js';
export * from './inspection.js';

/** What a store can do; conformance tests and callers read these, never `engine`. */
export interface StoreCapabilities {
  /** `tx` has run/get/all for SQL text, and `query` takes SQL. */
  readonly sql: boolean;
  /** Writes by other programs to the same database are captured. */
  readonly capturesForeignWriters: boolean;
  /** `update: { … }` in another program is refused on a read-only replica. */
  readonly refusesForeignWriters: boolean;
}

/** For whoever has to know whether this thread may be kept. */
export interface WritingWatch {
  begins(): void;
  ends(): void;
}

/** How a replica's database is to behave. Stored in the database; applied again when it changed. */
export interface InstallOptions {
  readonly identity: StoreIdentity;
  readonly schema: ClusterSchema;
  /**
   * `capture`: anybody's writes to replicated tables are accepted and captured. `library`: those of
   * `write` and `prepare` are; other programs are refused inside the database, with a message that
   * says why. `refuse`: they are refused inside the database with a message that names `primary`.
   */
  readonly writes: 'capture' | 'library' | 'refuse';
  readonly primary?: string;
  /**
   * What holds instead of `writes` while the newest epoch is this replica's. Absent: `writes` holds
   * for good.
   */
  readonly asPrimary?: 'capture' | 'library';
  /**
   * Where others' writes are captured as the primary's: for so long after the last call of
   * `renewForeignLease`, milliseconds of the machine's clock. Absent or 0: for ever.
   */
  readonly foreignLeaseMs?: number;
  /**
   * `prepare` will be asked what writes claim: capture also what changes do not show of that. False
   * when absent.
   */
  readonly certified?: boolean;
  /** Keep a version per row; needed as soon as more than one replica may write. */
  readonly rowVersions: boolean;
  /**
   * Create the tables of `schema.ddl` that are missing (a joining replica), in the same
   * transaction.
   */
  readonly createTables: boolean;
  /**
   * Seal the rows that are there as transactions of this replica (the first replica of a cluster),
   * likewise.
   */
  readonly sealExistingRows: boolean;
  /** Every commit is on the disk before it returns, whatever else the store was told (I6). */
  readonly durable: boolean;
  /** Triggers of the users that stay where they are, by name. */
  readonly localTriggers?: readonly string[];
  /**
   * Larger rows are refused where they are written, and a cluster is not created from them.
   * Default: DEFAULT_ROW_LIMITS.
   */
  readonly rowLimits?: RowLimits;
  /**
   * What the cluster has agreed on, for the inspection of the next start. Absent: what there is
   * stays.
   */
  readonly agreement?: Uint8Array;
}

export interface InstallReport {
  /** Its metadata had an older form, and builds from before cannot open it any more. */
  readonly upgraded?: { readonly fromFormat: number; readonly toFormat: number };
}

/**
 * Something that the position has passed and that is not here: the transactions of `origin` from
 * `expected` on.
 */
export interface Gap {
  readonly origin: string;
  /** The counter that is missing. */
  readonly expected: number;
  /**
   * The highest counter that came without it, and was dropped; `expected` when it came itself and
   * could not be accepted.
   */
  readonly found: number;
  /**
   * The entry of the log at which that was noticed. Everything before it that should be applied is
   * applied.
   */
  readonly seq: number;
  readonly reason: string;
}

/** A store keeps so many gaps; one of a further origin is not kept. */
export const MAX_GAPS = 1024;

export interface StoreState {
  readonly position: Position;
  /** Applied per origin, without holes; own transactions included once sealed. */
  readonly vector: VectorClock;
  /** The highest counter this replica ever gave to a transaction. */
  readonly lastCounter: number;
  /** Every own transaction up to this counter is known to be in the log. */
  readonly publishedCounter: number;
  /** As of the last rewind: own numbers up to here are given, also where nothing has them. */
  readonly spentCounter: number;
  /** Own transactions that are kept in the ledger, not in the database. */
  readonly rescued: number;
  /** Big transactions of which some parts are kept, per origin. */
  readonly partial: Readonly<Record<string, KeptParts>>;
  /** As of the position: the last one holds. */
  readonly epochs: readonly PassedEpoch[];
  /** What others may do, as in InstallOptions. */
  readonly writes: InstallOptions['writes'];
  /** Bytes and messages sealed and not yet pruned. */
  readonly outboxMessages: number;
  readonly outboxBytes: number;
  readonly conflicts: number;
  /** Messages that are kept in quarantine, their bytes, and how many were discarded. */
  readonly quarantined: number;
  readonly quarantinedBytes: number;
  readonly discarded: number;
  /** At most one per origin. */
  readonly gaps: readonly Gap[];
  /**
   * Of the users' database; another array when it has changed. Absent where the store does not
   * know.
   */
  readonly leftOut?: readonly LeftOut[];
}

/**
 * `run` is called inside the database transaction, synchronously for embedded databases; a throw
 * undoes this write only, and is its outcome's `error` as it was thrown.
 */
export interface WriteRequest<Tx> {
  run(tx: Tx): unknown;
}

export type WriteOutcome =
  | {
      readonly type: 'committed';
      /** Absent when nothing that is replicated changed. */
      readonly id?: TransactionId;
      /** What `run` returned. */
      readonly value: unknown;
    }
  /** `error`: why, an AntiphonError; or whatever `run` threw, the very object. */
  | { readonly type: 'rejected'; readonly error: unknown };

/** One message ready for the log: whole transactions, or one part of a big one. */
export interface SealedMessage {
  readonly firstCounter: number;
  readonly lastCounter: number;
  /** 0 when whole. */
  readonly part: number;
  /** False for a part that others follow. */
  readonly last: boolean;
  readonly data: Uint8Array;
}

/** What to do with entries of the log, in log order. */
export type ApplyStep =
  /**
   * Apply the transactions from index `skip` on (those before are applied already). Of a
   * synchronous group, its outcome is kept.
   */
  | {
      readonly type: 'transactions';
      readonly batch: TransactionBatch;
      readonly skip: number;
      /**
       * Counters of transactions that certification rejected: they count as applied and change
       * nothing. Ascending.
       */
      readonly rejected?: readonly number[];
      readonly seq: number;
    }
  /** Keep one part of a big transaction; with `last`, apply the whole transaction. */
  | { readonly type: 'part'; readonly batch: PartBatch; readonly seq: number }
  /**
   * Quarantine a message that must not be applied (I10, I15). Does not advance its origin's
   * counter.
   */
  | {
      readonly type: 'quarantine';
      readonly seq: number;
      /** When the log stored the entry: what it is judged by, now and later. */
      readonly storedAtMs: number;
      readonly origin: string;
      readonly data: Uint8Array;
      readonly error: AntiphonError;
    }
  /**
   * Remember that something is missing, unless its origin has got further or has a gap already. The
   * gap closes by itself in the transaction that applies the missing one.
   */
  | { readonly type: 'gap'; readonly gap: Gap; readonly seq: number }
  /**
   * Forget a message that was quarantined; nothing when it is not there. It counts as discarded
   * unless it `arrived`.
   */
  | { readonly type: 'release'; readonly id: number; readonly arrived: boolean; readonly seq: number }
  /**
   * Own transactions that count for nobody, since another epoch had begun when they came into the
   * log. Those that this database neither holds nor keeps, because a power loss took them, go into
   * its rescue ledger. Their numbers are given.
   */
  | { readonly type: 'fenced'; readonly batch: TransactionBatch; readonly seq: number }
  /** The gap of this origin was none: the transaction that it waits for does not exist. */
  | { readonly type: 'no-gap'; readonly origin: string; readonly seq: number }
  /**
   * A valid record: from here on the log is another primary's, or another process's of the same.
   * `elected`: the record is of this very process, so what is pending is written again.
   */
  | {
      readonly type: 'epoch';
      readonly record: EpochRecord;
      readonly seq: number;
      readonly elected?: boolean;
    };

/** A message that was quarantined. */
export interface QuarantinedMessage {
  /** Its number in this database; a later one has a higher number. */
  readonly id: number;
  readonly seq: number;
  readonly storedAtMs: number;
  readonly origin: string;
  readonly code: string;
  readonly message: string;
  readonly bytes: number;
  readonly quarantinedAtMs: number;
}

export interface ApplyRequest {
  readonly steps: readonly ApplyStep[];
  /** The replica's position afterwards; also moves when `steps` is empty. */
  readonly position: Position;
  /**
   * Own transactions that the log has in order up to an entry: asked for the position that is
   * arrived at, and kept together with it. Default: no more than was known.
   */
  readonly publishedAt?: (seq: number) => number;
  /**
   * Called between slices of work of about `sliceMs`; the database transaction stays open
   * meanwhile.
   */
  readonly yield: () => Promise<void>;
  readonly sliceMs: number;
}

/** An outcome of `apply` names so many conflicts at most. */
export const MAX_SHOWN_CONFLICTS = 16;

export interface ApplyOutcome {
  readonly transactions: number;
  readonly rows: number;
  /**
   * Rows of remote transactions that lost against a newer version here, or won against a concurrent
   * one.
   */
  readonly conflicts: number;
  /** The last of them, at most MAX_SHOWN_CONFLICTS; absent when there was none. */
  readonly lastConflicts?: readonly RowConflict[];
  /**
   * Set when the database refused a transaction: everything before it was committed, with the
   * position before its step, and nothing of it or after it. MALFORMED_MESSAGE, MESSAGE_TOO_LARGE:
   * no database can apply it. Anything else is a matter of this database, which may apply it later.
   * The error's context names `origin`, `counter` and, where that is known, `table`.
   */
  readonly refused?: Refusal;
}

export interface Refusal {
  readonly step: number;
  readonly error: AntiphonError;
}

/**
 * One real database. Owned by one replica actor, which calls the writing methods (install, write,
 * prepare, seal, apply, markPublished, prune, resumeFrom, rewind, resolveRescue) one at a time;
 * reading methods may run beside them. Other programs may write to the database at any time. Every
 * method throws AntiphonError; STORE_BUSY, STORE_FULL and STORE_UNAVAILABLE leave everything as it
 * was and may be retried.
 *
 * I1: each writing method is one database transaction, or none. I2, I3: counters are given in
 * commit order and a sealed message stays readable until `prune`.
 */
export interface Store<Tx = unknown> extends Rewinding, ConflictPort {
  readonly engine: string;
  readonly capabilities: StoreCapabilities;
  /** Absent where nobody can write past the capture. After `install`. */
  readonly recapturing?: Recapturing;
  /** Absent where it cannot remember requests. Where the schema has REQUESTS_TABLE. */
  readonly requests?: RequestRows;

  /**
   * Opens the database and looks at it; changes nothing but what opening needs. First call; may be
   * called again.
   */
  inspect(options?: InspectOptions): Promise<StoreInspection>;
  /**
   * Makes the database a replica, or checks that it still is this one. Idempotent. Throws
   * STORE_CONTENT, UNSUPPORTED_TABLE, SCHEMA_DRIFT.
   */
  install(options: InstallOptions, clock: HybridClock): Promise<InstallReport>;
  /** As of the last call; never touches the database. Only after `install`. */
  state(): StoreState;

  /**
   * Group commit: seals what other programs committed, runs the requests in order in one
   * transaction, each undone alone when it throws, seals and commits. Outcomes in the order of the
   * requests. A group runs in one piece, so it begins no more functions after some 50 ms or some 2
   * MiB, and the others are left out, their functions not run; the first is not.
   */
  write(requests: readonly WriteRequest<Tx>[]): Promise<readonly (WriteOutcome | LeftOutWrite)[]>;
  /**
   * Runs the requests as `write` does, except that one which writes to replicated tables and to
   * others is rejected (BAD_SQL), and seals what they changed as one message, in a transaction that
   * stays open. Without requests: one transaction without changes, which leaves alone what waits to
   * be sealed. undefined when something that other programs wrote must be sealed before the
   * requests can run.
   */
  prepare(requests: readonly WriteRequest<Tx>[], options: PrepareOptions): Promise<PreparedGroup | undefined>;
  /**
   * The group that a transaction belongs to; undefined when it was none, has not come, or is too
   * long ago.
   */
  outcomeOf(id: TransactionId): Promise<GroupOutcome | undefined>;
  /** Of groups in entries from `fromSeq` on, in log order, at most `limit`. */
  outcomes(fromSeq: number, limit: number): Promise<readonly GroupOutcome[]>;
  /**
   * `guard` is called inside the transaction of every method that is about to number what other
   * programs committed. When it throws, the method leaves everything as it was and throws the same:
   * they may commit until the last moment, so nobody can know beforehand.
   */
  guardNumbering(guard: () => void): void;
  /**
   * Told when a writing method begins and ends: in between, statements may keep this thread for as
   * long as they take. Undefined: nobody is any more. Absent where nothing keeps it for long.
   */
  watchWriting?(watch: WritingWatch | undefined): void;
  /**
   * Seals what other programs committed since the last call. Returns how many transactions that
   * made; cheap when 0.
   */
  seal(): Promise<number>;
  /** Cheap poll: is there anything that `seal` would take, or has the schema changed? */
  hasUnsealed(): boolean;
  /**
   * Looks at what nobody tells: whether the database is still the one that was opened, and whether
   * its tables and triggers are what they were. Throws STORE_REPLACED, DUPLICATE_REPLICA,
   * SCHEMA_DRIFT. Cheap when nothing has changed; to be called about once a second.
   */
  check(): Promise<void>;
  /** About how many captured changes `seal` would take; cheap, for status. */
  unsealed(): number;
  /**
   * Cheap poll: another number than before when anybody may have changed the schema of the
   * database.
   */
  schemaCookie(): number;
  /**
   * Sealed messages after the given counter/part, in order; at most `maxBytes` but at least one if
   * there is any.
   */
  sealed(
    after: { readonly counter: number; readonly part: number },
    maxBytes: number,
  ): Promise<readonly SealedMessage[]>;
  /**
   * Own transactions up to `counter` are in the log. Kept at the next commit, or by itself within a
   * second or at close.
   */
  markPublished(counter: number, position?: Position): void;
  /** Forgets sealed messages up to `counter`, which must be published. */
  prune(counter: number): Promise<void>;

  /** Commits some room for itself, and gives it back. Throws what a write would that finds none. */
  tryCommit(): Promise<void>;
  /** Whether another program holds the write lock right now. False while this one writes. */
  isLocked(): boolean;

  /**
   * Whoever else writes may go on for `foreignLeaseMs`. Nothing where that is for ever. What cannot
   * be done at once, because another program writes, is left.
   */
  renewForeignLease(): void;

  /** Seals first (a context never claims what the writer had not seen), then applies. */
  apply(request: ApplyRequest): Promise<ApplyOutcome>;
  /**
   * Messages that were quarantined, by `id` from after `afterId` on; only those of entry `seq` when
   * it is given.
   */
  quarantine(query: {
    readonly afterId: number;
    readonly seq?: number;
    readonly limit: number;
  }): Promise<readonly QuarantinedMessage[]>;
  /** The bytes of one; undefined when it is not there any more. */
  quarantinedData(id: number): Promise<Uint8Array | undefined>;
  /**
   * Recovery of own transactions: the log knows own transactions up to `counter`, this database
   * fewer (it was restored). New transactions are numbered after it; the missing ones come in by
   * `apply` like anybody's. Does not raise `publishedCounter`: that follows what the caller sees in
   * the log.
   *
   * What other programs had committed when the file was copied lies in it still waiting for a
   * number, although the log has it: changes that made the same of their rows as the noted past at
   * the same time are forgotten, with those of these rows before them. Returns how many. What
   * remains is new, and keeps the time when it was made, unless that was certainly a clock's that
   * had been set back.
   */
  resumeFrom(counter: number, time: number): Promise<number>;
  /**
   * Own transactions of the log, in order, for the next `resumeFrom`; one in parts may come in
   * several calls. Those that this database has do not count. Changes nothing that lasts; cheap
   * when nothing waits for a number. Absent where nobody else can write.
   */
  notePast?(batches: readonly Batch[]): Promise<void>;

  /**
   * Runs a read-only statement off the writing thread. `write` statements are refused with BAD_SQL,
   * and so is a result over its limits. A signal ends it at once, whatever it does; it rejects with
   * the signal's reason when that is an AntiphonError, else with ABORTED.
   */
  query(
    sql: string,
    params: readonly Parameter[] | Readonly<Record<string, Parameter>>,
    options?: { maxRows?: number; maxBytes?: number; signal?: AbortSignal },
  ): Promise<QueryResult>;
  /**
   * As `query`, for any number of rows: they are read as they are taken, in one snapshot, which the
   * database keeps until the stream ends. The signal ends it, also between two calls of `next`.
   * OVERLOADED when too many are open.
   */
  stream(
    sql: string,
    params: readonly Parameter[] | Readonly<Record<string, Parameter>>,
    options: { maxRowBytes?: number; signal: AbortSignal },
  ): Promise<RowStream>;
  /**
   * Of all replicated tables (or these), in one snapshot, off the writing thread; no query holds it
   * up. The signal as for `query`.
   */
  checksum(tables?: readonly string[], signal?: AbortSignal): Promise<ChecksumReport>;
  /**
   * Digests of rows in key order, after the given key, for finding the rows that differ. The signal
   * as for `query`.
   */
  rowDigests(
    table: string,
    afterKey: readonly Value[] | undefined,
    limit: number,
    signal?: AbortSignal,
  ): Promise<readonly RowDigest[]>;
  /** Idempotent, bounded in time. */
  close(): Promise<void>;
}

/**
 * Finds what changed in a table while nobody captured it. What replication knows of the table is
 * put together anew: the caller applies the log, up to where this database has applied it, to the
 * reference.
 */
export interface Recapturing {
  /** Cheap. */
  uncaptured(): readonly UncapturedTable[];
  /**
   * An empty database beside this one, of the same kind: to be installed and brought to this one's
   * state. One at a time.
   */
  open(): Promise<Store>;
  /**
   * A writing method of the store. Compares the table with the reference, which ends here; unless
   * `dryRun`, the table is captured from here on, and the differences are captured or set back, in
   * one transaction. Throws UNKNOWN_TABLE; SCHEMA_DRIFT when the table has another shape than was
   * agreed on; DELETES_ROWS; CONSTRAINT or MESSAGE_TOO_LARGE when it holds rows that cannot be
   * replicated; STORE_BUSY, also when the database has moved on from the state that the reference
   * was made for; STORE_FULL.
   */
  compare(table: string, options: CompareOptions): Promise<RecaptureReport>;
  /** Tables of which rows are kept that are to be written again. */
  kept(): readonly KeptTable[];
  /**
   * Inside the function of a write that does nothing else: writes some of the kept rows of all
   * tables, or of one, and returns how many; 0 when nothing is left to write. They are kept until
   * the transaction that brings this write into the database, whether that is its own or one that
   * applies the log. Throws CONSTRAINT.
   */
  writeKept(table?: string): number;
  /** Removes the reference. Idempotent. */
  end(): Promise<void>;
}
