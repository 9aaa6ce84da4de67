import type { Batch, BatchHeader, TransactionBatch } from '../model/transaction.js';
import { BatchEncoder, assertMessageSize, writePartAndCount } from './batch-encoder.js';
import { writeHead } from './batch-header.js';
import { unwritable, writeChange } from './change-writer.js';
import { writeTable } from './dictionary.js';
import { DEFAULT_CODEC_LIMITS, type CodecLimits } from './limits.js';
import { ValueWriter } from './value-writer.js';

/** A whole batch at once; sealing many uses a `BatchEncoder` that keeps its buffers. */
export function encodeBatch(batch: Batch, limits: CodecLimits = DEFAULT_CODEC_LIMITS): Uint8Array {
  if (batch.kind === 'part') return encodePart(batch, batch.offset, batch.last, batch.body, limits);
  const encoder = new BatchEncoder(limits);
  encoder.begin(batch);
  writeTransactions(encoder, batch);
  return encoder.finish(batch.sync);
}

function writeTransactions(encoder: BatchEncoder, batch: TransactionBatch): void {
  batch.transactions.forEach((transaction, index) => {
    if (transaction.counter !== batch.firstCounter + index) {
      throw unwritable(
        `transaction ${index} has counter ${transaction.counter}, not ${batch.firstCounter + index}`,
      );
    }
    encoder.transaction(transaction.time - batch.time);
    for (const change of transaction.changes) writeChange(encoder, change);
  });
}

/**
 * One part of the transaction `header.firstCounter`; `body` comes from a `ChangeEncoder`, which
 * gave `offset` bytes before.
 */
export function encodePart(
  header: BatchHeader,
  offset: number,
  last: boolean,
  body: Uint8Array,
  limits: CodecLimits = DEFAULT_CODEC_LIMITS,
): Uint8Array {
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw unwritable(`${offset} is not a valid offset of a part`);
  const writer = new ValueWriter(limits);
  writeHead(writer, header, limits);
  writer.writeArrayHeader(header.tables.length);
  for (const table of header.tables) writeTable(writer, table, limits);
  writePartAndCount(writer, { offset, last }, 1);
  writer.writeBinaryHeader(body.length);
  writer.append(body);
  assertMessageSize(writer.length, limits);
  return writer.slice(0, writer.length);
}
