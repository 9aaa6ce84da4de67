import { AntiphonError, type Position, type PreparedGroup } from '@antiphon/core';
import type { DatabaseTransaction } from './database-transaction.js';
import { keepOutcome } from './outcomes.js';
import type { Preparation } from './preparing.js';
import { writeRecord } from './replica-record.js';
import { nextKey } from './sequence.js';
import { OUTBOX } from './spaces.js';

/** A group whose transaction is open. */
export class MemoryGroup implements PreparedGroup {
  readonly writes: PreparedGroup['writes'];
  readonly message?: NonNullable<PreparedGroup['message']>;
  #over: 'committed' | 'rolled back' | undefined;

  constructor(
    private readonly transaction: DatabaseTransaction,
    private readonly preparation: Preparation,
    private readonly token: string,
    /** Commits what is in the transaction, or rolls it back and throws. */
    private readonly commitTransaction: (keep: () => void) => Promise<void>,
  ) {
    this.writes = preparation.writes;
    if (preparation.message !== undefined) this.message = preparation.message;
  }

  async commit(position?: Position): Promise<void> {
    if (this.#over !== undefined)
      throw new AntiphonError(
        'INTERNAL',
        `a prepared group was ${this.#over} already and cannot be committed`,
      );
    this.#over = 'committed';
    await this.commitTransaction(() => this.#keep(position));
  }

  rollback(): Promise<void> {
    this.#over ??= 'rolled back';
    if (this.#over === 'rolled back') this.transaction.rollback();
    return Promise.resolve();
  }

  /** Everything that says that the group is in the log. */
  #keep(position: Position | undefined): void {
    if (this.message === undefined) return;
    if (position === undefined)
      throw new AntiphonError('INTERNAL', 'a group with a message is committed at its place in the log');
    const { transaction, token } = this;
    const { record } = this.preparation;
    const { firstCounter, lastCounter, data } = this.message;
    const origin = record.identity.replica;
    const message = { firstCounter, lastCounter, part: 0, last: true, data: data.slice() };
    transaction.put(OUTBOX, nextKey(transaction, 'outbox'), message);
    keepOutcome(transaction, { origin, firstCounter, lastCounter, token, seq: position.seq, rejected: [] });
    writeRecord(transaction, { ...record, position, publishedCounter: lastCounter });
  }
}
