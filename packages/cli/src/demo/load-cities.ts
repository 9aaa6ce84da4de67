import type { ReplicaRef } from '@antiphon/client';
import { cities, CITY_COLUMNS, type City } from './cities.js';

const ROWS_PER_TRANSACTION = 1000;
const ROWS_PER_STATEMENT = 100;
/**
 * Transactions on their way at once: the replica has always work, and never much of it waiting.
 * Synchronous ones may all become one message of the log: these are about 400 KB, of at most 1 MiB.
 */
const IN_FLIGHT = 4;
const TIMEOUT_MS = 60_000;

const ROW = `(${CITY_COLUMNS.map(() => '?').join(', ')})`;

/** Inserts the first `rows` cities by plain SQL through one replica, in transactions of 1000. */
export async function loadCities(replica: ReplicaRef, rows: number, signal: AbortSignal): Promise<void> {
  const batches = inBatches(cities(), rows);
  const insert = async (): Promise<void> => {
    for (let next = batches.next(); next.done !== true; next = batches.next()) {
      signal.throwIfAborted();
      const statements = statementsFor(next.value);
      await replica.ask('execute', { statements, timeoutMs: TIMEOUT_MS }, { timeoutMs: TIMEOUT_MS, signal });
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, insert));
}

function* inBatches(source: Generator<City>, rows: number): Generator<readonly City[]> {
  let batch: City[] = [];
  let left = rows;
  for (const city of source) {
    if (left === 0) break;
    left -= 1;
    batch.push(city);
    if (batch.length < ROWS_PER_TRANSACTION) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

function statementsFor(
  batch: readonly City[],
): { sql: string; params: (number | bigint | string | null)[] }[] {
  const statements = [];
  for (let from = 0; from < batch.length; from += ROWS_PER_STATEMENT) {
    const rows = batch.slice(from, from + ROWS_PER_STATEMENT);
    const sql = `INSERT INTO cities (${CITY_COLUMNS.join(', ')}) VALUES ${rows.map(() => ROW).join(', ')}`;
    statements.push({ sql, params: rows.flat() });
  }
  return statements;
}
