import type { SqliteTransaction } from '@antiphon/sqlite';
import type { Random } from '@antiphon/testing';
import { deleteRow, numberOf, putRow, replaceRow, valueIn } from './row-statements.js';
import { ACCOUNTS, EVENTS, USERS } from './tables.js';

const ACCOUNT_COUNT = 12;
const USER_COUNT = 8;
const EMAILS = ['a', 'b', 'c', 'd'] as const;
const BIG_ROWS = { fewest: 20, most: 60 };
const FILLER = 'x'.repeat(60);

export type Write = (tx: SqliteTransaction) => void;

/**
 * One random transaction; every row that it writes carries `token`. All chance is taken here, so
 * that it can run again.
 */
export function chooseWrite(
  random: Random,
  replica: string,
  token: string,
  number: number,
  moves = false,
): Write {
  if (random.chance(0.06)) return bigWrite(random, replica, token, number);
  const steps = Array.from({ length: random.int(1, 4) }, () =>
    chooseStep(random, replica, token, number, moves),
  );
  return (tx) => {
    for (const step of steps) step(tx);
  };
}

const STEPS = [
  ...(['transfer', 'transfer', 'delete', 'event', 'user', 'user', 'replace', 'delete user'] as const),
] as const;
const MOVES = ['move user', 'move user', 'swap emails', 'swap emails'] as const;

function chooseStep(random: Random, replica: string, token: string, number: number, moves: boolean): Write {
  const account = BigInt(random.int(0, ACCOUNT_COUNT - 1));
  const user = BigInt(random.int(0, USER_COUNT - 1));
  const email = `${random.pick(EMAILS)}@example.com`;
  const amount = random.int(1, 20);
  const kind = random.pick(moves ? [...STEPS, ...MOVES] : STEPS);
  const other = (user + 1n + (account % BigInt(USER_COUNT - 1))) % BigInt(USER_COUNT);
  switch (kind) {
    case 'move user':
      return (tx) => moveUser(tx, user, other, token, amount % 2 === 0);
    case 'swap emails':
      return (tx) => swapEmails(tx, user, other, token);
    case 'transfer':
      // Reads what it changes: it depends on whoever wrote that.
      return (tx) => {
        const before = numberOf(valueIn(tx, ACCOUNTS, [account], 'amount'));
        putRow(tx, ACCOUNTS, [account, token, BigInt(before + amount)]);
      };
    case 'delete':
      return (tx) => deleteRow(tx, ACCOUNTS, [account]);
    case 'event':
      return (tx) => putRow(tx, EVENTS, [replica, BigInt(number), token]);
    case 'user':
      return (tx) => putRow(tx, USERS, [user, email, token]);
    case 'replace':
      return (tx) => replaceRow(tx, USERS, [user, email, token]);
    case 'delete user':
      return (tx) => deleteRow(tx, USERS, [user]);
  }
}

/** Its key is changed; the row that has the new one is in the way, or goes. */
function moveUser(tx: SqliteTransaction, from: bigint, to: bigint, token: string, replaces: boolean): void {
  tx.run(`UPDATE${replaces ? ' OR REPLACE' : ''} users SET id = ?, token = ? WHERE id = ?`, [
    to,
    token,
    from,
  ]);
}

function swapEmails(tx: SqliteTransaction, one: bigint, two: bigint, token: string): void {
  const emails = [one, two].map((id) => valueIn(tx, USERS, [id], 'email'));
  if (emails.includes(undefined)) return;
  tx.run('UPDATE users SET email = NULL, token = ? WHERE id = ?', [token, one]);
  for (const [id, email] of [[two, emails[0]] as const, [one, emails[1]] as const])
    tx.run('UPDATE users SET email = ?, token = ? WHERE id = ?', [String(email), token, id]);
}

/** Long enough to be cut into parts. */
function bigWrite(random: Random, replica: string, token: string, number: number): Write {
  const rows = random.int(BIG_ROWS.fewest, BIG_ROWS.most);
  return (tx) => {
    for (let i = 0; i < rows; i++)
      putRow(tx, EVENTS, [replica, BigInt(number * 1000 + i), `${token} ${FILLER}`]);
  };
}
