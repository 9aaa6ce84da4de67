import { AntiphonError } from '../errors/antiphon-error.js';
import type { BatchHeader, PartBatch, SealedTransaction, TransactionBatch } from '../model/transaction.js';
import { BatchEncoder } from './batch-encoder.js';
import { ChangeEncoder } from './change-encoder.js';
import { decodeBatches } from './decode-batches.js';
import { writeChange } from './change-writer.js';
import { encodePart } from './encode-batch.js';

const NOTHING = new Uint8Array(0);
/** What the length of a body may take on top of that of an empty one. */
const LENGTH_BYTES = 4;
/** Smaller parts would be mostly heads. */
const LEAST_BODY_BYTES = 256;

/**
 * A sealed message as several, none of them over `maxBytes`, for a log that takes less than it was
 * sealed for. Whole transactions stay together as far as they fit; one that fits nowhere is cut
 * into parts, and parts into smaller ones. Receivers go by the bytes, so it may be cut anew at
 * every attempt. Throws MESSAGE_TOO_LARGE when the head alone leaves no room, and for a synchronous
 * group.
 */
export function cutMessage(data: Uint8Array, maxBytes: number): readonly Uint8Array[] {
  if (data.length <= maxBytes) return [data];
  return decodeBatches(data).flatMap((batch) => {
    if (batch.kind === 'part') return cutPart(batch, maxBytes);
    if (batch.sync !== undefined) throw tooLarge(batch, 'a synchronous group is one message', maxBytes);
    return cutTransactions(batch, maxBytes);
  });
}

function cutTransactions(batch: TransactionBatch, maxBytes: number): readonly Uint8Array[] {
  const messages: Uint8Array[] = [];
  const encoder = new BatchEncoder();
  let first: SealedTransaction | undefined;
  const finish = (): void => {
    if (first !== undefined) messages.push(encoder.finish());
    first = undefined;
  };
  /** False: it does not fit behind what is there, or not at all. */
  const fits = (transaction: SealedTransaction): boolean => {
    if (first === undefined) encoder.begin(headerAt(batch, transaction));
    encoder.transaction(transaction.time - (first ?? transaction).time);
    for (const change of transaction.changes) writeChange(encoder, change);
    if (encoder.byteLength > maxBytes) {
      encoder.dropTransaction();
      return false;
    }
    first ??= transaction;
    return true;
  };
  for (const transaction of batch.transactions) {
    if (fits(transaction)) continue;
    finish();
    if (!fits(transaction)) messages.push(...cutTransaction(batch, transaction, maxBytes));
  }
  finish();
  return messages;
}

function cutTransaction(
  batch: TransactionBatch,
  transaction: SealedTransaction,
  maxBytes: number,
): readonly Uint8Array[] {
  const encoder = new ChangeEncoder();
  for (const change of transaction.changes) writeChange(encoder, change);
  const body = encoder.take(encoder.byteLength);
  return cutPart({ ...headerAt(batch, transaction), kind: 'part', offset: 0, last: true, body }, maxBytes);
}

function cutPart(part: PartBatch, maxBytes: number): readonly Uint8Array[] {
  const { offset, last, body } = part;
  const head = encodePart(part, offset + body.length, last, NOTHING).length;
  const room = maxBytes - head - LENGTH_BYTES;
  if (room < LEAST_BODY_BYTES) throw tooLarge(part, `what every part repeats takes ${head} bytes`, maxBytes);
  const messages: Uint8Array[] = [];
  for (let from = 0; from === 0 || from < body.length; from += room) {
    const end = Math.min(from + room, body.length);
    messages.push(encodePart(part, offset + from, last && end === body.length, body.subarray(from, end)));
  }
  return messages;
}

function headerAt(batch: TransactionBatch, { counter, time }: SealedTransaction): BatchHeader {
  const { origin, epoch, context, schemaVersion, tables } = batch;
  return { origin, firstCounter: counter, epoch, time, context, schemaVersion, tables };
}

function tooLarge({ origin, firstCounter }: BatchHeader, why: string, maxBytes: number): AntiphonError {
  return new AntiphonError(
    'MESSAGE_TOO_LARGE',
    `Transaction ${origin}:${firstCounter} does not fit through a log that takes ${maxBytes} bytes at once: ${why}. ` +
      'Raise max_payload of the NATS server and max_msg_size of the stream.',
    { context: { origin, counter: firstCounter, limit: maxBytes } },
  );
}
