import {
  AntiphonError,
  type HybridClock,
  type PreparedGroup,
  type PreparedWrite,
  type PrepareOptions,
  type WriteRequest,
} from '@antiphon/core';
import { capturedTransactions, type CapturedTransaction } from './capture.js';
import { claimsOf } from './claims.js';
import type { MemoryDatabase } from './database.js';
import type { DatabaseTransaction } from './database-transaction.js';
import { GroupMessage } from './group-message.js';
import type { ReplicaRecord } from './replica-record.js';
import { runWrite } from './running.js';
import { messageHead, settleTouched, stampTransaction } from './sealing.js';
import { nextNumber } from './sequence.js';
import type { MemoryTransaction } from './user-transaction.js';

export interface Preparation {
  readonly writes: readonly PreparedWrite[];
  readonly message: PreparedGroup['message'];
  /** Of the replica, with the counters of the group. */
  readonly record: ReplicaRecord;
}

export interface PrepareContext {
  readonly database: MemoryDatabase;
  readonly clock: HybridClock;
}

/** Runs a group's writes in a transaction that stays open, and seals them one by one into a message. */
export class Preparing {
  readonly #writes: PreparedWrite[] = [];
  readonly #sealed: CapturedTransaction[] = [];
  readonly #message: GroupMessage;
  #full = false;

  constructor(
    private readonly transaction: DatabaseTransaction,
    private record: ReplicaRecord,
    private readonly options: PrepareOptions,
    private readonly context: PrepareContext,
  ) {
    this.#message = new GroupMessage(messageHead(record), options, record.position.seq);
  }

  run(requests: readonly WriteRequest<MemoryTransaction>[]): Preparation {
    if (requests.length === 0) this.#fence();
    for (const request of requests) this.#writes.push(this.#write(request));
    if (this.record.rowVersions) settleTouched(this.transaction, this.context.database, this.#sealed);
    return { writes: this.#writes, message: this.#message.finish(), record: this.record };
  }

  /** A transaction without changes. */
  #fence(): void {
    const captured = { writer: nextNumber(this.transaction, 'writers'), keys: [], changes: [] };
    const { record, draft } = stampTransaction(this.transaction, this.record, captured, this.context);
    if (!this.#message.add(draft, [])) throw this.#tooLarge();
    this.record = record;
  }

  #write(request: WriteRequest<MemoryTransaction>): PreparedWrite {
    if (this.#full) return { type: 'left-out' };
    const { transaction, context, options } = this;
    const savepoint = transaction.savepoint();
    const ran = runWrite(context.database, transaction, request);
    if (ran.type === 'rejected') return ran;
    const { value, locks } = ran;
    // What the writes before it changed is sealed already.
    const [captured] = capturedTransactions(transaction);
    if (captured === undefined) return { type: 'ran', value, claims: [] };
    const tableOf = (name: string): ReturnType<MemoryDatabase['table']> =>
      context.database.table(name, transaction);
    const claims = options.certified ? claimsOf(captured.changes, locks, tableOf) : [];
    const { record, draft } = stampTransaction(transaction, this.record, captured, context);
    if (!this.#message.add(draft, claims)) {
      transaction.rollbackTo(savepoint);
      if (this.#message.empty) return { type: 'rejected', error: this.#tooLarge() };
      this.#full = true;
      return { type: 'left-out' };
    }
    this.record = record;
    this.#sealed.push(captured);
    return { type: 'ran', value, id: { origin: record.identity.replica, counter: draft.counter }, claims };
  }

  #tooLarge(): AntiphonError {
    const { maxBytes } = this.#message;
    return new AntiphonError(
      'MESSAGE_TOO_LARGE',
      `a synchronous write must fit into one message of ${maxBytes} bytes, and this one does not; split it into several writes`,
      { context: { limit: maxBytes } },
    );
  }
}
