import { AntiphonError } from '@antiphon/core';
import { Decoder, Encoder } from '@msgpack/msgpack';

/** How requests and replies become bytes. `decode` throws on what it cannot read. */
export interface Codec {
  encode(value: unknown): Uint8Array;
  decode(data: Uint8Array): unknown;
}

const OPTIONS = { useBigInt64: true, ignoreUndefined: true };
/** Of a value that is encoded, so that a large one does not stay in memory. */
const KEPT_BYTES = 64 * 1024;

/** Making one, with its buffer, costs more than a short message does. */
let encoder = new Encoder(OPTIONS);
const decoder = new Decoder({ useBigInt64: true });

function encode(value: unknown): Uint8Array {
  let bytes = Infinity;
  try {
    const data = encoder.encode(value);
    bytes = data.length;
    return data;
  } finally {
    if (bytes > KEPT_BYTES) encoder = new Encoder(OPTIONS);
  }
}

/**
 * Numbers stay numbers and bigints bigints, so that a 64-bit integer survives. No bytes at all are
 * `undefined`.
 */
export const msgpackCodec: Codec = {
  encode: (value) => (value === undefined ? new Uint8Array(0) : encode(value)),
  decode: (data) => {
    if (data.byteLength === 0) return undefined;
    checkShape(data);
    return decoder.decode(data);
  },
};

const MAX_DEPTH = 64;

/**
 * What follows a first byte: a length field of so many bytes, fixed bytes, and values per unit of
 * the length.
 */
type Shape = readonly [lengthBytes: number, fixedBytes: number, valuesPerUnit?: number];
/** For the first bytes from 0xc0 on. */
// prettier-ignore
const SHAPES: readonly (Shape | undefined)[] = [
  [0, 0], undefined, [0, 0], [0, 0], [1, 0], [2, 0], [4, 0], [1, 1], [2, 1], [4, 1], // nil, -, false, true, bin, ext
  [0, 4], [0, 8], [0, 1], [0, 2], [0, 4], [0, 8], [0, 1], [0, 2], [0, 4], [0, 8], // float, uint, int
  [0, 2], [0, 3], [0, 5], [0, 9], [0, 17], [1, 0], [2, 0], [4, 0], // fixext, str
  [2, 0, 1], [4, 0, 1], [2, 0, 2], [4, 0, 2], // array, map
];

/**
 * Walks the bytes before they are decoded, since the decoder allocates what a header claims: nested
 * headers of 65 535 values each, three bytes a header, would take gigabytes. Here every claimed
 * value must have a byte left for it.
 */
function checkShape(data: Uint8Array): void {
  /** Values still to come, per open container. */
  const open: number[] = [1];
  let claimed = 1;
  let offset = 0;
  for (let left = open.pop(); left !== undefined; left = open.pop()) {
    if (left === 0) continue;
    open.push(left - 1);
    const { bytes, values } = measure(data, offset);
    offset += bytes;
    claimed += values - 1;
    if (offset + claimed > data.byteLength) throw malformed('it claims more than it holds');
    if (open.push(values) > MAX_DEPTH) throw malformed(`it is nested deeper than ${MAX_DEPTH} levels`);
  }
  if (offset !== data.byteLength) throw malformed('something follows its end');
}

/** Of the value at `offset`: its own bytes, and how many values it contains. */
function measure(data: Uint8Array, offset: number): { readonly bytes: number; readonly values: number } {
  const first = data[offset] ?? 0;
  if (first <= 0x7f || first >= 0xe0) return { bytes: 1, values: 0 };
  if (first <= 0x8f) return { bytes: 1, values: 2 * (first & 0x0f) };
  if (first <= 0x9f) return { bytes: 1, values: first & 0x0f };
  if (first <= 0xbf) return { bytes: 1 + (first & 0x1f), values: 0 };
  const shape = SHAPES[first - 0xc0];
  if (shape === undefined) throw malformed('it has a byte that no value begins with');
  const [lengthBytes, fixedBytes, valuesPerUnit] = shape;
  let length = 0;
  for (let index = 1; index <= lengthBytes; index++) length = length * 256 + (data[offset + index] ?? 0);
  if (valuesPerUnit !== undefined) return { bytes: 1 + lengthBytes, values: length * valuesPerUnit };
  return { bytes: 1 + lengthBytes + fixedBytes + length, values: 0 };
}

function malformed(why: string): AntiphonError {
  return new AntiphonError(
    'MALFORMED_MESSAGE',
    `The message is not valid MessagePack: ${why}. Correct its sender.`,
  );
}
