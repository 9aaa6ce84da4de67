import type { DatabaseTransaction } from './database-transaction.js';
import { sequenceKey, SEQUENCES } from './spaces.js';

/** A number that this database never gives again for the same purpose. */
export function nextNumber(transaction: DatabaseTransaction, purpose: string): number {
  const number = (transaction.get(SEQUENCES, purpose) ?? 0) + 1;
  transaction.put(SEQUENCES, purpose, number);
  return number;
}

export function nextKey(transaction: DatabaseTransaction, purpose: string): string {
  return sequenceKey(nextNumber(transaction, purpose));
}
