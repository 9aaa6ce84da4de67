import {
  AntiphonError,
  counterOf,
  covers,
  decodeChanges,
  toAntiphonError,
  wins,
  withGap,
  withoutGap,
  type ApplyOutcome,
  type ApplyRequest,
  type ApplyStep,
  type BatchHeader,
  type Change,
  type HybridClock,
  type PartBatch,
  type Version,
} from '@antiphon/core';
import { ChangeDigest } from './change-digest.js';
import type { MemoryDatabase } from './database.js';
import type { DatabaseTransaction } from './database-transaction.js';
import { keyTextOf } from './key-order.js';
import { keepOutcome } from './outcomes.js';
import { withApplied, type ReplicaRecord } from './replica-record.js';
import { nextKey } from './sequence.js';
import { HISTORY, PARTIAL, QUARANTINE, rowsOf, sequenceKey, versionsOf, WRITTEN_SINCE } from './spaces.js';
import type { CompiledTable } from './table.js';
import { settleUniqueValues } from './uniqueness.js';

export interface ApplyContext {
  readonly database: MemoryDatabase;
  readonly clock: HybridClock;
  /** Changes between two turns given away. */
  readonly sliceChanges: number;
}

interface RemoteTransaction {
  readonly header: BatchHeader;
  readonly counter: number;
  readonly time: number;
  readonly changes: Iterable<Change>;
}

/** Applies steps of the log inside one open transaction. `record` is what is to be stored with it. */
export class Applying {
  #transactions = 0;
  #rows = 0;
  #conflicts = 0;
  #sinceYield = 0;

  constructor(
    private readonly transaction: DatabaseTransaction,
    private readonly request: ApplyRequest,
    private readonly context: ApplyContext,
    public record: ReplicaRecord,
  ) {}

  async run(): Promise<ApplyOutcome> {
    for (const [index, step] of this.request.steps.entries()) {
      const savepoint = this.transaction.savepoint();
      const before = { record: this.record, outcome: this.#outcome() };
      try {
        await this.#step(step);
      } catch (error) {
        this.transaction.rollbackTo(savepoint);
        this.#transactions = before.outcome.transactions;
        this.#rows = before.outcome.rows;
        this.#conflicts = before.outcome.conflicts;
        this.#moveTo(before.record, step.seq - 1);
        return { ...before.outcome, refused: { step: index, error: refusal(error) } };
      }
    }
    const { position } = this.request;
    this.record = { ...this.record, position, conflicts: this.record.conflicts + this.#conflicts };
    return this.#outcome();
  }

  #outcome(): ApplyOutcome {
    return { transactions: this.#transactions, rows: this.#rows, conflicts: this.#conflicts };
  }

  #moveTo(record: ReplicaRecord, seq: number): void {
    const { generation } = this.request.position;
    const position = { generation, seq: Math.max(seq, record.position.seq) };
    this.record = { ...record, position, conflicts: record.conflicts + this.#conflicts };
  }

  async #step(step: ApplyStep): Promise<void> {
    if (step.type === 'quarantine') return this.#quarantine(step);
    if (step.type === 'release') return this.#release(step);
    if (step.type === 'gap') {
      this.record = { ...this.record, gaps: withGap(this.record.gaps, step.gap, this.record.vector) };
      return;
    }
    if (step.type === 'no-gap') {
      this.record = { ...this.record, gaps: withoutGap(this.record.gaps, step.origin) };
      return;
    }
    if (step.type === 'part') return await this.#part(step.batch);
    const { batch, skip, rejected = [] } = step;
    for (const { counter, time, changes } of batch.transactions.slice(skip)) {
      await this.#apply({ header: batch, counter, time, changes: rejected.includes(counter) ? [] : changes });
    }
    this.#keepOutcome(step);
  }

  /** How a synchronous group ended, an own one as well. */
  #keepOutcome({ batch, rejected = [], seq }: ApplyStep & { type: 'transactions' }): void {
    const { sync, origin, firstCounter, transactions } = batch;
    if (sync === undefined) return;
    const lastCounter = firstCounter + transactions.length - 1;
    keepOutcome(this.transaction, { origin, firstCounter, lastCounter, token: sync.token, seq, rejected });
  }

  #quarantine(step: ApplyStep & { type: 'quarantine' }): void {
    const { seq, storedAtMs, origin, data, error } = step;
    const key = nextKey(this.transaction, 'quarantine');
    this.transaction.put(QUARANTINE, key, {
      ...{ id: Number(key), seq, storedAtMs, origin, data: data.slice() },
      ...{ code: error.code, message: error.message, putAsideAtMs: storedAtMs },
    });
  }

  #release({ id, arrived }: ApplyStep & { type: 'release' }): void {
    const key = sequenceKey(id);
    if (this.transaction.get(QUARANTINE, key) === undefined) return;
    this.transaction.delete(QUARANTINE, key);
    if (!arrived) this.record = { ...this.record, discarded: this.record.discarded + 1 };
  }

  async #part(batch: PartBatch): Promise<void> {
    const { origin, firstCounter: counter } = batch;
    const kept = this.transaction.get(PARTIAL, origin);
    const earlier = kept?.header.firstCounter === counter && batch.offset > 0 ? kept.bodies : [];
    if (earlier.reduce((sum, body) => sum + body.length, 0) !== batch.offset)
      throw new AntiphonError(
        'INTERNAL',
        `the part from byte ${batch.offset} on of ${origin}:${counter} was not awaited`,
      );
    const bodies = [...earlier, batch.body.slice()];
    if (!batch.last) {
      const { body: _body, ...header } = batch;
      this.transaction.put(PARTIAL, origin, { header, bodies });
      return;
    }
    await this.#apply({
      header: batch,
      counter,
      time: batch.time,
      changes: decodeChanges(bodies, batch.tables),
    });
  }

  async #apply(remote: RemoteTransaction): Promise<void> {
    const { header, counter, time } = remote;
    const { origin } = header;
    const expected = counterOf(this.record.vector, origin) + 1;
    // Own ones that were sealed before the past came in are there already.
    if (origin === this.record.identity.replica && counter < expected)
      return this.#forgetParts(origin, counter);
    if (counter !== expected)
      throw new AntiphonError('INTERNAL', `${origin}:${counter} was not awaited, but ${expected}`);
    const version: Version = { time, origin, counter };
    const digest = new ChangeDigest();
    const touched = new Set<CompiledTable>();
    for (const change of remote.changes) {
      const table = this.#tableOf(header, change);
      if (change.op !== 'delete') table.check(change.row);
      digest.add({ op: change.op, table: table.name, row: change.row });
      this.#change(table, change, version, header);
      touched.add(table);
      await this.#giveTurn();
    }
    if (this.record.rowVersions) for (const table of touched) settleUniqueValues(this.transaction, table);
    this.transaction.put(HISTORY, nextKey(this.transaction, 'history'), {
      origin,
      counter,
      time,
      context: header.context,
      digest: digest.finish(),
    });
    this.#forgetParts(origin, counter);
    this.context.clock.observe(time);
    this.record = withApplied(
      { ...this.record, lastTime: Math.max(this.record.lastTime, time) },
      origin,
      counter,
    );
    if (this.record.pastUntil === undefined) {
      for (const [key] of [...this.transaction.entries(WRITTEN_SINCE)])
        this.transaction.delete(WRITTEN_SINCE, key);
    }
    this.#transactions++;
  }

  #forgetParts(origin: string, counter: number): void {
    if (this.transaction.get(PARTIAL, origin)?.header.firstCounter === counter) {
      this.transaction.delete(PARTIAL, origin);
    }
  }

  #change(table: CompiledTable, change: Change, version: Version, header: BatchHeader): void {
    const key = keyTextOf(table.schema, change.row);
    this.#rows++;
    if (!this.record.rowVersions) {
      const writtenSince = this.transaction.get(WRITTEN_SINCE, `${table.name} ${key}`) ?? 0;
      return writtenSince > version.counter ? undefined : this.#writeRow(table, key, change);
    }
    const current = this.transaction.get(versionsOf(table.name), key);
    if (current !== undefined && isConcurrent(current.version, version, header)) this.#conflicts++;
    if (!wins(version, current?.version)) return;
    this.#writeRow(table, key, change);
    const entry = { version, deleted: change.op === 'delete', displaced: undefined };
    this.transaction.put(versionsOf(table.name), key, entry);
  }

  #writeRow(table: CompiledTable, key: string, change: Change): void {
    if (change.op === 'delete') return this.transaction.delete(rowsOf(table.name), key);
    // Decoded bytes are views of the message.
    const row = change.row.map((value) => (value instanceof Uint8Array ? value.slice() : value));
    this.transaction.put(rowsOf(table.name), key, row);
  }

  #tableOf(header: BatchHeader, change: Change): CompiledTable {
    const named = header.tables[change.table];
    const schema = this.record.schema.tables.find(({ name }) => name === named?.name);
    const sameColumns = schema?.columns.every(({ name }, index) => named?.columns[index] === name) === true;
    if (
      named === undefined ||
      schema === undefined ||
      !sameColumns ||
      schema.columns.length !== named.columns.length
    ) {
      throw new AntiphonError(
        'UNKNOWN_TABLE',
        `this cluster does not replicate a table ${named?.name} with the columns of this message`,
      );
    }
    return this.context.database.table(schema.name, this.transaction);
  }

  async #giveTurn(): Promise<void> {
    if (++this.#sinceYield < this.context.sliceChanges) return;
    this.#sinceYield = 0;
    await this.request.yield();
  }
}

function isConcurrent(current: Version, candidate: Version, header: BatchHeader): boolean {
  if (current.origin === candidate.origin) return false;
  return !covers(header.context, current);
}

function refusal(error: unknown): AntiphonError {
  const known = toAntiphonError(error, 'INTERNAL');
  if (known.code !== 'CONSTRAINT') return known;
  return new AntiphonError('APPLY_REFUSED', `the database refused a change: ${known.message}`, {
    cause: known,
  });
}
