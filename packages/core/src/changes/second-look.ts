import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import { isWhole } from '../cluster/reserved.js';
import { BatchOrder } from '../decisions/batch-order.js';
import type { TransactionId } from '../model/transaction-id.js';
import type { Log } from '../ports/log.js';
import type { ChangeCursor } from './change-cursor.js';

/** How to read the log again for a place. */
export interface SecondLook {
  readonly place: ChangeCursor;
  /** What counts of entries that were read before. */
  readonly order: Pick<BatchOrder, 'counts'>;
}

/**
 * What a stream of changes has passed and replicas applied later is in the log, and is looked for
 * there: by the log's order first, which tells what counts of two transactions with one number.
 * Then in any order: what was quarantined is applied when it is retried, wherever it stands.
 */
export class SecondLooks {
  #sought: TransactionId | undefined;
  #times = 0;

  /**
   * The stream has passed this one. False when it was looked for in every way: it is not there.
   */
  misses(id: TransactionId): boolean {
    const isSame = this.#sought?.origin === id.origin && this.#sought.counter === id.counter;
    this.#times = isSame ? this.#times + 1 : 1;
    this.#sought = id;
    return this.#times <= 2;
  }

  get isLooking(): boolean {
    return this.#sought !== undefined;
  }

  /** The stream has delivered this. */
  delivered(vector: VectorClock): void {
    if (this.#sought !== undefined && counterOf(vector, this.#sought.origin) >= this.#sought.counter)
      this.#sought = undefined;
  }

  /**
   * How to go on at this place; undefined when nothing is looked for. What was delivered is known
   * by the vector and not delivered again. Throws LOG_UNAVAILABLE, LOG_REPLACED.
   */
  async at(
    log: Pick<Log, 'identity'>,
    place: ChangeCursor,
    signal?: AbortSignal,
  ): Promise<SecondLook | undefined> {
    if (this.#sought === undefined) return undefined;
    const identity = await log.identity(signal);
    const byOrder = new BatchOrder(isWhole(identity) ? undefined : place.vector);
    return {
      place: { ...place, openSeq: Math.max(1, identity.firstSeq) },
      order: this.#times === 1 ? byOrder : { counts: () => true },
    };
  }
}
