/**
 * Identity of a transaction: the replica that committed it first, and its number there, from 1,
 * without holes (I2).
 */
export interface TransactionId {
  readonly origin: string;
  readonly counter: number;
}

export function formatTransactionId(id: TransactionId): string {
  return `${id.origin}:${id.counter}`;
}
