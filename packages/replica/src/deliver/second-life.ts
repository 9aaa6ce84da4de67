import { isDeepStrictEqual } from 'node:util';
import {
  AntiphonError,
  type Batch,
  decodeBatches,
  lastCounterOf,
  type LogEntry,
  type SealedMessage,
  type Store,
} from '@antiphon/core';

/**
 * Counters are given by a database file. Two files that served under one id, one after the other,
 * gave the same counters to different transactions: the log has those of one of them. By the
 * counter alone they would pass for the ones that this file holds.
 */
export class SecondLife {
  /** The outbox is read forwards, as the log is. */
  #page: readonly SealedMessage[] = [];

  constructor(
    private readonly store: Pick<Store, 'sealed' | 'state'>,
    private readonly pageBytes: number,
  ) {}

  /**
   * The first counter of an own batch of the log that this database gave to another transaction;
   * undefined: none, as far as it still knows.
   */
  async counterIn(found: Batch): Promise<number | undefined> {
    const { firstCounter } = found;
    if (firstCounter > this.store.state().lastCounter) return undefined;
    for (const { data } of await this.#covering(firstCounter, lastCounterOf(found))) {
      for (const kept of decodeBatches(data)) {
        const counter = counterThatDiffers(found, kept);
        if (counter !== undefined) return counter;
      }
    }
    return undefined;
  }

  async #covering(first: number, last: number): Promise<readonly SealedMessage[]> {
    const isFresh = ({ lastCounter }: SealedMessage): boolean => lastCounter >= first;
    const end = this.#page.at(-1);
    // Before the page, or after it.
    if (end === undefined || end.lastCounter < last || (this.#page[0]?.firstCounter ?? 0) > first)
      this.#page = await this.#read(first, last);
    return this.#page.filter((message) => isFresh(message) && message.firstCounter <= last);
  }

  /** Of a transaction in parts, the first ones are enough. */
  async #read(first: number, last: number): Promise<readonly SealedMessage[]> {
    const messages: SealedMessage[] = [];
    for (let mark = { counter: first - 1, part: 0 }; ;) {
      const page = await this.store.sealed(mark, this.pageBytes);
      messages.push(...page.filter(({ lastCounter }) => lastCounter >= first));
      const end = page.at(-1);
      if (end === undefined || end.lastCounter >= last) return messages;
      mark = { counter: end.lastCounter, part: end.part };
    }
  }
}

/**
 * What is sent again may be cut elsewhere, so transactions are compared and not messages. Two of
 * them could have the same time where a clock stands still, so it is their changes as well.
 */
export function counterThatDiffers(found: Batch, kept: Batch): number | undefined {
  if (found.kind === 'part' || kept.kind === 'part') return partThatDiffers(found, kept);
  const ours = new Map(kept.transactions.map((transaction) => [transaction.counter, transaction]));
  // Changes name their tables by the place in the batch's dictionary.
  const comparable = isDeepStrictEqual(found.tables, kept.tables);
  const other = found.transactions.find(({ counter, time, changes }) => {
    const one = ours.get(counter);
    if (one === undefined) return false;
    return one.time !== time || (comparable && !isDeepStrictEqual(one.changes, changes));
  });
  return other?.counter;
}

function partThatDiffers(found: Batch, kept: Batch): number | undefined {
  const counter = found.kind === 'part' ? found.firstCounter : kept.firstCounter;
  const time = timeOf(found, counter);
  const ours = timeOf(kept, counter);
  if (time === undefined || ours === undefined) return undefined;
  if (time !== ours) return counter;
  if (found.kind !== 'part' || kept.kind !== 'part') return undefined;
  const from = Math.max(found.offset, kept.offset);
  const until = Math.min(found.offset + found.body.length, kept.offset + kept.body.length);
  if (until <= from) return undefined;
  const a = found.body.subarray(from - found.offset, until - found.offset);
  const b = kept.body.subarray(from - kept.offset, until - kept.offset);
  return Buffer.compare(a, b) === 0 ? undefined : counter;
}

function timeOf(batch: Batch, counter: number): number | undefined {
  if (batch.kind === 'part') return batch.firstCounter === counter ? batch.time : undefined;
  return batch.transactions.find((transaction) => transaction.counter === counter)?.time;
}

/** Throws DUPLICATE_REPLICA. */
export async function assertOurs(
  { seq }: LogEntry,
  batches: readonly Batch[],
  past: SecondLife,
): Promise<void> {
  for (const batch of batches) {
    const counter = await past.counterIn(batch);
    if (counter !== undefined) throw secondLife(batch.origin, counter, seq);
  }
}

/** `seq`: the entry of the log. */
function secondLife(id: string, counter: number, seq: number): AntiphonError {
  return new AntiphonError(
    'DUPLICATE_REPLICA',
    `Entry ${seq} of the log is ${id}:${counter}, but not the transaction that this database has under that number: ` +
      `another file, an older copy or a backup, has served as ${id} since. Nothing of this file was lost, and nothing more of it is ` +
      `published. Stop what runs as ${id}, keep this file, and start ${id} with an empty file, which gets everything from the log. ` +
      'Then write again what only the old file has (`sqldiff --primarykey` shows it). See docs/lost-log.md.',
    { context: { origin: id, counter, seq } },
  );
}

export function foreignWriter(seq: number, origin: string, counter: number): AntiphonError {
  return new AntiphonError(
    'DUPLICATE_REPLICA',
    `Entry ${seq} of the log is transaction ${origin}:${counter}, which this database never wrote: ` +
      `another process writes as ${origin}. Stop it, then start this replica again.`,
    { context: { origin, counter, seq } },
  );
}
