import { Decoder, Encoder } from '@msgpack/msgpack';
import { AntiphonError } from '../errors/antiphon-error.js';
import { INCOMPLETE, scanItem, type ScanLimits } from './scan.js';

/** Nesting of arrays and maps in a control message. */
export const MAX_CONTROL_DEPTH = 32;
/** Control messages fit into one message of the broker. */
export const MAX_CONTROL_BYTES = 1_048_576;

const SCAN: ScanLimits = {
  maxDepth: MAX_CONTROL_DEPTH,
  maxEntries: MAX_CONTROL_BYTES,
  maxValueBytes: MAX_CONTROL_BYTES,
};

/**
 * `bigint` stays apart from `number`, and a number above 32 bits travels as a float64, which is
 * exact for it.
 */
const decoder = new Decoder({ useBigInt64: true });
const encoder = new Encoder({ useBigInt64: true, ignoreUndefined: true, maxDepth: MAX_CONTROL_DEPTH });

/**
 * Beats, registry entries and mailbox messages: plain JSON-like data, also with bigint and
 * Uint8Array. What it returns must be validated by the caller. Throws MALFORMED_MESSAGE and
 * MESSAGE_TOO_LARGE.
 */
export function decodeControl(data: Uint8Array): unknown {
  assertSize(data.length);
  // The library's decoder allocates what an array's length asks for; so look first whether the
  // bytes are there.
  const end = scanItem(data, 0, data.length, SCAN);
  if (end === INCOMPLETE) throw malformed('it ends in the middle of a value');
  if (end !== data.length) throw malformed(`${data.length - end} bytes are left over`);
  try {
    return decoder.decode(data);
  } catch (cause) {
    throw malformed(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

/**
 * Properties that are `undefined` are left out, as in JSON. Throws MALFORMED_MESSAGE and
 * MESSAGE_TOO_LARGE.
 */
export function encodeControl(value: unknown): Uint8Array {
  let data: Uint8Array;
  try {
    data = encoder.encode(value);
  } catch (cause) {
    throw malformed(cause instanceof Error ? cause.message : String(cause), cause);
  }
  assertSize(data.length);
  return data;
}

function assertSize(bytes: number): void {
  if (bytes <= MAX_CONTROL_BYTES) return;
  throw new AntiphonError(
    'MESSAGE_TOO_LARGE',
    `A control message takes ${bytes} bytes, and the limit is ${MAX_CONTROL_BYTES}.`,
    {
      context: { bytes, limit: MAX_CONTROL_BYTES },
    },
  );
}

function malformed(why: string, cause?: unknown): AntiphonError {
  return new AntiphonError('MALFORMED_MESSAGE', `The control message is not valid: ${why}.`, { cause });
}

/** A map of the control format, and nothing else that JavaScript calls an object. */
export function isRecord(input: unknown): input is Readonly<Record<string, unknown>> {
  return (
    typeof input === 'object' && input !== null && !Array.isArray(input) && !(input instanceof Uint8Array)
  );
}

/**
 * A record of ours of this format, field by field. Undefined for what is none: somebody else's
 * message must not count as one.
 */
export function decodeRecord(
  data: Uint8Array,
  format: number,
): Readonly<Record<string, unknown>> | undefined {
  try {
    const input = decodeControl(data);
    return isRecord(input) && Number(input['format']) === format ? input : undefined;
  } catch {
    return undefined;
  }
}
