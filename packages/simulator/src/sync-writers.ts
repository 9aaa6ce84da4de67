import { AntiphonError, UnknownOutcomeError } from '@antiphon/core';
import type { WriteResult, SessionPosition } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';
import type { OperationHandle, Random } from '@antiphon/testing';
import type { SimulatedNode } from './node.js';
import { chooseStatements } from './random-writes.js';
import { putRow } from './row-statements.js';
import type { Table } from './schema/index.js';
import { repeat, type SyncContext } from './sync-context.js';
import { chooseAcks } from './sync-plan.js';
import { chooseSyncWork, type SyncWork } from './sync-workload.js';
import { EVENTS } from './tables.js';
import type { WriteCounts } from './writers.js';

/** How a write ended, as its caller knows it. `open`: its process was killed before it answered. */
export type WriteEnd = 'open' | 'committed' | 'rejected' | 'unknown';

export interface SyncWriteRecord {
  readonly token: string;
  readonly node: SimulatedNode;
  readonly work: SyncWork;
  /** Which process of the node it called. */
  readonly process: number;
  end: WriteEnd;
  /** To ask about an unknown one. */
  outcomeId?: string;
}

export interface SyncWriteEnd {
  readonly end: WriteEnd;
  readonly position?: SessionPosition;
}

const TIMEOUTS_MS = [300, 2000, 5000];
const OUTSIDE_SHARE = 0.1;

/** Everything thrown but OUTCOME_UNKNOWN means that nothing was written. */
const REJECTIONS = new Set([
  ...['CONFLICT', 'NOT_IN_SYNC', 'TIMEOUT', 'LOG_UNAVAILABLE', 'CONSTRAINT', 'STORE_BUSY', 'STORE_FULL'],
  'CLOCK_SKEW',
  ...['NOT_WRITABLE', 'OVERLOADED', 'CLOSED', 'ACTOR_STOPPED', 'UNKNOWN_TABLE'],
]);

/**
 * Keeps writing to one replica of a synchronous cluster, through it and, to see that it is refused,
 * behind its back.
 */
export class SyncWriters {
  readonly counts: WriteCounts = { committed: 0, outside: 0, refused: 0 };
  readonly wrong: string[] = [];
  readonly writes: SyncWriteRecord[] = [];
  unknown = 0;
  onCommitted: (transaction: string, position: SessionPosition) => void = () => undefined;
  onUnknown: (write: SyncWriteRecord) => void = () => undefined;
  /** Random ones, which get a share of the writes. */
  tables: readonly Table[] = [];
  #number = 0;
  #stopped = false;

  constructor(
    private readonly context: SyncContext,
    private readonly node: SimulatedNode,
    private readonly random: Random,
  ) {}

  get id(): string {
    return this.node.id;
  }

  start(): void {
    const { world } = this.context;
    repeat(
      world,
      this.random,
      world.options.meanWriteMs,
      () => this.#writeOne(),
      () => this.#stopped,
    );
  }

  stop(): void {
    this.#stopped = true;
  }

  #writeOne(): void {
    const number = ++this.#number;
    const token = `${this.node.id}#${number}`;
    const work = chooseSyncWork(
      ...([this.random, this.node.id, token, number, this.tables] as const),
      this.context.world.options.features.moves,
      this.context.orphans,
    );
    const acks = chooseAcks(this.random, this.context.nodes.length);
    const timeoutMs = this.random.pick(TIMEOUTS_MS);
    const outside = this.random.chance(OUTSIDE_SHARE);
    if (this.node.database.tableNames().length === 0) return;
    if (outside) return this.#writeOutside(token, number);
    void this.write(token, work, { timeoutMs, ...(this.random.chance(0.7) && { acks }) });
  }

  /** Calls the replica, if there is one that can be called. */
  write(
    token: string,
    work: SyncWork,
    options: NonNullable<Parameters<NonNullable<SimulatedNode['replica']>['transaction']>[1]>,
  ): Promise<SyncWriteEnd | undefined> {
    const { node } = this;
    const { history } = this.context;
    if (node.replica === undefined || node.paused) return Promise.resolve(undefined);
    const record: SyncWriteRecord = { token, node, work, process: node.starts, end: 'open' };
    this.writes.push(record);
    const handles = work.operations.map((operation) => history.invoke(token, operation));
    return node.replica.transaction(work.run, options).then(
      (result) => this.#committed(record, handles, result),
      (error: unknown) => this.#failed(record, handles, error),
    );
  }

  #committed(
    record: SyncWriteRecord,
    handles: readonly OperationHandle[],
    result: WriteResult<number | undefined>,
  ): SyncWriteEnd {
    const { context, node } = this;
    const { token, work } = record;
    record.end = 'committed';
    this.counts.committed++;
    context.note(`${token} committed at ${result.position.seq} by ${result.acks?.by.join()}`);
    const value = work.increment === undefined ? {} : { value: result.value ?? null };
    for (const handle of handles) context.history.complete(handle, { type: 'ok', ...value });
    if (work.reads !== true) context.answers.committed(node.id, token, result);
    else if (result.id !== undefined) this.wrong.push(`${token} changed nothing and has an id`);
    if (result.id !== undefined)
      this.onCommitted(`${result.id.origin}:${result.id.counter}`, result.position);
    if (!context.mayWrite(node) && work.reads !== true)
      this.wrong.push(`${token} was accepted by a replica that must not write`);
    return { end: 'committed', position: result.position };
  }

  #failed(record: SyncWriteRecord, handles: readonly OperationHandle[], error: unknown): SyncWriteEnd {
    const { context } = this;
    const { token } = record;
    const unknown = error instanceof UnknownOutcomeError;
    record.end = unknown ? 'unknown' : 'rejected';
    if (unknown) record.outcomeId = error.id;
    this.counts.refused++;
    if (unknown) this.unknown++;
    context.note(`${token} ${error instanceof AntiphonError ? error.code : String(error)}`);
    for (const handle of handles)
      context.history.complete(handle, unknown ? { type: 'unknown' } : { type: 'failed' });
    const expected = unknown || this.#isRejection(error);
    if (unknown) this.onUnknown(record);
    if (!expected) this.wrong.push(`${token} failed with ${String(error)}`);
    return { end: record.end };
  }

  #isRejection(error: unknown): boolean {
    if (!(error instanceof AntiphonError)) return false;
    // A random statement may end its transaction by itself, with OR ROLLBACK; somebody may have
    // changed a table.
    const ofTables = this.tables.length > 0 && ['BAD_SQL', 'SCHEMA_DRIFT'].includes(error.code);
    return REJECTIONS.has(error.code) || ofTables;
  }

  /** Another program, on rows that nobody else writes. */
  #writeOutside(token: string, number: number): void {
    const { database, id } = this.node;
    const { update } = this.context.world;
    const usable = this.tables.length > 0 && database.isReplica;
    const onRandomTables = usable && this.random.chance(0.5);
    const write = onRandomTables
      ? chooseStatements(this.random, this.tables, [`${id} outside`, number, token])
      : (tx: SqliteTransaction): void => putRow(tx, EVENTS, [`${id} outside`, BigInt(number), token]);
    const refuses = update.mode === 'sync' && update.foreignWrites === 'refuse';
    if (database.busy) return;
    try {
      database.writeOutside(write, number);
      this.counts.outside++;
      const installed = this.node.memberSinceMs !== undefined;
      if (installed && refuses)
        this.wrong.push(`${token} was written by another program, which is to be refused`);
    } catch (error) {
      if (!this.#isRejection(error))
        this.wrong.push(`${token} of another program failed with ${String(error)}`);
    }
  }
}
