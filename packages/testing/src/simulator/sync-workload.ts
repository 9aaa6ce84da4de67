import type { Random } from '../clock/random.js';
import type { Operation } from '../history/operation.js';
import type { MemoryTransaction } from '../memory/store/index.js';
import { ACCOUNTS, COUNTERS, DUTY_PAIRS, REGISTERS } from './sync-tables.js';

const USERS = 8;
const EMAILS = ['a', 'b', 'c', 'd'] as const;
const MOST_EVENTS = 40;

/** A synchronous write; all chance is taken beforehand, so that it can run again. */
export interface SyncWork {
  readonly run: (tx: MemoryTransaction) => number | undefined;
  /** What it does to registers and counters, for the check of linearizability. */
  readonly operations: readonly Operation[];
  /** What it adds to which counter. */
  readonly increment?: { readonly counter: bigint; readonly by: number };
  /** It changes nothing. */
  readonly reads?: true;
}

const KINDS = [
  ...(['transfer', 'transfer', 'locked transfer', 'increment', 'increment', 'register', 'register'] as const),
  ...(['clear register', 'two registers', 'duty', 'duty', 'user', 'user', 'replace user'] as const),
  ...(['delete user', 'events', 'nothing'] as const),
] as const;

/** Every row that it writes carries `token`, and there is one at least. */
export function chooseSyncWork(random: Random, replica: string, token: string, number: number): SyncWork {
  const account = random.int(0, ACCOUNTS - 1);
  const other = (account + random.int(1, ACCOUNTS - 1)) % ACCOUNTS;
  const third = random.int(0, ACCOUNTS - 1);
  const amount = random.int(1, 9);
  const register = random.int(0, REGISTERS - 1);
  const user = BigInt(random.int(0, USERS - 1));
  const email = `${random.pick(EMAILS)}@example.com`;
  const note = (tx: MemoryTransaction): void => tx.put('events', [replica, BigInt(number), token]);
  switch (random.pick(KINDS)) {
    case 'transfer':
      return plain((tx) => transfer(tx, account, other, amount, token));
    case 'locked transfer':
      return plain((tx) => {
        tx.lock('accounts', [BigInt(third)]);
        transfer(tx, account, other, amount, token);
      });
    case 'increment':
      return increment(BigInt(random.int(0, COUNTERS - 1)), amount, token);
    case 'register':
      return writeRegisters([register], token);
    case 'two registers':
      return writeRegisters([register, (register + 1) % REGISTERS], token);
    case 'clear register':
      return {
        run: (tx) => {
          // A delete that finds no row claims none: without the lock it would be a write of what its replica knew.
          tx.lock('registers', [BigInt(register)]);
          tx.delete('registers', [BigInt(register)]);
          note(tx);
          return undefined;
        },
        operations: [{ kind: 'write', key: registerKey(register), value: null }],
      };
    case 'duty':
      return plain((tx) => changeDuty(tx, BigInt(account % DUTY_PAIRS), BigInt(third & 1), token));
    case 'user':
      return plain((tx) => tx.put('users', [user, email, token]));
    case 'replace user':
      return plain((tx) => tx.replace('users', [user, email, token]));
    case 'delete user':
      return plain((tx) => {
        tx.delete('users', [user]);
        note(tx);
      });
    case 'events':
      return plain(manyEvents(replica, token, number, random.int(1, MOST_EVENTS)));
    case 'nothing':
      return { run: (tx) => tx.all('accounts').length, operations: [], reads: true };
  }
}

export function registerKey(register: number): string {
  return `register ${register}`;
}

export function counterKey(counter: bigint): string {
  return `counter ${counter}`;
}

export function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

export function writeRegisters(registers: readonly number[], token: string): SyncWork {
  return {
    run: (tx) => {
      for (const register of registers) tx.put('registers', [BigInt(register), token]);
      return undefined;
    },
    operations: registers.map((register) => ({ kind: 'write', key: registerKey(register), value: token })),
  };
}

function plain(work: (tx: MemoryTransaction) => void): SyncWork {
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
      const value = numberOf(tx.get('counters', [counter])?.[1]) + by;
      tx.put('counters', [counter, value, token]);
      return value;
    },
    operations: [{ kind: 'increment', key: counterKey(counter), by }],
    increment: { counter, by },
  };
}

function transfer(tx: MemoryTransaction, from: number, to: number, amount: number, token: string): void {
  const change = (id: number, by: number): void =>
    tx.put('accounts', [BigInt(id), numberOf(tx.get('accounts', [BigInt(id)])?.[1]) + by, token]);
  change(from, -amount);
  change(to, amount);
}

/** Signs off only while the other one is on, which it locks: without the lock both could (write skew). */
function changeDuty(tx: MemoryTransaction, pair: bigint, half: bigint, token: string): void {
  const other = 1n - half;
  tx.lock('duty', [pair, other]);
  const isOn = (which: bigint): boolean => tx.get('duty', [pair, which])?.[2] === true;
  tx.put('duty', [pair, half, !(isOn(half) && isOn(other)), token]);
}

/** Long enough that a group of several must leave some for the next one. */
function manyEvents(replica: string, token: string, number: number, rows: number) {
  return (tx: MemoryTransaction): void => {
    for (let i = 0; i < rows; i++) tx.put('events', [replica, BigInt(number * 1000 + i), token]);
  };
}
