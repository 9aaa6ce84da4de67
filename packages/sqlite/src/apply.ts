import {
  AntiphonError,
  decodeChanges,
  encodeBatch,
  lastCounterOf,
  MAX_KEPT_CONFLICTS,
  MAX_SHOWN_CONFLICTS,
  movedTo,
  withGap,
  withoutGap,
  type ApplyOutcome,
  type ApplyRequest,
  type ApplyStep,
  type BatchHeader,
  type Change,
  type HybridClock,
  type PartBatch,
  type RowConflict,
  type SealedTransaction,
  type TransactionBatch,
  withoutStop,
} from '@antiphon/core';
import { ApplyQueue, type RowRun } from './apply-queue.js';
import { ConflictLedger, cutRow, rowOf } from './conflicts.js';
import type { Connection } from './connection.js';
import { Epochs } from './epochs.js';
import type { HiddenRows } from './hidden-rows.js';
import { isRefusal } from './errors.js';
import { KeptAttempts } from './kept-attempts.js';
import type { TrackedTable } from './local-table.js';
import { Outcomes } from './outcomes.js';
import { Pace } from './pace.js';
import { Parts } from './parts.js';
import { PostponedRows } from './postponed-rows.js';
import { Quarantine } from './quarantine.js';
import { RescueLedger } from './rescue-ledger.js';
import { RowStatements } from './row-statements.js';
import { isSealed, storeSealed } from './sealed-messages.js';
import type { ReplicaState } from './state.js';
import { mappingAt, mappingsOf, rowHere, type TableMapping } from './table-mapping.js';
import type { Contested, RowVersions, Stamp } from './versions.js';

/** Between two looks at the clock. */
const ROWS_BETWEEN_LOOKS = 256;

interface Counts {
  transactions: number;
  rows: number;
  conflicts: number;
  lastConflicts: readonly RowConflict[];
}

const NO_COUNTS: Readonly<Counts> = { transactions: 0, rows: 0, conflicts: 0, lastConflicts: [] };

/** Applies steps on one connection, inside the caller's transaction, with the guard row set. */
export class Applier {
  readonly #statements = new Map<number, RowStatements>();
  readonly #byName = new Map<string, TrackedTable>();
  readonly #queue = new ApplyQueue((run) => this.#write(run));
  readonly #parts: Parts;
  readonly #outcomes: Outcomes;
  readonly #keptAttempts: KeptAttempts;
  readonly #quarantine: Quarantine;
  readonly #epochs: Epochs;
  readonly #ledger: RescueLedger;
  readonly #conflicts: ConflictLedger;
  #counts: Counts = { ...NO_COUNTS };
  #state: ReplicaState;
  #untilLook = ROWS_BETWEEN_LOOKS;
  /**
   * Set: whole transactions are written one by one, and rows that another row of theirs is still in
   * the way of wait for its end.
   */
  #postponed: PostponedRows | undefined;
  /**
   * Own transactions come in below later ones that are here already and are written once more when
   * all have come: until then later rows give way where both want one unique value, as rows do on
   * every other replica: at the end of the transaction.
   */
  #givingWay = false;
  /**
   * Write the rows of each transaction before the next one is looked at, to learn whose the
   * database refuses.
   */
  #eager = false;
  /** What is being applied; the table is the one that was written last. */
  #at: { readonly counter?: number; readonly table?: string } = {};

  constructor(
    private readonly connection: Connection,
    tables: readonly TrackedTable[],
    private readonly clock: HybridClock,
    private readonly versions: RowVersions | undefined,
    private readonly hidden: HiddenRows | undefined,
    state: ReplicaState,
  ) {
    this.#state = state;
    this.#parts = new Parts(connection);
    this.#outcomes = new Outcomes(connection);
    this.#keptAttempts = new KeptAttempts(connection);
    this.#quarantine = new Quarantine(connection);
    this.#epochs = new Epochs(connection);
    this.#ledger = new RescueLedger(connection);
    this.#conflicts = new ConflictLedger(connection);
    for (const table of tables) {
      this.#byName.set(table.name, table);
      this.#statements.set(table.id, new RowStatements(connection, table));
    }
  }

  /**
   * Everything or nothing: what is thrown leaves the caller to roll back. Changes of many
   * transactions are written together, so that a refusal does not tell whose it is.
   */
  async applyTogether(state: ReplicaState, request: ApplyRequest): Promise<ApplyOutcome> {
    this.#begin(state);
    const pace = new Pace(this.connection.surroundings, request.sliceMs, request.yield);
    for (const step of request.steps) await this.#take(step, pace);
    this.#queue.flush();
    return this.#finish(request);
  }

  /**
   * One transaction after the other, up to the first one that the database refuses. A synchronous
   * group counts as a whole.
   */
  async applyOneByOne(state: ReplicaState, request: ApplyRequest): Promise<ApplyOutcome> {
    this.#begin(state);
    this.#eager = true;
    this.#postponed = new PostponedRows();
    const pace = new Pace(this.connection.surroundings, request.sliceMs, request.yield);
    for (const [index, step] of request.steps.entries()) {
      for (const piece of piecesOf(step)) {
        const error = await this.#attempt(piece, pace);
        if (error === undefined) continue;
        const seq = Math.max(this.#state.position.seq, step.seq - 1);
        const { generation } = request.position;
        const outcome = this.#finish({ ...request, position: { generation, seq } });
        return { ...outcome, refused: { step: index, error } };
      }
    }
    return this.#finish(request);
  }

  /** Why the database refuses it, and nothing of it is left; undefined when it went in. */
  async #attempt(step: ApplyStep, pace: Pace): Promise<AntiphonError | undefined> {
    const before = this.#state.copy();
    for (const origin of this.#state.changedOrigins) before.changedOrigins.add(origin);
    before.newlySealed.addAll(this.#state.newlySealed);
    const counts = { ...this.#counts };
    const parts = this.#parts.snapshot();
    this.connection.statement('SAVEPOINT _antiphon_step').run();
    try {
      await this.#take(step, pace);
      this.#queue.flush();
      this.connection.statement('RELEASE _antiphon_step').run();
      return undefined;
    } catch (thrown) {
      if (!isRefusal(thrown) || !this.connection.inTransaction) throw thrown;
      this.connection.statement('ROLLBACK TO _antiphon_step').run();
      this.connection.statement('RELEASE _antiphon_step').run();
      this.#queue.clear();
      this.#postponed?.clear();
      this.#parts.restore(parts);
      this.#state.restore(before);
      this.#counts = counts;
      return refusal(thrown, step, this.#at);
    }
  }

  /** Hidden rows that own writes may have set free; before anything else is applied. */
  settle(state: ReplicaState): void {
    if (state.unsettled.length === 0) return;
    // Without unique indexes there are no hidden rows any more.
    this.hidden?.settle(state, [...this.#byName.values()]);
    this.connection.statement('DELETE FROM _antiphon_unsettled').run();
    state.unsettled = [];
  }

  /**
   * Own sealed messages that are later than what the log brought back: they were written on top of
   * it.
   */
  async replay(
    state: ReplicaState,
    batches: Iterable<Extract<ApplyStep, { type: 'transactions' | 'part' }>['batch']>,
  ): Promise<void> {
    this.#begin(state);
    this.#giveWay();
    const pace = Pace.ordinary(this.connection.surroundings);
    for (const batch of batches) {
      const mappings = mappingsOf(batch.tables, this.#byName);
      if (batch.kind === 'transactions') {
        for (const { changes, time, counter } of batch.transactions)
          await this.#changes(changes, mappings, stampOf(batch, time, counter), pace);
      } else if (batch.last) {
        await this.#changes(
          decodeChanges(this.#parts.bodies(batch), batch.tables),
          mappings,
          stampOf(batch, batch.time, batch.firstCounter),
          pace,
        );
        this.#parts.clear();
      } else {
        this.#parts.keep(state.copy(), batch);
      }
    }
    this.#queue.flush();
  }

  #giveWay(): void {
    this.#givingWay = true;
    this.#postponed = new PostponedRows();
  }

  #begin(state: ReplicaState): void {
    this.#state = state;
    this.#eager = false;
    this.#givingWay = false;
    this.#at = {};
    this.#queue.clear();
    this.#postponed = undefined;
    if (state.recovering) this.#giveWay();
    this.#parts.clear();
    this.#counts = { ...NO_COUNTS };
  }

  #finish(request: ApplyRequest): ApplyOutcome {
    this.#parts.store();
    const state = this.#state;
    state.position = movedTo(state.position, request.position);
    state.conflicts += this.#counts.conflicts;
    this.clock.restore(state.time);
    const { lastConflicts, ...counts } = this.#counts;
    this.#conflicts.add(lastConflicts, Math.round(this.clock.wallMs));
    const shown = lastConflicts.slice(-MAX_SHOWN_CONFLICTS);
    return shown.length === 0 ? counts : { ...counts, lastConflicts: shown };
  }

  async #take(step: ApplyStep, pace: Pace): Promise<void> {
    if (step.type === 'quarantine') return this.#quarantine.add(this.#state, step);
    if (step.type === 'release') return this.#quarantine.release(this.#state, step);
    if (step.type === 'gap' || step.type === 'no-gap') return this.#noteGap(step);
    if (step.type === 'fenced') return this.#takeFenced(step.batch);
    if (step.type === 'part') return this.#takePart(step.batch, pace);
    if (step.type === 'epoch') return this.#enterEpoch(step);
    const { batch, skip, rejected = [] } = step;
    if (batch.origin === this.#state.identity.replica) this.#ownGroup(batch, rejected.length > 0, skip);
    const mappings = mappingsOf(batch.tables, this.#byName);
    for (let index = skip; index < batch.transactions.length; index++) {
      const transaction = batch.transactions[index];
      if (transaction === undefined) break;
      const { time, counter, changes } = transaction;
      if (this.#eager) this.#at = { counter };
      if (!rejected.includes(counter))
        await this.#changes(changes, mappings, stampOf(batch, time, counter), pace);
      if (this.#eager) this.#queue.flush();
      this.#applied(batch, counter, time);
    }
    this.#keepOutcome(batch, rejected, step.seq);
  }

  /** What this replica wrote of its kept rows is not kept any longer. */
  #ownGroup(batch: TransactionBatch, rejected: boolean, skip: number): void {
    if (batch.sync === undefined) return;
    if (!rejected && skip === 0 && !this.#state.recovering) this.#seal(batch);
    const tables = [...this.#byName.values()];
    const noted = this.#keptAttempts.arrived(batch.sync.token, tables, rejected);
    if (!noted && !rejected && this.#state.recovering) this.#keptAttempts.doubt(batch, tables);
  }

  /** Its append had no answer, so that it comes out of the log: it is kept for others (I3). */
  #seal(batch: TransactionBatch): void {
    const { firstCounter, transactions } = batch;
    const message = { firstCounter, lastCounter: lastCounterOf(batch), part: 0, last: true };
    const changes = transactions.reduce((sum, one) => sum + one.changes.length, 0);
    storeSealed(this.connection, this.#state, { ...message, data: encodeBatch(batch) }, changes);
  }

  /** Of a synchronous group, also of an own one: how it ended can be asked for later. */
  #keepOutcome(batch: TransactionBatch, rejected: readonly number[], seq: number): void {
    const { sync, origin, firstCounter } = batch;
    if (sync === undefined) return;
    const lastCounter = lastCounterOf(batch);
    this.#outcomes.keep(this.#state, { seq, origin, firstCounter, lastCounter, token: sync.token, rejected });
  }

  /** Whatever was kept of an origin's next transaction: it is here. */
  forgetParts(state: ReplicaState, origin: string): void {
    const kept = state.partial[origin];
    if (kept !== undefined && kept.counter <= state.counterOf(origin)) this.#parts.forget(state, origin);
  }

  async #takePart(batch: PartBatch, pace: Pace): Promise<void> {
    if (!batch.last) return this.#parts.keep(this.#state, batch);
    const changes = decodeChanges(this.#parts.bodies(batch), batch.tables);
    await this.#changes(
      changes,
      mappingsOf(batch.tables, this.#byName),
      stampOf(batch, batch.time, batch.firstCounter),
      pace,
    );
    this.#parts.forget(this.#state, batch.origin);
    this.#applied(batch, batch.firstCounter, batch.time);
  }

  #applied(batch: BatchHeader, counter: number, time: number): void {
    const state = this.#state;
    state.advance(batch.origin, counter);
    // Own transactions come this way only out of the log.
    if (batch.origin === state.identity.replica) {
      state.published(counter);
      this.#ledger.arrived(state, { counter, time });
    }
    if (time > state.time) state.time = time;
    this.#counts.transactions++;
  }

  #enterEpoch({ record, seq, elected }: Extract<ApplyStep, { type: 'epoch' }>): void {
    const state = this.#state;
    this.#queue.flush();
    this.#parts.forgetAll(state);
    const { primary, after } = record;
    const isOwn = primary === state.identity.replica;
    // Sealed, and not in the log: its counters go on, and none of them is void.
    const hasTail = isOwn && state.ownCounter > state.publishedCounter;
    const admitted = hasTail ? after : state.counterOf(primary);
    // More numbers are given than it says: what comes next would be behind a hole.
    const isShort = isOwn && state.lastCounter > Math.max(after, state.ownCounter);
    // What was undone waits for the log: only the process that is elected has read all of it.
    const staysRewound = elected !== true && state.rewoundEpoch >= state.epoch.number;
    if (isShort || staysRewound) this.#ledger.noteRewind(state, state.spentCounter, record.epoch);
    state.epochs = this.#epochs.enter(state.epochs, { record, seq, admitted });
    state.takeRole();
    if (!isOwn) this.#ledger.keepPending();
    if (after <= admitted) return;
    state.advance(primary, after);
    if (isOwn) state.published(after);
  }

  #takeFenced(batch: TransactionBatch): void {
    const state = this.#state;
    const noted = { reason: 'rescued', notedAtMs: Math.round(this.clock.wallMs) } as const;
    const isHere = (one: SealedTransaction): boolean =>
      one.counter <= state.publishedCounter ||
      (one.counter <= state.ownCounter && isSealed(this.connection, one)) ||
      this.#ledger.has(one);
    for (const transaction of batch.transactions) {
      if (transaction.changes.length > 0 && !isHere(transaction))
        this.#ledger.addWhole(state, batch, transaction, noted);
    }
    const last = lastCounterOf(batch);
    // Else it is the number of what is still to be sent.
    if (last <= state.ownCounter) return;
    state.lastCounter = Math.max(state.lastCounter, last);
    this.#ledger.noteRewind(state, last, state.rewoundEpoch);
  }

  #noteGap(step: Extract<ApplyStep, { type: 'gap' | 'no-gap' }>): void {
    const state = this.#state;
    state.gaps =
      step.type === 'gap' ? withGap(state.gaps, step.gap, state.vector) : withoutGap(state.gaps, step.origin);
  }

  async #changes(
    changes: Iterable<Change>,
    mappings: readonly TableMapping[],
    stamp: Stamp,
    pace: Pace,
  ): Promise<void> {
    let made = stamp;
    for (const change of changes) {
      const mapping = mappingAt(mappings, change.table);
      const row = rowHere(mapping, change.row);
      if (change.earlierUs !== undefined) made = earlierStamp(stamp, change.earlierUs, made);
      else made = stamp;
      this.#queue.add(mapping.table, change.op === 'delete' ? 'delete' : 'upsert', row, made);
      this.#counts.rows++;
      if (--this.#untilLook > 0) continue;
      this.#untilLook = ROWS_BETWEEN_LOOKS;
      if (pace.due()) await pace.rest();
    }
    if (this.#postponed === undefined) return;
    this.#queue.flush();
    // With one writer a row collides only when that writer's database was older than what it had
    // sent (docs/decisions/0043).
    const overridden = this.#postponed.place(this.#givingWay || this.versions === undefined);
    if (!this.#givingWay) this.#counts.conflicts += overridden;
  }

  /**
   * Before anything of them is written: the row that is here is still the other one, unless a
   * change of the same run comes before it.
   */
  #noteConflicts(table: TrackedTable, conflicts: readonly Contested[]): void {
    this.#counts.conflicts += conflicts.length;
    const columns = table.columns.map(({ name }) => name);
    const last = conflicts
      .slice(-MAX_KEPT_CONFLICTS)
      .map(({ won, row, before, ...conflict }): RowConflict => {
        const named = { table: table.name, columns, ...conflict };
        const other = before === undefined ? rowOf(this.connection, [table], named) : before.row;
        const [kept, lost] = won ? [row, other] : [other, row];
        return { ...named, ...(kept && { kept: cutRow(kept) }), ...(lost && { lost: cutRow(lost) }) };
      });
    this.#counts.lastConflicts = [...this.#counts.lastConflicts, ...last].slice(-MAX_KEPT_CONFLICTS);
  }

  #write({ table, kind, rows, stamps }: RowRun): void {
    if (this.#eager) this.#at = { ...this.#at, table: table.name };
    let admitted = rows;
    if (this.versions !== undefined) {
      const verdict = this.versions.admit(table, rows, stamps, kind === 'delete');
      if (verdict.conflicts.length > 0) this.#noteConflicts(table, verdict.conflicts);
      admitted = verdict.rows;
    }
    if (admitted.length === 0) return;
    const statements = this.#statements.get(table.id);
    if (statements === undefined) return;
    if (this.hidden !== undefined && table.uniqueIndexes.length > 0) {
      this.hidden.write(this.#state, statements, kind, admitted);
    } else if (kind === 'upsert' && this.#postponed !== undefined && table.uniqueIndexes.length > 0) {
      this.#postponed.upsert(statements, admitted);
    } else if (kind === 'upsert') {
      statements.upsert(admitted);
    } else if (this.#postponed !== undefined) {
      this.#postponed.delete(statements, admitted);
    } else {
      statements.delete(admitted);
    }
  }
}

function stampOf(batch: BatchHeader, time: number, counter: number): Stamp {
  return { time, counter, origin: batch.origin, context: batch.context };
}

/**
 * Of a change that was made so long before its transaction's time; `before`: that of the change
 * before it, often the same.
 */
function earlierStamp(stamp: Stamp, earlierUs: number, before: Stamp): Stamp {
  const time = Math.max(0, stamp.time - earlierUs);
  return before.time === time ? before : { ...stamp, time };
}

/** What can be applied by itself. */
function* piecesOf(step: ApplyStep): Generator<ApplyStep> {
  if (step.type !== 'transactions' || step.batch.sync !== undefined) {
    yield step;
    return;
  }
  const { batch, skip } = step;
  for (const transaction of batch.transactions.slice(skip)) {
    const alone = { ...batch, firstCounter: transaction.counter, transactions: [transaction] };
    yield { ...step, batch: alone, skip: 0 };
  }
}

function transactionOf(step: ApplyStep): { readonly origin?: string; readonly counter?: number } {
  if (step.type === 'gap') return { origin: step.gap.origin };
  if (step.type === 'quarantine' || step.type === 'no-gap') return { origin: step.origin };
  if (step.type === 'release') return {};
  if (step.type === 'epoch') return { origin: step.record.primary };
  return { origin: step.batch.origin, counter: step.batch.firstCounter };
}

function refusal(
  thrown: unknown,
  step: ApplyStep,
  at: { readonly counter?: number; readonly table?: string },
): AntiphonError {
  const context = { ...transactionOf(step), ...at, seq: step.seq };
  if (thrown instanceof AntiphonError) {
    return new AntiphonError(thrown.code, thrown.message, {
      cause: thrown,
      context: { ...thrown.context, ...context },
    });
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const where = at.table === undefined ? '' : ` in table ${at.table}`;
  return new AntiphonError('APPLY_REFUSED', `${withoutStop(message)}${where}.`, { cause: thrown, context });
}
