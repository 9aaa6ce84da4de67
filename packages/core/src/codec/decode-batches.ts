import { AntiphonError } from '../errors/antiphon-error.js';
import type {
  Batch,
  BatchHeader,
  Change,
  SealedTransaction,
  SyncSection,
  TransactionBatch,
} from '../model/transaction.js';
import { readContext, readHead } from './batch-header.js';
import type { BatchSummary } from './batch-summary.js';
import { ChangeReader } from './change-reader.js';
import { readDictionary } from './dictionary.js';
import { MAX_HYBRID_TIME } from '../clocks/hybrid-clock.js';
import { DEFAULT_CODEC_LIMITS, type CodecLimits } from './limits.js';
import type { ScanLimits } from './scan.js';
import { readSync } from './sync-section.js';
import { ValueReader } from './value-reader.js';

/** What is left of the limits of one message while its batches are read. */
interface Allowance {
  transactions: number;
  changes: number;
}

/**
 * Every batch of a log message, complete. Throws MALFORMED_MESSAGE, UNSUPPORTED_FORMAT or
 * MESSAGE_TOO_LARGE, and never anything else, whatever the bytes are. Bytes values and bodies are
 * views of `data`: leave it as it is.
 */
export function decodeBatches(
  data: Uint8Array,
  limits: CodecLimits = DEFAULT_CODEC_LIMITS,
): readonly Batch[] {
  const allowance: Allowance = { transactions: limits.maxTransactions, changes: limits.maxChanges };
  return readBatches(data, limits, (reader) => readBatch(reader, limits, allowance));
}

/**
 * The heads of the batches of a log message, at the cost of stepping over the rest: dictionaries
 * and changes are not looked at, and may turn out to be malformed later. Throws as `decodeBatches`
 * does.
 */
export function summarize(
  data: Uint8Array,
  limits: CodecLimits = DEFAULT_CODEC_LIMITS,
): readonly BatchSummary[] {
  return readBatches(data, limits, (reader) => readSummary(reader, limits));
}

function readBatches<T extends { readonly origin: string }>(
  data: Uint8Array,
  limits: CodecLimits,
  read: (reader: ValueReader) => T,
): readonly T[] {
  if (data.length > limits.maxMessageBytes) {
    throw new AntiphonError(
      'MESSAGE_TOO_LARGE',
      `A log message has ${data.length} bytes, and the limit is ${limits.maxMessageBytes}.`,
      { context: { bytes: data.length, limit: limits.maxMessageBytes } },
    );
  }
  const reader = new ValueReader(data, limits);
  if (reader.remaining === 0) throw reader.malformed('it is empty');
  const batches: T[] = [];
  while (reader.remaining > 0) {
    const batch = read(reader);
    if (batches.length > 0 && batches[0]?.origin !== batch.origin) throw reader.malformed('it mixes origins');
    batches.push(batch);
  }
  return batches;
}

function readBatch(reader: ValueReader, limits: CodecLimits, allowance: Allowance): Batch {
  const start = reader.position;
  const { synchronous, origin, firstCounter, epoch, time } = readHead(reader);
  const context = readContext(reader, limits);
  const schemaVersion = reader.readCount('a schema version');
  const tables = readDictionary(reader, limits);
  const part = readPart(reader);
  if (synchronous && part !== undefined) throw partOfGroup(reader);
  const count = readTransactionCount(reader, firstCounter, part);
  const length = reader.readBinaryLength('a body');
  // Field by field: a spread costs ten times what reading a small batch does.
  if (part !== undefined) {
    const body = reader.take(length);
    const { offset, last } = part;
    return {
      kind: 'part',
      origin,
      firstCounter,
      epoch,
      time,
      context,
      schemaVersion,
      tables,
      offset,
      last,
      body,
    };
  }
  const outerEnd = reader.enter(length);
  const transactions = readTransactions(reader, { firstCounter, time, tables }, count, allowance);
  reader.leave(outerEnd);
  const batch: TransactionBatch = {
    kind: 'transactions',
    origin,
    firstCounter,
    epoch,
    time,
    context,
    schemaVersion,
    tables,
    transactions,
  };
  return synchronous ? { ...batch, sync: readSyncAlone(reader, start, count, limits) } : batch;
}

function readSummary(reader: ValueReader, limits: CodecLimits): BatchSummary {
  const start = reader.position;
  const { synchronous, origin, firstCounter, epoch, time } = readHead(reader);
  reader.skip(contextScan(limits));
  const schemaVersion = reader.readCount('a schema version');
  reader.skip(dictionaryScan(limits));
  const part = readPart(reader);
  if (synchronous && part !== undefined) throw partOfGroup(reader);
  const count = readTransactionCount(reader, firstCounter, part);
  const bytes = reader.readBinaryLength('a body');
  reader.take(bytes);
  const summary: BatchSummary = {
    kind: part === undefined ? 'transactions' : 'part',
    origin,
    firstCounter,
    lastCounter: firstCounter + count - 1,
    offset: part?.offset ?? 0,
    bytes,
    last: part?.last ?? true,
    epoch,
    time,
    schemaVersion,
  };
  return synchronous ? { ...summary, sync: readSyncAlone(reader, start, count, limits) } : summary;
}

/**
 * The last field of a synchronous group, which has its message to itself: one entry of the log, one
 * verdict.
 */
function readSyncAlone(
  reader: ValueReader,
  batchStart: number,
  count: number,
  limits: CodecLimits,
): SyncSection {
  if (count > limits.maxTransactions) throw tooMany('transactions');
  const sync = readSync(reader, count, limits);
  if (batchStart > 0 || reader.remaining > 0)
    throw reader.malformed('a synchronous group shares its message with another batch');
  return sync;
}

function partOfGroup(reader: ValueReader): AntiphonError {
  return reader.malformed('a synchronous group holds part of a transaction');
}

function readPart(reader: ValueReader): { offset: number; last: boolean } | undefined {
  if (reader.skipNil()) return undefined;
  if (reader.readArrayLength('a part') !== 2) throw reader.malformed('a part needs 2 fields');
  const offset = reader.readCount('the offset of a part');
  return { offset, last: reader.readBoolean('whether a part is the last') };
}

function readTransactionCount(reader: ValueReader, firstCounter: number, part: object | undefined): number {
  const count = reader.readCount('the number of transactions');
  if (count < 1) throw reader.malformed('a batch has no transactions');
  if (part !== undefined && count !== 1) throw reader.malformed('a part belongs to one transaction');
  if (!Number.isSafeInteger(firstCounter + count - 1)) throw reader.malformed('a counter is over its limit');
  return count;
}

function readTransactions(
  reader: ValueReader,
  header: Pick<BatchHeader, 'firstCounter' | 'time' | 'tables'>,
  count: number,
  allowance: Allowance,
): readonly SealedTransaction[] {
  allowance.transactions -= count;
  if (allowance.transactions < 0) throw tooMany('transactions');
  const transactions: SealedTransaction[] = [];
  let previousDelta = 0;
  for (let i = 0; i < count; i++) {
    if (reader.readArrayLength('a transaction') !== 2) throw reader.malformed('a transaction needs 2 fields');
    const delta = reader.readCount('the time of a transaction');
    const time = header.time + delta;
    // A later transaction with an earlier time would lose against the one that it overwrote.
    if (delta < previousDelta || time > MAX_HYBRID_TIME)
      throw reader.malformed('the time of a transaction is wrong');
    previousDelta = delta;
    const changes = readChanges(reader, new ChangeReader(header.tables, time), allowance);
    transactions.push({ counter: header.firstCounter + i, time, changes });
  }
  return transactions;
}

function readChanges(reader: ValueReader, next: ChangeReader, allowance: Allowance): readonly Change[] {
  const count = reader.readCount('the number of changes');
  allowance.changes -= count;
  if (allowance.changes < 0) throw tooMany('changes');
  const changes: Change[] = [];
  for (let i = 0; i < count; i++) changes.push(next.read(reader));
  return changes;
}

function contextScan(limits: CodecLimits): ScanLimits {
  return { maxDepth: 1, maxEntries: limits.maxOrigins, maxValueBytes: limits.maxNameBytes };
}

function dictionaryScan(limits: CodecLimits): ScanLimits {
  return {
    maxDepth: 3,
    maxEntries: Math.max(limits.maxTables, limits.maxColumns),
    maxValueBytes: limits.maxNameBytes,
  };
}

function tooMany(what: string): AntiphonError {
  return new AntiphonError('MESSAGE_TOO_LARGE', `A log message has more ${what} than its limit allows.`);
}
