/** Accounts on several primaries at once. */
import { ConflictError, newId, type Replica } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';

/** Each customer has two accounts. One may be overdrawn as long as both together are not. */
export const SCHEMA = `
  CREATE TABLE accounts (
    id TEXT PRIMARY KEY, customer TEXT NOT NULL, balance INTEGER NOT NULL
  );
  CREATE TABLE transfers (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, target TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount > 0)
  );
`;

export interface Transfer {
  readonly source: string;
  readonly target: string;
  readonly amount: number;
}

/** The rule forbids the transfer; nothing was written. */
export class NotCovered extends Error {}

interface Account {
  readonly id: string;
  readonly balance: number;
}

/**
 * Moves money, on whichever primary. Resolves to the transfer's id.
 * @throws NotCovered; ConflictError when others were first each time; what `transaction` throws
 */
export async function transfer(
  replica: Replica<SqliteTransaction>,
  { source, target, amount }: Transfer,
): Promise<string> {
  const id = newId();
  await replica.transaction((tx) => {
    const accounts = tx.all<Account>(
      'SELECT id, balance FROM accounts WHERE customer = (SELECT customer FROM accounts WHERE id = ?)',
      [source],
    );
    // The rule relies on accounts that this transaction does not write. Where another primary
    // changes one of them meanwhile, the log rejects this one, and it runs again on what is there.
    for (const account of accounts) tx.lock('accounts', account.id);
    const together = accounts.reduce((sum, { balance }) => sum + balance, 0);
    if (together < amount) throw new NotCovered(`${source} is not covered for ${amount}.`);
    tx.run('UPDATE accounts SET balance = balance - ? WHERE id = ?', [amount, source]);
    tx.run('UPDATE accounts SET balance = balance + ? WHERE id = ?', [amount, target]);
    tx.run('INSERT INTO transfers VALUES (?, ?, ?, ?)', [id, source, target, amount]);
  });
  return id;
}

/** What a teller does about an error: go on with the next customer, or end. */
export function isRefusal(error: unknown): boolean {
  return error instanceof NotCovered || error instanceof ConflictError;
}
