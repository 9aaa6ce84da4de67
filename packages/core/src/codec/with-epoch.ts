import { decodeBatches, summarize } from './decode-batches.js';
import { encodeBatch } from './encode-batch.js';

/**
 * A sealed message as one of another epoch: a tail that its primary keeps was sealed in the one
 * before. The same bytes when it is of this epoch already.
 */
export function withEpoch(data: Uint8Array, epoch: number): Uint8Array {
  if (summarize(data).every((batch) => batch.epoch === epoch)) return data;
  return Buffer.concat(decodeBatches(data).map((batch) => encodeBatch({ ...batch, epoch })));
}
