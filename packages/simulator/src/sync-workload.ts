import type { Operation, Random } from '@antiphon/testing';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { deleteRow, numberOf, putRow, replaceRow, valueIn } from './row-statements.js';
import {
  ACCOUNT_COUNT,
  BALANCES,
  COUNTER_COUNT,
  COUNTERS,
  DUTY,
  DUTY_PAIRS,
  REGISTER_COUNT,
  REGISTERS,
} from './sync-tables.js';
import type { OrphansOfSqlite } from './orphans.js';
import { chooseStatements } from './random-writes.js';
import type { Table } from './schema/index.js';
import { EVENTS, USERS } from './tables.js';

const USER_COUNT = 8;
const EMAILS = ['a', 'b', 'c', 'd'] as const;
const MOST_EVENTS = 40;
const RANDOM_SHARE = 0.35;

/** A synchronous write; all chance is taken beforehand, so that it can run again. */
export interface SyncWork {
  readonly run: (tx: SqliteTransaction) => number | undefined;
  /** What it does to registers and counters, for the check of linearizability. */
  readonly operations: readonly Operation[];
  /** What it adds to which counter. */
  readonly increment?: { readonly counter: bigint; readonly by: number };
  /** It changes nothing. */
  readonly reads?: true;
}

/**
 * What keeps a row as it is until the write is decided: a claim, an UPDATE that changes nothing, a
 * row that is found.
 */
const HOLDS = ['lock', 'touch', 'find'] as const;

const KINDS = [
  ...(['transfer', 'transfer', 'locked transfer', 'increment', 'increment', 'register', 'register'] as const),
  ...(['clear register', 'two registers', 'duty', 'duty', 'user', 'user', 'replace user'] as const),
  ...(['delete user', 'events', 'nothing'] as const),
] as const;

/** A row at least that it writes carries `token`; of the fixed tables, every one does. */
export function chooseSyncWork(
  random: Random,
  replica: string,
  token: string,
  number: number,
  tables: readonly Table[] = [],
  moves = false,
  orphans?: OrphansOfSqlite,
): SyncWork {
  if (tables.length > 0 && random.chance(RANDOM_SHARE))
    return plain(chooseStatements(random, tables, [replica, number, token], orphans));
  const account = random.int(0, ACCOUNT_COUNT - 1);
  const other = (account + random.int(1, ACCOUNT_COUNT - 1)) % ACCOUNT_COUNT;
  const third = random.int(0, ACCOUNT_COUNT - 1);
  const amount = random.int(1, 9);
  const register = random.int(0, REGISTER_COUNT - 1);
  const hold = moves ? random.pick(HOLDS) : 'lock';
  const user = BigInt(random.int(0, USER_COUNT - 1));
  const email = `${random.pick(EMAILS)}@example.com`;
  const note = (tx: SqliteTransaction): void => putRow(tx, EVENTS, [replica, BigInt(number), token]);
  switch (random.pick(KINDS)) {
    case 'transfer':
      return plain((tx) => transfer(tx, account, other, amount, token));
    case 'locked transfer':
      return plain((tx) => {
        tx.lock('accounts', [BigInt(third)]);
        transfer(tx, account, other, amount, token);
      });
    case 'increment':
      return increment(BigInt(random.int(0, COUNTER_COUNT - 1)), amount, token);
    case 'register':
      return writeRegisters([register], token);
    case 'two registers':
      return writeRegisters([register, (register + 1) % REGISTER_COUNT], token);
    case 'clear register':
      return {
        run: (tx) => {
          // A delete that finds no row claims none: without the lock it would be a write of what
          // its replica knew.
          tx.lock('registers', [BigInt(register)]);
          deleteRow(tx, REGISTERS, [BigInt(register)]);
          note(tx);
          return undefined;
        },
        operations: [{ kind: 'write', key: registerKey(register), value: null }],
      };
    case 'duty':
      return plain((tx) => changeDuty(tx, [BigInt(account % DUTY_PAIRS), BigInt(third & 1)], token, hold));
    case 'user':
      return plain((tx) => putRow(tx, USERS, [user, email, token]));
    case 'replace user':
      return plain((tx) => replaceRow(tx, USERS, [user, email, token]));
    case 'delete user':
      return plain((tx) => {
        deleteRow(tx, USERS, [user]);
        note(tx);
      });
    case 'events':
      return plain(manyEvents(replica, token, number, random.int(1, MOST_EVENTS)));
    case 'nothing':
      return { run: (tx) => tx.all('SELECT id FROM accounts').length, operations: [], reads: true };
  }
}

export function registerKey(register: number): string {
  return `register ${register}`;
}

export function counterKey(counter: bigint): string {
  return `counter ${counter}`;
}

export function writeRegisters(registers: readonly number[], token: string): SyncWork {
  return {
    run: (tx) => {
      for (const register of registers) putRow(tx, REGISTERS, [BigInt(register), token]);
      return undefined;
    },
    operations: registers.map((register) => ({ kind: 'write', key: registerKey(register), value: token })),
  };
}

function plain(work: (tx: SqliteTransaction) => void): SyncWork {
  return {
    run: (tx) => {
      work(tx);
      return undefined;
    },
    operations: [],
  };
}

function increment(counter: bigint, by: number, token: string): SyncWork {
  return {
    run: (tx) => {
      const value = numberOf(valueIn(tx, COUNTERS, [counter], 'value')) + by;
      putRow(tx, COUNTERS, [counter, BigInt(value), token]);
      return value;
    },
    operations: [{ kind: 'increment', key: counterKey(counter), by }],
    increment: { counter, by },
  };
}

function transfer(tx: SqliteTransaction, from: number, to: number, amount: number, token: string): void {
  const change = (id: number, by: number): void => {
    const before = numberOf(valueIn(tx, BALANCES, [BigInt(id)], 'amount'));
    putRow(tx, BALANCES, [BigInt(id), BigInt(before + by), token]);
  };
  change(from, -amount);
  change(to, amount);
}

/**
 * Signs off only while the other one is on, which it locks: without the lock both could (write
 * skew).
 */
function changeDuty(
  tx: SqliteTransaction,
  [pair, half]: readonly [bigint, bigint],
  token: string,
  hold: (typeof HOLDS)[number],
): void {
  const other = 1n - half;
  if (hold === 'lock') tx.lock('duty', [pair, other]);
  if (hold === 'touch') tx.run('UPDATE duty SET half = half WHERE pair = ? AND half = ?', [pair, other]);
  if (hold === 'find') tx.run('INSERT OR IGNORE INTO duty VALUES (?, ?, 1, ?)', [pair, other, token]);
  const isOn = (which: bigint): boolean => numberOf(valueIn(tx, DUTY, [pair, which], 'on')) === 1;
  putRow(tx, DUTY, [pair, half, isOn(half) && isOn(other) ? 0n : 1n, token]);
}

/** Long enough that a group of several must leave some for the next one. */
function manyEvents(replica: string, token: string, number: number, rows: number) {
  return (tx: SqliteTransaction): void => {
    for (let i = 0; i < rows; i++) putRow(tx, EVENTS, [replica, BigInt(number * 1000 + i), token]);
  };
}
