import {
  decodeBatches,
  encodeBatch,
  type ApplyStep,
  type Change,
  type DictionaryTable,
  type TransactionBatch,
} from '@antiphon/core';
import { CONFORMANCE_TABLES } from '../store-harness.js';

export interface ForgedTransaction {
  readonly origin: string;
  readonly counter: number;
  readonly time?: number;
  readonly changes: readonly ForgedChange[];
}

export type ForgedChange = {
  readonly op: 'insert' | 'delete';
  readonly table: string;
  readonly row: readonly (null | bigint | number | string | Uint8Array)[];
};

/** A long time ago, so that local writes are later. */
const LONG_AGO_US = Date.UTC(2020, 0, 1) * 1000;

/** One transaction of a made-up origin, as it would come from the log. */
export function forgedBatch({ origin, counter, time, changes }: ForgedTransaction): TransactionBatch {
  const names = [...new Set(changes.map(({ table }) => table))];
  const tables = names.map(dictionaryTable);
  const batchTime = time ?? LONG_AGO_US + counter;
  const transaction = {
    counter,
    time: batchTime,
    changes: changes.map(({ op, table, row }): Change => ({ op, table: names.indexOf(table), row })),
  };
  const batch: TransactionBatch = {
    kind: 'transactions',
    origin,
    firstCounter: counter,
    epoch: 0,
    time: batchTime,
    context: {},
    schemaVersion: 1,
    tables,
    transactions: [transaction],
  };
  const [decoded] = decodeBatches(encodeBatch(batch));
  if (decoded?.kind !== 'transactions') throw new Error('a batch came back as something else');
  return decoded;
}

export function forgedStep(transaction: ForgedTransaction, seq: number): ApplyStep {
  return { type: 'transactions', batch: forgedBatch(transaction), skip: 0, seq };
}

function dictionaryTable(name: string): DictionaryTable {
  const table = CONFORMANCE_TABLES.find((candidate) => candidate.name === name);
  if (table === undefined) return { name, columns: ['id'], key: [0] };
  const columns = table.columns.map((column) => (typeof column === 'string' ? column : column.name));
  return { name, columns, key: table.key.map((column) => columns.indexOf(column)) };
}
