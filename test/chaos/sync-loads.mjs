// What the processes of the synchronous chaos tests write and read, step by step. One lane is one
// client: one thing at a time.
import { History } from '@antiphon/testing';

const ACCOUNTS = 10;
const COUNTERS = 3;
const REGISTERS = 4;
const pick = (limit) => Math.floor(Math.random() * limit);

/**
 * Runs a write and notes how it ended. What has an intent and no ending was under way when the
 * process was killed.
 */
async function noted({ replica, note, options }, row, run) {
  note({ intent: row });
  try {
    const { id, position, acks, degraded } = await replica.transaction(run, {
      acks: options.acks,
      timeoutMs: options.timeoutMs,
    });
    note({ acknowledged: row, id, seq: position.seq, degraded, ...acks });
  } catch (error) {
    if (error.code === 'OUTCOME_UNKNOWN') note({ unknown: row, outcomeId: error.id });
    else note({ rejected: row, code: error.code, message: error.message });
  }
}

/** A row of its own, and one that others write too. */
async function entries(lane, n) {
  const row = `${lane.name}-${n}`;
  await noted(lane, row, (tx) => {
    tx.run('INSERT INTO entries (id, payload) VALUES (?, ?)', [row, 'x'.repeat(100)]);
    tx.run(
      'INSERT INTO hot (k, writer) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET writer = excluded.writer',
      [pick(50), row],
    );
  });
}

/** Reads both, looks whether there is enough, writes both. */
async function transfers(lane, n) {
  const [from, to, amount] = [pick(ACCOUNTS), pick(ACCOUNTS), 1 + pick(20)];
  if (from === to) return;
  const row = `${lane.name}-${n}`;
  await noted(lane, row, (tx) => {
    tx.run('INSERT INTO done (id) VALUES (?)', [row]);
    const balance = (account) => tx.get('SELECT balance FROM accounts WHERE id = ?', [account]).balance;
    const [left, right] = [balance(from), balance(to)];
    if (left < amount) return;
    tx.run('UPDATE accounts SET balance = ? WHERE id = ?', [left - amount, from]);
    tx.run('UPDATE accounts SET balance = ? WHERE id = ?', [right + amount, to]);
  });
}

/** Read, modify, write. The row beside it says that this one was committed. */
async function increments(lane, n) {
  const row = `${lane.name}-${n}`;
  const counter = pick(COUNTERS);
  await noted(lane, row, (tx) => {
    const { value } = tx.get('SELECT value FROM counters WHERE id = ?', [counter]);
    tx.run('UPDATE counters SET value = ? WHERE id = ?', [value + 1, counter]);
    tx.run('INSERT INTO done (id, counter) VALUES (?, ?)', [row, counter]);
  });
}

async function snapshots({ replica, note }) {
  const rows = await replica.query('SELECT balance FROM accounts ORDER BY id');
  note({ snapshot: rows.map(({ balance }) => Number(balance)) });
}

/** One clock for all processes of this machine. */
const history = new History({ now: () => Number(process.hrtime.bigint()) / 1e6 });

/** Noted when it begins, as unknown, and again when it has ended. */
async function recorded({ note, name }, operation, run) {
  const handle = history.invoke(name, operation);
  note({ operation: history.record(handle) });
  let completion;
  try {
    completion = await run();
  } catch (error) {
    completion = { type: error.code === 'OUTCOME_UNKNOWN' ? 'unknown' : 'failed' };
  }
  note({ operation: history.complete(handle, completion) });
}

export function writeRegister(tx, { key, value }) {
  tx.run(
    `INSERT INTO registers (id, value, version) VALUES (?, ?, 1)
     ON CONFLICT (id) DO UPDATE SET value = excluded.value, version = version + 1`,
    [key, value],
  );
  return tx.get('SELECT version FROM registers WHERE id = ?', [key]).version;
}

async function registerWrites(lane, n) {
  const [key, value] = [`r${pick(REGISTERS)}`, `${lane.name}-${n}`];
  const { acks, timeoutMs } = lane.options;
  await recorded(lane, { kind: 'write', key, value }, async () => {
    const result = await lane.replica.transaction((tx) => writeRegister(tx, { key, value }), {
      acks,
      timeoutMs,
    });
    return { type: 'ok', version: result.value };
  });
}

async function strongReads(lane) {
  const key = `r${pick(REGISTERS)}`;
  await recorded(lane, { kind: 'read', key }, async () => {
    const [row] = await lane.replica.query('SELECT value, version FROM registers WHERE id = ?', [key], {
      consistency: 'strong',
      timeoutMs: lane.options.timeoutMs,
    });
    return row === undefined
      ? { type: 'ok', value: null }
      : { type: 'ok', value: row.value, version: Number(row.version) };
  });
}

/** A doctor leaves when another one stays on call. */
function leaveOnCall(tx, { doctor, doctors, locked }) {
  if (locked) for (const one of doctors) tx.lock('doctors', one);
  const { left } = tx.get('SELECT count(*) AS left FROM doctors WHERE on_call = 1 AND id <> ?', [doctor]);
  if (left === 0) return false;
  tx.run('UPDATE doctors SET on_call = 0 WHERE id = ?', [doctor]);
  return true;
}

/** One of two accounts may be overdrawn as long as both together are not. */
function withdraw(tx, { account, both, amount, locked }) {
  if (locked) for (const one of both) tx.lock('accounts', one);
  const { total } = tx.get('SELECT sum(balance) AS total FROM accounts WHERE id IN (?, ?)', both);
  if (total < amount) return false;
  tx.run('UPDATE accounts SET balance = balance - ? WHERE id = ?', [amount, account]);
  return true;
}

export const LOADS = { entries, transfers, increments, snapshots, registerWrites, strongReads };
const runs = new Map();

/**
 * Keeps the thread of its replica for so long, in the middle of the transaction. Returns how often
 * it has run.
 */
function keepThread(tx, { entry, forMs }) {
  runs.set(entry, (runs.get(entry) ?? 0) + 1);
  tx.run('INSERT INTO entries (id) VALUES (?)', [entry]);
  sleepOnThread(forMs);
  return runs.get(entry);
}

export function sleepOnThread(forMs) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, forMs);
}

export const TRANSACTIONS = { leaveOnCall, withdraw, writeRegister, keepThread };
