import {
  AntiphonError,
  type Batch,
  type Change,
  type ClusterDocument,
  decodeBatches,
  type DictionaryTable,
  encodeBatch,
  formatTransactionId,
  type RescueChange,
  rescueChangeOf,
  type RescueWrite,
} from '@antiphon/core';
import { answerBytes, cutToFit, fitting } from '../repair/shown-row.js';
import type { Scope } from '../state/scope.js';
import type { Writer } from '../write/writer.js';
import type { ShownRescueConflict } from './rescue-values.js';

/** Changes of a rescued transaction, on their way to the primary. */
export interface RescuedWrite {
  /** As `encodeRescued` makes them. */
  readonly data: Uint8Array;
  /** Whatever the rows are now. */
  readonly force: boolean;
}

/** What the primary made of them. */
export interface RescuedWritten extends Omit<RescueWrite, 'conflicts'> {
  readonly conflicts: readonly ShownRescueConflict[];
  /** The primary that did it. */
  readonly primary: string;
  /** The transaction that it is now; absent when nothing was written. */
  readonly transaction?: string;
}

/** More does not go to the primary at once: with what is around it, it fits into a message. */
const MAX_BYTES = 512 * 1024;

/** In the primary's own process, as one ordinary transaction. Throws what `transaction` throws. */
export async function writeRescued(
  scope: Scope,
  writer: Writer<unknown>,
  { data, force }: RescuedWrite,
): Promise<RescuedWritten> {
  const { store, id: primary } = scope;
  const changes = decodeRescued(data);
  const { value, id } = await writer.transaction(() => store.writeRescued(changes, { force }));
  const bytes = answerBytes(scope);
  const cut = value.conflicts.map((conflict): ShownRescueConflict => cutToFit(conflict, bytes));
  const conflicts = fitting(cut, bytes);
  return { ...value, conflicts, primary, ...(id && { transaction: formatTransactionId(id) }) };
}

/** In the format of the log, which is checked. Throws MESSAGE_TOO_LARGE, UNKNOWN_TABLE. */
export function encodeRescued(
  changes: readonly RescueChange[],
  { document, log }: Pick<Scope, 'document' | 'log'>,
  time: number,
): Uint8Array {
  const tables: DictionaryTable[] = [];
  const indexes = new Map<string, number>();
  const encoded = changes.map((change): Change => {
    const known = indexes.get(change.table);
    const index = known ?? tables.push(dictionaryOf(change, document)) - 1;
    indexes.set(change.table, index);
    return asChange(change, index, tables[index]?.key ?? []);
  });
  const data = encodeBatch({
    ...{ kind: 'transactions', origin: 'rescue', firstCounter: 1, epoch: 0, time, context: {} },
    ...{ schemaVersion: 1, tables, transactions: [{ counter: 1, time, changes: encoded }] },
  });
  assertFits(data.length, { log });
  return data;
}

function dictionaryOf({ table: name, columns }: RescueChange, document: ClusterDocument): DictionaryTable {
  const table = document.schema.tables.find((one) => one.name === name);
  const key = table?.key.map((column) => columns.indexOf(table.columns[column]?.name ?? ''));
  if (key === undefined || key.includes(-1))
    throw new AntiphonError(
      'UNKNOWN_TABLE',
      `This cluster does not replicate table ${name} as it was then.`,
      {
        context: { table: name },
      },
    );
  return { name, columns, key };
}

/** Throws MESSAGE_TOO_LARGE when so many bytes of values certainly do not go to the primary. */
export function assertFits(bytes: number, { log }: Pick<Scope, 'log'>): void {
  const most = Math.min(MAX_BYTES, log.maxMessageBytes);
  if (bytes <= most) return;
  throw new AntiphonError(
    'MESSAGE_TOO_LARGE',
    `This transaction has more than ${Math.floor(most / 1024)} KiB of changes, too many to be sent to the primary at once. ` +
      'Write it there from what `antiphon rescue export ID --sql` gives, then dismiss it here.',
  );
}

function asChange(
  { op, before = [], after = [] }: RescueChange,
  table: number,
  key: readonly number[],
): Change {
  if (op === 'insert') return { op, table, row: after };
  if (op === 'delete') return { op, table, row: before };
  const changed = [...before.keys()].filter((column) => !key.includes(column));
  return { op, table, row: after, changed, before: changed.map((column) => before[column] ?? null) };
}

/** Throws MALFORMED_MESSAGE, and what else a message of the log may be refused with. */
function decodeRescued(data: Uint8Array): readonly RescueChange[] {
  return decodeBatches(data).flatMap((batch) => changesOf(batch));
}

function changesOf(batch: Batch): readonly RescueChange[] {
  if (batch.kind !== 'transactions') return [];
  return batch.transactions.flatMap(({ changes }) =>
    changes.map((change) => rescueChangeOf(change, batch.tables)),
  );
}
