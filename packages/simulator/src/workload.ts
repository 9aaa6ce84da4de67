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
 * One random transaction; every row that it writes carries `token`. All chance is taken here, so that it can
 * run again.
 */
export function chooseWrite(random: Random, replica: string, token: string, number: number): Write {
  if (random.chance(0.06)) return bigWrite(random, replica, token, number);
  const steps = Array.from({ length: random.int(1, 4) }, () => chooseStep(random, replica, token, number));
  return (tx) => {
    for (const step of steps) step(tx);
  };
}

function chooseStep(random: Random, replica: string, token: string, number: number): Write {
  const account = BigInt(random.int(0, ACCOUNT_COUNT - 1));
  const user = BigInt(random.int(0, USER_COUNT - 1));
  const email = `${random.pick(EMAILS)}@example.com`;
  const amount = random.int(1, 20);
  const kind = random.pick([
    'transfer',
    'transfer',
    'delete',
    'event',
    'user',
    'user',
    'replace',
    'delete user',
  ] as const);
  switch (kind) {
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

/** Long enough to be cut into parts. */
function bigWrite(random: Random, replica: string, token: string, number: number): Write {
  const rows = random.int(BIG_ROWS.fewest, BIG_ROWS.most);
  return (tx) => {
    for (let i = 0; i < rows; i++)
      putRow(tx, EVENTS, [replica, BigInt(number * 1000 + i), `${token} ${FILLER}`]);
  };
}
