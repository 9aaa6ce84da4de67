import {
  ChangeEncoder,
  encodeBatch,
  encodePart,
  type BatchHeader,
  type Change,
  type ClusterSchema,
  type DictionaryTable,
  type SealedMessage,
  type VectorClock,
} from '@antiphon/core';
import { changedColumns, type CapturedChange } from './capture.js';
import { valueAt } from './key-order.js';

export interface CutLimits {
  /** A message of whole transactions is closed when it has this many bytes of changes. */
  readonly batchBytes: number;
  /** A transaction with more bytes of changes is cut into parts of this size. */
  readonly partBytes: number;
}

export const DEFAULT_CUT_LIMITS: CutLimits = { batchBytes: 184_320, partBytes: 262_144 };

export interface TransactionDraft {
  readonly counter: number;
  readonly time: number;
  readonly captured: readonly CapturedChange[];
}

export interface MessageHead {
  readonly origin: string;
  readonly epoch: number;
  readonly schema: ClusterSchema;
  /** What the origin had applied before the transaction with this counter. */
  readonly contextBefore: (counter: number) => VectorClock;
}

/** Log messages for transactions whose counters follow each other. */
export function cutIntoMessages(
  drafts: readonly TransactionDraft[],
  head: MessageHead,
  limits: CutLimits,
): readonly SealedMessage[] {
  const messages: SealedMessage[] = [];
  let waiting: TransactionDraft[] = [];
  let waitingBytes = 0;
  const flush = (): void => {
    if (waiting.length > 0) messages.push(wholeMessage(waiting, head));
    waiting = [];
    waitingBytes = 0;
  };
  for (const draft of drafts) {
    const tables = dictionaryOf([draft], head.schema);
    const encoder = encodeChanges(draft, tables);
    if (encoder.byteLength > limits.partBytes) {
      flush();
      messages.push(...partMessages(draft, headerOf(draft, tables, head), encoder, limits.partBytes));
      continue;
    }
    if (waitingBytes > 0 && waitingBytes + encoder.byteLength > limits.batchBytes) flush();
    waiting.push(draft);
    waitingBytes += encoder.byteLength;
  }
  flush();
  return messages;
}

function wholeMessage(drafts: readonly TransactionDraft[], head: MessageHead): SealedMessage {
  const [first] = drafts;
  const last = drafts.at(-1);
  if (first === undefined || last === undefined) throw new RangeError('a message needs a transaction');
  const tables = dictionaryOf(drafts, head.schema);
  const transactions = drafts.map(({ counter, time, captured }) => ({
    counter,
    time,
    changes: captured.map((change) => toChange(change, tables)),
  }));
  const data = encodeBatch({ kind: 'transactions', ...headerOf(first, tables, head), transactions });
  return { firstCounter: first.counter, lastCounter: last.counter, part: 0, last: true, data };
}

function partMessages(
  draft: TransactionDraft,
  header: BatchHeader,
  encoder: ChangeEncoder,
  partBytes: number,
): readonly SealedMessage[] {
  const messages: SealedMessage[] = [];
  for (let part = 0, offset = 0; encoder.byteLength > 0; part++) {
    const body = encoder.take(partBytes);
    const last = encoder.byteLength === 0;
    const data = encodePart(header, offset, last, body);
    offset += body.length;
    messages.push({ firstCounter: draft.counter, lastCounter: draft.counter, part, last, data });
  }
  return messages;
}

export function headerOf(
  draft: TransactionDraft,
  tables: readonly DictionaryTable[],
  head: MessageHead,
): BatchHeader {
  return {
    origin: head.origin,
    firstCounter: draft.counter,
    epoch: head.epoch,
    time: draft.time,
    context: head.contextBefore(draft.counter),
    schemaVersion: head.schema.version,
    tables,
  };
}

export function dictionaryOf(
  drafts: readonly TransactionDraft[],
  schema: ClusterSchema,
): readonly DictionaryTable[] {
  const used = new Set(drafts.flatMap(({ captured }) => captured.map(({ table }) => table)));
  const tables = schema.tables.filter(({ name }) => used.has(name));
  return tables.map(({ name, columns, key }) => ({
    name,
    columns: columns.map((column) => column.name),
    key,
  }));
}

function encodeChanges(draft: TransactionDraft, tables: readonly DictionaryTable[]): ChangeEncoder {
  const encoder = new ChangeEncoder();
  writeChanges(encoder, draft, tables);
  return encoder;
}

/** `tables` holds all that were changed. */
export function writeChanges(
  encoder: Pick<ChangeEncoder, 'insert' | 'update' | 'delete'>,
  draft: TransactionDraft,
  tables: readonly DictionaryTable[],
): void {
  for (const captured of draft.captured) {
    const change = toChange(captured, tables);
    if (change.op === 'insert') encoder.insert(change.table, change.row);
    else if (change.op === 'delete') encoder.delete(change.table, change.row);
    else encoder.update(change.table, change.row, change.changed, change.before);
  }
}

function toChange({ op, table: name, row, old }: CapturedChange, tables: readonly DictionaryTable[]): Change {
  const table = tables.findIndex((candidate) => candidate.name === name);
  if (op !== 'update' || old === undefined) return { op: op === 'delete' ? 'delete' : 'insert', table, row };
  const changed = changedColumns(row, old);
  return { op, table, row, changed, before: changed.map((column) => valueAt(old, column)) };
}
