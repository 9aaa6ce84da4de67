import type { Random } from '../clock/random.js';
import type { MemoryTransaction } from '../memory/store/index.js';

const ACCOUNTS = 12;
const USERS = 8;
const EMAILS = ['a', 'b', 'c', 'd'] as const;
const BIG_ROWS = { fewest: 20, most: 60 };
const FILLER = 'x'.repeat(60);

export type Write = (tx: MemoryTransaction) => void;

/** One random transaction; every row that it writes carries `token`. All chance is taken here, so that it can run again. */
export function chooseWrite(random: Random, replica: string, token: string, number: number): Write {
  if (random.chance(0.06)) return bigWrite(random, replica, token, number);
  const steps = Array.from({ length: random.int(1, 4) }, () => chooseStep(random, replica, token, number));
  return (tx) => {
    for (const step of steps) step(tx);
  };
}

function chooseStep(random: Random, replica: string, token: string, number: number): Write {
  const account = BigInt(random.int(0, ACCOUNTS - 1));
  const user = BigInt(random.int(0, USERS - 1));
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
      return (tx) =>
        tx.put('accounts', [account, token, asNumber(tx.get('accounts', [account])?.[2]) + amount]);
    case 'delete':
      return (tx) => void tx.delete('accounts', [account]);
    case 'event':
      return (tx) => tx.put('events', [replica, BigInt(number), token]);
    case 'user':
      return (tx) => tx.put('users', [user, email, token]);
    case 'replace':
      return (tx) => tx.replace('users', [user, email, token]);
    case 'delete user':
      return (tx) => void tx.delete('users', [user]);
  }
}

/** Long enough to be cut into parts. */
function bigWrite(random: Random, replica: string, token: string, number: number): Write {
  const rows = random.int(BIG_ROWS.fewest, BIG_ROWS.most);
  return (tx) => {
    for (let i = 0; i < rows; i++)
      tx.put('events', [replica, BigInt(number * 1000 + i), `${token} ${FILLER}`]);
  };
}

function asNumber(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
