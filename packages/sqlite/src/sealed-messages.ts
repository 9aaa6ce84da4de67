import { decodeBatches, type Batch, type SealedMessage, type SealedTransaction } from '@antiphon/core';
import type { Connection } from './connection.js';
import { PARTS_PER_COUNTER } from './metadata.js';
import type { ReplicaState } from './state.js';

/** Messages deleted in one transaction. */
const PRUNE_MESSAGES = 200;

function sealedId(counter: number, part: bigint): bigint {
  return BigInt(counter) * PARTS_PER_COUNTER + part;
}

interface SealedRow {
  readonly firstCounter: number;
  readonly lastCounter: number;
  readonly part: number;
  readonly last: number;
  readonly data: Uint8Array;
}

/** Keeps a message until it is pruned (I3). */
export function storeSealed(
  connection: Connection,
  state: ReplicaState,
  message: SealedMessage,
  changes: number,
): void {
  const { firstCounter, lastCounter, part, last, data } = message;
  connection
    .statement('INSERT INTO _antiphon_sealed VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
    .run(
      sealedId(firstCounter, BigInt(part)),
      firstCounter,
      lastCounter,
      part,
      last ? 1 : 0,
      changes,
      data.length,
      data,
    );
  state.outboxMessages++;
  state.outboxBytes += data.length;
  state.newlySealed.add(message);
}

/** Whether this very transaction is: its number alone may have been given to another one too. */
export function isSealed(
  connection: Connection,
  { counter, time }: Pick<SealedTransaction, 'counter' | 'time'>,
): boolean {
  const data = connection
    .statement('SELECT data FROM _antiphon_sealed WHERE id <= ? ORDER BY id DESC LIMIT 1', 'value')
    .get(sealedId(counter, PARTS_PER_COUNTER - 1n)) as Uint8Array | undefined;
  const [batch] = data === undefined ? [] : decodeBatches(data);
  if (batch?.kind === 'part') return batch.firstCounter === counter && batch.time === time;
  return batch?.transactions.some((one) => one.counter === counter && one.time === time) === true;
}

/** In order, up to `maxBytes` but at least one. */
export function readSealed(
  connection: Connection,
  after: { readonly counter: number; readonly part: number },
  { maxBytes, upTo = Infinity }: { readonly maxBytes: number; readonly upTo?: number },
): SealedMessage[] {
  const select = connection.statement(
    `SELECT first_counter AS firstCounter, last_counter AS lastCounter, part, last, data FROM _antiphon_sealed
     WHERE id >= coalesce((SELECT max(id) FROM _antiphon_sealed WHERE id <= ?), 0)
       AND (last_counter > ? OR (last_counter = ? AND part > ?)) ORDER BY id`,
  );
  const messages: SealedMessage[] = [];
  let bytes = 0;
  const rows = select.iterate(
    sealedId(after.counter, BigInt(after.part)),
    after.counter,
    after.counter,
    after.part,
  ) as IterableIterator<SealedRow>;
  for (const row of rows) {
    if (row.lastCounter > upTo) break;
    bytes += row.data.length;
    if (messages.length > 0 && bytes > maxBytes) break;
    messages.push({ ...row, last: row.last !== 0 });
  }
  return messages;
}

/** One message at a time. */
export function* sealedBatches(connection: Connection, after: number): Generator<Batch> {
  for (let from = { counter: after, part: Number(PARTS_PER_COUNTER - 1n) }; ;) {
    const [message] = readSealed(connection, from, { maxBytes: 1 });
    if (message === undefined) return;
    from = { counter: message.lastCounter, part: message.part };
    yield* decodeBatches(message.data);
  }
}

export function countSealed({ db }: Connection): { readonly messages: number; readonly bytes: number } {
  return db
    .prepare('SELECT count(*) AS messages, coalesce(sum(bytes), 0) AS bytes FROM _antiphon_sealed')
    .get() as { messages: number; bytes: number };
}

/**
 * Forgets some messages up to `counter`, oldest first. Returns how many; 0 when there are none
 * left.
 */
export function pruneSealed(connection: Connection, state: ReplicaState, counter: number): number {
  const rows = connection
    .statement(
      'SELECT id, bytes FROM _antiphon_sealed WHERE id <= ? AND last_counter <= ? ORDER BY id LIMIT ?',
      'exact object',
    )
    .all(sealedId(counter, PARTS_PER_COUNTER - 1n), counter, PRUNE_MESSAGES) as {
    id: bigint;
    bytes: bigint;
  }[];
  const last = rows.at(-1);
  if (last === undefined) return 0;
  connection.statement('DELETE FROM _antiphon_sealed WHERE id <= ?').run(last.id);
  state.outboxMessages -= rows.length;
  for (const { bytes } of rows) state.outboxBytes -= Number(bytes);
  return rows.length;
}
