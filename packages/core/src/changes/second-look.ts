import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import { BatchOrder } from '../decisions/batch-order.js';
import type { Batch } from '../model/transaction.js';
import { formatTransactionId, type TransactionId } from '../model/transaction-id.js';
import type { Log } from '../ports/log.js';
import type { ChangeCursor } from './change-cursor.js';

/** How to read the log again for a place. */
export interface SecondLook {
  readonly place: ChangeCursor;
  /** What counts of entries that were read before. */
  readonly order: Pick<BatchOrder, 'counts' | 'begins'>;
}

/**
 * What a stream of changes has passed and replicas applied later is in the log, and is looked for
 * there: by the log's order first, which tells what counts of two transactions with one number.
 * Then this transaction in any order: what was quarantined is applied when it is retried, wherever
 * it stands.
 */
export class SecondLooks {
  #sought: TransactionId | undefined;
  /** How often each was missed, until it is delivered. */
  readonly #times = new Map<string, { readonly id: TransactionId; readonly times: number }>();

  /**
   * The stream has passed this one. False when it was looked for in every way: it is not there.
   */
  misses(id: TransactionId): boolean {
    const times = (this.#times.get(formatTransactionId(id))?.times ?? 0) + 1;
    this.#times.set(formatTransactionId(id), { id, times });
    this.#sought = id;
    return times <= 2;
  }

  get isLooking(): boolean {
    return this.#sought !== undefined;
  }

  /** The stream has delivered this. */
  delivered(vector: VectorClock): void {
    for (const [text, { id }] of this.#times)
      if (counterOf(vector, id.origin) >= id.counter) this.#times.delete(text);
    if (this.#sought !== undefined && !this.#times.has(formatTransactionId(this.#sought)))
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
    const sought = this.#sought;
    if (sought === undefined) return undefined;
    const identity = await log.identity(signal);
    const byOrder = BatchOrder.of(identity, place.vector);
    const isSought = ({ origin, firstCounter }: Batch): boolean =>
      origin === sought.origin && firstCounter <= sought.counter;
    const anywhere = (this.#times.get(formatTransactionId(sought))?.times ?? 0) > 1;
    return {
      place: { ...place, openSeq: Math.max(1, identity.firstSeq) },
      order: anywhere
        ? {
            counts: (batch) => byOrder.counts(batch) || isSought(batch),
            begins: (record) => byOrder.begins(record),
          }
        : byOrder,
    };
  }
}
