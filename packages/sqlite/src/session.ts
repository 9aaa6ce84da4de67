import type { HybridClock } from '@antiphon/core';
import { Applier } from './apply.js';
import { CapturedTimes } from './captured-times.js';
import type { Connection } from './connection.js';
import { DeferredKeys } from './deferred-keys.js';
import { leftOutOf } from './database-inspection.js';
import { renewForeignLease } from './foreign-lease.js';
import { HiddenRows } from './hidden-rows.js';
import { isMetadataName } from './identifiers.js';
import { KeptAttempts } from './kept-attempts.js';
import { KeptWrites } from './kept-writes.js';
import type { TrackedTable } from './local-table.js';
import { GroupSealer } from './group-seal.js';
import { inspectDependents } from './local-triggers.js';
import { createHiddenTable, restoreGuard } from './metadata.js';
import { Outbox } from './outbox.js';
import { Outcomes } from './outcomes.js';
import { RescuePlaces } from './rescue-places.js';
import type { Pace } from './pace.js';
import { PastChanges } from './past-changes.js';
import { Sealer } from './seal.js';
import { isUndoable, StateWriter, type ReplicaState, type WritePolicy } from './state.js';
import { assertCaptured, assertTriggersUsable, installTriggers, rescanTables } from './tracked-tables.js';
import { UserStatements } from './transaction.js';
import { RowVersions } from './versions.js';

export interface Sealing {
  readonly outbox: Outbox;
  readonly sealer: Sealer;
  /** These two are used on the writing connection only. */
  readonly groups: GroupSealer;
  readonly deferredKeys: DeferredKeys;
}

/**
 * Everything that works on the database between one install and the next. Two connections: users'
 * statements need foreign keys, apply must not have them (cascades travel as rows), and switching
 * one connection back and forth would expire its statements.
 */
export class Session {
  readonly users: UserStatements;
  readonly writerState: StateWriter;
  readonly applierState: StateWriter;
  policy: WritePolicy;
  readonly outcomes: Outcomes;
  readonly past: PastChanges;
  readonly rescuePlaces = new RescuePlaces();
  readonly kept = new KeptWrites();
  readonly keptAttempts: KeptAttempts;
  /** So many groups run with a savepoint for each write: one has failed. */
  groupsApart = 0;
  #tables: readonly TrackedTable[];
  #sealing = new Map<Connection, Sealing>();
  #applier: Applier;
  #localTables: ReadonlySet<string> | undefined;

  constructor(
    readonly writer: Connection,
    readonly applier: Connection,
    tables: readonly TrackedTable[],
    state: ReplicaState,
    readonly clock: HybridClock,
    owner: string,
    repeated: ReadonlySet<string>,
    /** A throw keeps what other programs committed from being numbered now. */
    private readonly guardNumbering: () => void,
  ) {
    this.#tables = tables;
    this.policy = state.policy;
    this.outcomes = new Outcomes(writer);
    this.keptAttempts = new KeptAttempts(writer);
    this.past = new PastChanges(writer, () => this.#tables);
    this.users = new UserStatements(writer.db, () => this.#tables);
    this.users.forget(repeated);
    this.writerState = new StateWriter(writer, owner);
    this.applierState = new StateWriter(applier, owner);
    this.#applier = this.#assemble(state);
  }

  /** One of these names that is a table, and not replicated; undefined when there is none. */
  localTableOf(names: ReadonlySet<string>): string | undefined {
    if (names.size === 0) return undefined;
    this.#localTables ??= localTables(this.writer, this.#tables);
    for (const name of names) if (this.#localTables.has(name)) return name;
    return undefined;
  }

  get tables(): readonly TrackedTable[] {
    return this.#tables;
  }

  sealing(connection: Connection): Sealing {
    const sealing = this.#sealing.get(connection);
    if (sealing === undefined) throw new TypeError('this connection is not of this session');
    return sealing;
  }

  applying(): Applier {
    return this.#applier;
  }

  /** As a part of the transaction that is open on this connection. */
  storeState(connection: Connection, state: ReplicaState): void {
    (connection === this.writer ? this.writerState : this.applierState).update(state);
  }

  #assemble(state: ReplicaState): Applier {
    const hiding = this.#tables.filter(({ uniqueIndexes }) => uniqueIndexes.length > 0);
    for (const connection of [this.writer, this.applier]) {
      const outbox = new Outbox(connection, this.#tables, isUndoable(state.policy));
      const versions = state.rowVersions ? new RowVersions(connection) : undefined;
      const hidden = state.rowVersions && hiding.length > 0 ? new HiddenRows(connection) : undefined;
      this.#sealing.set(connection, {
        outbox,
        sealer: new Sealer(connection, outbox, this.clock, versions, hidden, this.#tables, state),
        groups: new GroupSealer(outbox, this.clock, versions, hidden, this.#tables),
        deferredKeys: new DeferredKeys(connection),
      });
    }
    const versions = state.rowVersions ? new RowVersions(this.applier) : undefined;
    const hidden = state.rowVersions && hiding.length > 0 ? new HiddenRows(this.applier) : undefined;
    return new Applier(this.applier, this.#tables, this.clock, versions, hidden, state);
  }

  countHidden(state: ReplicaState): void {
    if (!state.rowVersions) return;
    const hidden = new HiddenRows(this.writer);
    for (const table of this.#tables)
      if (table.uniqueIndexes.length > 0) state.hidden[table.id] = hidden.count(table);
  }

  /**
   * Somebody may have changed triggers or tables since the last transaction. SCHEMA_DRIFT when a
   * replicated table is not what it was, or changes may have gone uncaptured; otherwise theirs are
   * guarded, and ours are put in order behind them. The view that all of them ask is there again.
   */
  verifySchema(connection: Connection, state: ReplicaState): void {
    if (schemaCookieOf(connection) === state.schemaCookie) return;
    const tables = rescanTables(connection, this.#tables);
    restoreGuard(connection);
    assertCaptured(connection, tables);
    const names = tables.map(({ name }) => name);
    const dependents = inspectDependents(connection, names, state.policy.localTriggers);
    assertTriggersUsable(dependents.triggers);
    if (state.rowVersions)
      for (const table of tables) if (table.uniqueIndexes.length > 0) createHiddenTable(connection, table);
    installTriggers(connection, tables, state.policy, dependents.repeated);
    state.leftOut = leftOutOf(connection, names, dependents);
    this.#tables = tables;
    this.users.forget(dependents.repeated);
    this.#localTables = undefined;
    this.#applier = this.#assemble(state);
    const { outbox } = this.sealing(connection);
    if (!outbox.isEmpty()) outbox.settleAll();
    state.schemaCookie = schemaCookieOf(connection);
  }

  /** Others are refused or captured from this commit on. */
  takeRole(connection: Connection, state: ReplicaState): void {
    const names = this.#tables.map(({ name }) => name);
    const { repeated } = inspectDependents(connection, names, state.policy.localTriggers);
    renewForeignLease(connection, state.policy);
    installTriggers(connection, this.#tables, state.policy, repeated);
    connection.statement('UPDATE _antiphon_state SET writes = ? WHERE id = 1').run(state.policy.writes);
    state.schemaCookie = schemaCookieOf(connection);
  }

  /**
   * Seals everything that other programs have committed, as the transactions that it certainly was
   * and with the times when it was written. The message stays open. `undated`: without these times.
   */
  async sealPending(
    connection: Connection,
    state: ReplicaState,
    pace: Pace,
    { undated = false } = {},
  ): Promise<void> {
    const { outbox, sealer } = this.sealing(connection);
    sealer.begin(state);
    if (outbox.isEmpty()) return;
    const times = new CapturedTimes(connection, this.clock.wallMs, state.rowVersions);
    await outbox.settlePaced(0, times.spread, pace);
    if (state.policy.certified === true) outbox.forgetClaims();
    const last = outbox.lastSeq();
    if (last === 0) return;
    this.guardNumbering();
    let from = 0;
    for await (const ranges of times.ranges(last, pace)) {
      await sealer.seal(from, undated ? ranges.map((range) => ({ ...range, undated })) : ranges, pace);
      from = ranges.at(-1)?.end ?? from;
    }
    outbox.clear();
  }
}

/** Views are none: what is written through them goes to tables. */
function localTables(connection: Connection, replicated: readonly TrackedTable[]): ReadonlySet<string> {
  const names = connection.db
    .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table'`, 'value')
    .all() as string[];
  const tracked = new Set(replicated.map(({ name }) => name));
  return new Set(names.filter((name) => !tracked.has(name) && !isMetadataName(name)));
}

export function schemaCookieOf(connection: Connection): number {
  return connection.statement('PRAGMA schema_version', 'value').get() as number;
}
