import { AntiphonError, type SealedMessage } from '@antiphon/core';
import type { DatabaseTransaction, Reading } from './database-transaction.js';
import { OUTBOX } from './spaces.js';

export interface OutboxPlace {
  readonly counter: number;
  readonly part: number;
}

/** Messages after a place, in order: at most `maxBytes`, at least one if there is any. */
export function sealedAfter(
  reading: Reading,
  after: OutboxPlace,
  maxBytes: number,
): readonly SealedMessage[] {
  const taken: SealedMessage[] = [];
  let bytes = 0;
  for (const [, message] of inOrder(reading)) {
    if (!isAfter(message, after)) continue;
    bytes += message.data.length;
    if (taken.length > 0 && bytes > maxBytes) break;
    taken.push({ ...message, data: message.data.slice() });
  }
  return taken;
}

export function forgetUpTo(
  transaction: DatabaseTransaction,
  counter: number,
  publishedCounter: number,
): void {
  if (counter > publishedCounter) {
    throw new AntiphonError(
      'BAD_OPTION',
      `transactions after ${publishedCounter} are not published; prune(${counter}) would lose them`,
    );
  }
  for (const [key, message] of inOrder(transaction)) {
    if (message.lastCounter <= counter) transaction.delete(OUTBOX, key);
  }
}

export function outboxSize(reading: Reading): {
  readonly outboxMessages: number;
  readonly outboxBytes: number;
} {
  const messages = [...reading.entries(OUTBOX)];
  return {
    outboxMessages: messages.length,
    outboxBytes: messages.reduce((bytes, [, { data }]) => bytes + data.length, 0),
  };
}

function isAfter(message: SealedMessage, after: OutboxPlace): boolean {
  if (message.lastCounter !== after.counter) return message.lastCounter > after.counter;
  return message.part > after.part;
}

function inOrder(reading: Reading): readonly (readonly [string, SealedMessage])[] {
  return [...reading.entries(OUTBOX)].sort(([a], [b]) => (a < b ? -1 : 1));
}
