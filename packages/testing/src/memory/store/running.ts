import { toAntiphonError, type AntiphonError, type WriteRequest } from '@antiphon/core';
import type { MemoryDatabase } from './database.js';
import type { DatabaseTransaction } from './database-transaction.js';
import type { LockedRow, MemoryTransaction } from './user-transaction.js';

/** A write of the library, after its function has run. */
export type Ran =
  | {
      readonly type: 'ran';
      readonly writer: number;
      readonly value: unknown;
      readonly locks: readonly LockedRow[];
    }
  | { readonly type: 'rejected'; readonly error: AntiphonError };

/** Nothing of a write that throws stays in the transaction. */
export function runWrite(
  database: MemoryDatabase,
  transaction: DatabaseTransaction,
  request: WriteRequest<MemoryTransaction>,
): Ran {
  const savepoint = transaction.savepoint();
  try {
    const user = database.userTransaction(transaction, 'library');
    return { type: 'ran', value: request.run(user), writer: user.writer, locks: user.locks };
  } catch (error) {
    transaction.rollbackTo(savepoint);
    return { type: 'rejected', error: toAntiphonError(error, 'BAD_SQL') };
  }
}
