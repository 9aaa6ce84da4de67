import {
  AntiphonError,
  withoutArrived,
  firstEpoch,
  type PassedEpoch,
  type Gap,
  type InstallOptions,
  type KeptParts,
  type LeftOut,
  type Position,
  type RowLimits,
  type StoreIdentity,
  type StoreState,
  type VectorClock,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import { Epochs } from './epochs.js';
import { formatObstacle, METADATA_FORMAT } from './metadata.js';
import { NewlySealed } from './recent-messages.js';
import { RescueLedger } from './rescue-ledger.js';
import { readVector, StoredVector } from './stored-vector.js';

export interface WritePolicy {
  readonly writes: InstallOptions['writes'];
  readonly primary?: string;
  /** Of the primary of the newest epoch. As installed, likewise. */
  readonly asPrimary?: 'capture' | 'library';
  /** As installed, likewise. */
  readonly foreignLeaseMs?: number;
  /**
   * What writes claim besides their changes is captured. As installed: not kept in the database.
   */
  readonly certified?: boolean;
  /** Triggers of the users that stay in this database. As installed, likewise. */
  readonly localTriggers?: readonly string[];
  /** Larger rows are refused. As installed, likewise. */
  readonly rowLimits?: RowLimits;
}

/** For messages. Undefined where it may be another one tomorrow. */
export function namedPrimary({ primary, asPrimary }: WritePolicy): string | undefined {
  return asPrimary === undefined ? primary : undefined;
}

/** What is written here may have to be undone: another replica can become the primary. */
export function isUndoable({ asPrimary }: WritePolicy): boolean {
  return asPrimary !== undefined;
}

/**
 * What the database knows about itself besides rows. Each writing method works on a copy, stores it
 * inside its transaction, and puts it in the old one's place after the commit: the two never
 * disagree.
 */
/** Hidden rows of a table, by number, that own writes may have set free. */
export interface Unsettled {
  readonly table: number;
  /**
   * As the rows are numbered under this schema version: VACUUM numbers them again. Absent: all of
   * them.
   */
  readonly rows?: { readonly places: readonly bigint[]; readonly schemaCookie: number };
}

export class ReplicaState {
  identity: StoreIdentity;
  policy: WritePolicy = { writes: 'capture' };
  rowVersions = false;
  position: Position;
  /** Counters of other origins. */
  applied: Record<string, number> = {};
  /**
   * Own transactions applied without holes; below `lastCounter` only during recovery of own
   * transactions.
   */
  ownCounter = 0;
  lastCounter = 0;
  publishedCounter = 0;
  /** Own transactions up to here come from the log; 0 when nothing is missing. */
  recoveryCounter = 0;
  /** Replaced as a whole; the last one holds. */
  epochs: readonly PassedEpoch[] = [firstEpoch(undefined)];
  /** As of the last rewind: own numbers up to here are given. */
  spentCounter = 0;
  /** The epoch in which a rewind took this replica's role; -1 when none did. */
  rewoundEpoch = -1;
  /** Transactions that are kept in the ledger. */
  rescued = 0;
  /** The latest hybrid time given or seen. */
  time = 0;
  conflicts = 0;
  quarantined = 0;
  quarantinedBytes = 0;
  discarded = 0;
  /**
   * What the position has passed and that is not here. Replaced as a whole; `storedGaps` is what
   * the database says.
   */
  gaps: readonly Gap[] = [];
  storedGaps: readonly Gap[] = [];
  partial: Record<string, KeptParts> = {};
  outboxMessages = 0;
  outboxBytes = 0;
  /** Outcomes of synchronous groups that are kept. */
  outcomes = 0;
  /** Rows that are hidden, per table number: most tables have none, and need no look. */
  hidden: Record<number, number> = {};
  /**
   * Hidden rows that must be looked at again; replaced as a whole. In the database are the tables
   * only.
   */
  unsettled: readonly Unsettled[] = [];
  /**
   * Counts what this file's state was stored; the one in the file is the same unless somebody has
   * put another file's content there.
   */
  revision = 0;
  /** SQLite's schema version when the triggers were last seen in their places. */
  schemaCookie = -1;
  /** What other replicas do not get of this database; as of that schema. */
  leftOut: readonly LeftOut[] = [];
  /** Origins whose counter is not stored yet. */
  readonly changedOrigins = new Set<string>();
  storedVector = StoredVector.EMPTY;
  /** What this copy has sealed, in order. */
  readonly newlySealed = new NewlySealed();
  /** Not copied: a draft's vector is not its predecessor's. */
  #shownVector: VectorClock | undefined;

  constructor(identity: StoreIdentity, position: Position) {
    this.identity = identity;
    this.position = position;
  }

  copy(): ReplicaState {
    const copy = new ReplicaState(this.identity, this.position);
    Object.assign(copy, this, {
      applied: { ...this.applied },
      partial: { ...this.partial },
      hidden: { ...this.hidden },
      changedOrigins: new Set<string>(),
      newlySealed: new NewlySealed(),
    });
    return copy;
  }

  /** Becomes what the other one is, which must not be used any more. */
  restore(other: ReplicaState): void {
    Object.assign(this, other);
  }

  counterOf(origin: string): number {
    if (origin === this.identity.replica) return this.ownCounter;
    // An origin may be called like a method of every object.
    return Object.hasOwn(this.applied, origin) ? (this.applied[origin] ?? 0) : 0;
  }

  advance(origin: string, counter: number): void {
    if (this.gaps.length > 0) this.gaps = withoutArrived(this.gaps, origin, counter);
    if (origin === this.identity.replica) {
      this.ownCounter = counter;
      if (this.lastCounter < counter) this.lastCounter = counter;
      return;
    }
    this.applied[origin] = counter;
    this.changedOrigins.add(origin);
  }

  /** Own transactions up to `counter` are in the log; never more than there are. */
  published(counter: number): void {
    // Behind a rewind more numbers are given than there are transactions.
    const known = this.recovering ? this.lastCounter : this.ownCounter;
    if (counter > this.publishedCounter) this.publishedCounter = Math.min(counter, known);
  }

  /** Who may write to this database follows from the newest epoch, where there are any. */
  takeRole(): void {
    const { asPrimary, ...policy } = this.policy;
    if (asPrimary === undefined) return;
    const { primary, number } = this.epoch;
    const isPrimary = primary === this.identity.replica && number > this.rewoundEpoch;
    this.policy = { ...policy, asPrimary, writes: isPrimary ? asPrimary : 'refuse' };
  }

  get epoch(): PassedEpoch {
    return this.epochs.at(-1) ?? firstEpoch(this.policy.primary);
  }

  get recovering(): boolean {
    return this.recoveryCounter > this.ownCounter;
  }

  get vector(): VectorClock {
    const { replica } = this.identity;
    return this.ownCounter === 0 ? { ...this.applied } : { ...this.applied, [replica]: this.ownCounter };
  }

  /**
   * Asked for many times a transaction, mostly for one number, so a committed state gives away one
   * vector and its own parts. It never changes them; its successor is another object.
   */
  snapshot(): StoreState {
    this.#shownVector ??= this.vector;
    return {
      position: this.position,
      vector: this.#shownVector,
      lastCounter: this.lastCounter,
      publishedCounter: this.publishedCounter,
      spentCounter: this.spentCounter,
      rescued: this.rescued,
      partial: this.partial,
      epochs: this.epochs,
      writes: this.policy.writes,
      outboxMessages: this.outboxMessages,
      outboxBytes: this.outboxBytes,
      conflicts: this.conflicts,
      quarantined: this.quarantined,
      quarantinedBytes: this.quarantinedBytes,
      discarded: this.discarded,
      gaps: this.gaps,
      leftOut: this.leftOut,
    };
  }
}

interface StateRow {
  readonly format: number;
  readonly cluster: string;
  readonly replica: string;
  readonly generation: string;
  readonly schema_version: number;
  readonly writes: InstallOptions['writes'];
  readonly primary_replica: string | null;
  readonly row_versions: number;
  readonly position_generation: string;
  readonly position_seq: number;
  readonly entry_seq: number | null;
  readonly entry_stored_at_ms: number | null;
  readonly entry_attempt: string | null;
  readonly own_counter: number;
  readonly last_counter: number;
  readonly published_counter: number;
  readonly recovery_counter: number;
  readonly epoch: number;
  readonly time: number;
  readonly conflicts: number;
  readonly quarantined: number;
  readonly quarantined_bytes: number;
  readonly discarded: number;
  readonly revision: number;
  /** Absent in a file of the format before. */
  readonly vector?: string;
}

function readRow(connection: Connection): StateRow {
  const row = connection.db.prepare('SELECT * FROM _antiphon_state').get() as StateRow | undefined;
  if (row === undefined)
    throw new AntiphonError(
      'STORE_CORRUPT',
      'The metadata of this database has lost its state row. Restore the file from a backup.',
    );
  const obstacle = formatObstacle(row.format);
  if (obstacle !== undefined) throw new AntiphonError('STORE_CONTENT', obstacle);
  return row;
}

function positionOf(row: StateRow): Position {
  const { position_generation: generation, position_seq: seq, entry_seq: entrySeq } = row;
  if (entrySeq === null) return { generation, seq };
  const { entry_stored_at_ms: storedAtMs, entry_attempt: attempt } = row;
  const entry = {
    seq: entrySeq,
    ...(storedAtMs === null ? {} : { storedAtMs }),
    ...(attempt === null ? {} : { attempt }),
  };
  return { generation, seq, entry };
}

export function readIdentity(connection: Connection): StoreIdentity {
  const { cluster, replica, generation, schema_version: schemaVersion } = readRow(connection);
  return { cluster, replica, generation, schemaVersion };
}

export function readState(connection: Connection): ReplicaState {
  const row = readRow(connection);
  const { cluster, replica, generation, schema_version: schemaVersion } = row;
  const state = new ReplicaState({ cluster, replica, generation, schemaVersion }, positionOf(row));
  state.policy =
    row.primary_replica === null
      ? { writes: row.writes }
      : { writes: row.writes, primary: row.primary_replica };
  state.rowVersions = row.row_versions !== 0;
  state.ownCounter = row.own_counter;
  state.lastCounter = row.last_counter;
  state.publishedCounter = row.published_counter;
  state.recoveryCounter = row.recovery_counter;
  state.epochs = new Epochs(connection).read(firstEpoch(state.policy.primary));
  state.time = row.time;
  state.conflicts = row.conflicts;
  state.quarantined = row.quarantined;
  state.quarantinedBytes = row.quarantined_bytes;
  state.discarded = row.discarded;
  state.revision = row.revision;
  state.storedVector = StoredVector.of(row.vector);
  state.applied = readVector(connection.db, row.vector);
  state.gaps = connection.db
    .prepare('SELECT origin, expected, found, seq, reason FROM _antiphon_gaps ORDER BY seq, origin')
    .all() as Gap[];
  state.storedGaps = state.gaps;
  const parts = connection.db.prepare(
    `SELECT origin, counter, time, max(place + length(body)) AS bytes
     FROM _antiphon_parts GROUP BY origin, counter, time`,
  );
  for (const entry of parts.all() as (KeptParts & { readonly origin: string })[]) {
    const { origin, counter, time, bytes } = entry;
    state.partial[origin] = { counter, time, bytes };
  }
  const unsettled = connection.db.prepare('SELECT id FROM _antiphon_unsettled', 'value').all() as number[];
  state.unsettled = unsettled.map((table) => ({ table }));
  const sealed = connection.db.prepare(
    'SELECT count(*) AS messages, coalesce(sum(bytes), 0) AS bytes FROM _antiphon_sealed',
  );
  const { messages, bytes } = sealed.get() as { messages: number; bytes: number };
  state.outboxMessages = messages;
  state.outboxBytes = bytes;
  state.outcomes = connection.db.prepare('SELECT count(*) FROM _antiphon_outcomes', 'value').get() as number;
  new RescueLedger(connection).readInto(state);
  return state;
}

/** Stores states on one connection, for one opening of the store. */
export class StateWriter {
  constructor(
    private readonly connection: Connection,
    /**
     * Told apart from every other opening, so that two processes on one file are noticed at the
     * first transaction.
     */
    private readonly owner: string,
  ) {}

  insert(state: ReplicaState): void {
    this.connection.db
      .prepare(
        `INSERT INTO _antiphon_state (
           id, format, owner, cluster, replica, generation, schema_version, position_generation, position_seq,
           writes, primary_replica, row_versions, own_counter, last_counter, published_counter,
           recovery_counter, epoch, time, conflicts)
         VALUES (1, ${METADATA_FORMAT}, ?, ?, ?, ?, ?, ?, ?, 'capture', NULL, 0, 0, 0, 0, 0, 0, 0, 0)`,
      )
      .run(
        this.owner,
        state.identity.cluster,
        state.identity.replica,
        state.identity.generation,
        state.identity.schemaVersion,
        state.position.generation,
        state.position.seq,
      );
  }

  /** What an install decides, and who owns the database from now on. */
  claim(state: ReplicaState): void {
    this.connection.db
      .prepare(
        `UPDATE _antiphon_state SET owner = ?, schema_version = ?, writes = ?, primary_replica = ?,
           row_versions = ?, position_generation = ?`,
      )
      .run(
        this.owner,
        state.identity.schemaVersion,
        state.policy.writes,
        state.policy.primary ?? null,
        state.rowVersions ? 1 : 0,
        state.position.generation,
      );
  }

  /** As `update` would say it, before anything is told to others. */
  assertOwned(state: ReplicaState): void {
    const stored = this.#stored();
    if (stored?.owner !== this.owner || stored.revision !== state.revision) throw this.#notOurs(state);
  }

  /**
   * Stores the state. The file must hold what was stored last: another process may have taken it
   * (DUPLICATE_REPLICA), or somebody may have put an older copy in its place (STORE_REPLACED),
   * whose content must not be mixed with what is in memory.
   */
  update(state: ReplicaState): void {
    const { entry } = state.position;
    const vector = state.storedVector.with(state.changedOrigins, state.applied);
    const { changes } = this.connection
      .statement(
        `UPDATE _antiphon_state SET position_generation = ?, position_seq = ?, entry_seq = ?,
           entry_stored_at_ms = ?, entry_attempt = ?, own_counter = ?, last_counter = ?, published_counter = ?,
           recovery_counter = ?, epoch = ?, time = ?, conflicts = ?, quarantined = ?, quarantined_bytes = ?,
           discarded = ?, vector = ?, applying = 0, revision = revision + 1
         WHERE id = 1 AND owner = ? AND revision = ?`,
      )
      .run(
        state.position.generation,
        state.position.seq,
        entry?.seq ?? null,
        entry?.storedAtMs ?? null,
        entry?.attempt ?? null,
        state.ownCounter,
        state.lastCounter,
        state.publishedCounter,
        state.recoveryCounter,
        state.epoch.number,
        state.time,
        state.conflicts,
        state.quarantined,
        state.quarantinedBytes,
        state.discarded,
        vector.text,
        this.owner,
        state.revision,
      );
    if (changes !== 1) throw this.#notOurs(state);
    state.revision++;
    this.#updateGaps(state);
    vector.store(this.connection);
    state.storedVector = vector;
  }

  #updateGaps(state: ReplicaState): void {
    const { gaps, storedGaps } = state;
    if (gaps === storedGaps) return;
    for (const gap of storedGaps) {
      if (!gaps.includes(gap))
        this.connection.statement('DELETE FROM _antiphon_gaps WHERE origin = ?').run(gap.origin);
    }
    for (const gap of gaps) {
      if (storedGaps.includes(gap)) continue;
      this.connection
        .statement('INSERT INTO _antiphon_gaps VALUES (?, ?, ?, ?, ?)')
        .run(gap.origin, gap.expected, gap.found, gap.seq, gap.reason);
    }
    state.storedGaps = gaps;
  }

  #stored(): { readonly owner: string; readonly revision: number } | undefined {
    return this.connection.statement('SELECT owner, revision FROM _antiphon_state WHERE id = 1').get() as
      { owner: string; revision: number } | undefined;
  }

  #notOurs(state: ReplicaState): AntiphonError {
    const stored = this.#stored();
    // Opening a replica's file stores a new revision, so one that is not higher is of an older
    // copy.
    return stored !== undefined && stored.owner !== this.owner && stored.revision > state.revision
      ? duplicate()
      : storeReplaced('the file holds an older state than this process has stored in it');
  }
}

/** What is in the file, or at its path, is not what this process has written there. */
export function storeReplaced(what: string): AntiphonError {
  return new AntiphonError(
    'STORE_REPLACED',
    `The database was replaced while the replica ran: ${what}. Nothing of this process was written into it. ` +
      'Start the replica again: it continues from what the file holds now and fetches the rest from the log. ' +
      'Keep the file that was there before: its unpublished changes exist only there.',
  );
}

function duplicate(): AntiphonError {
  return new AntiphonError(
    'DUPLICATE_REPLICA',
    'Another process has opened this database as the same replica. Stop one of them.',
  );
}
