import { AntiphonError } from '../errors/antiphon-error.js';

export interface ScanLimits {
  /** Nesting: 1 allows no array inside of an array. */
  readonly maxDepth: number;
  /** Of one array or map. */
  readonly maxEntries: number;
  /** Of one text, bytes or ext. */
  readonly maxValueBytes: number;
}

/** What `scanItem` answers when the bytes end before the item does. */
export const INCOMPLETE = -1;

/**
 * Finds the end of the MessagePack item at `at` without decoding or allocating anything. Returns
 * the offset behind it, or INCOMPLETE. Throws MALFORMED_MESSAGE for what can never become an item,
 * MESSAGE_TOO_LARGE beyond the limits.
 */
export function scanItem(
  data: Uint8Array,
  at: number,
  end: number,
  limits: ScanLimits,
  depth = limits.maxDepth,
): number {
  if (at >= end) return INCOMPLETE;
  const code = data[at] as number;
  if (code < 0x80 || code >= 0xe0) return at + 1;
  if (code < 0x90) return scanEntries(data, at + 1, end, (code & 0x0f) * 2, limits, depth);
  if (code < 0xa0) return scanEntries(data, at + 1, end, code & 0x0f, limits, depth);
  if (code < 0xc0) return skipBytes(at + 1, code & 0x1f, end);
  switch (code) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return at + 1;
    case 0xca:
    case 0xcb:
      return skipBytes(at + 1, code === 0xca ? 4 : 8, end);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
      return skipBytes(at + 1, 1 << (code - 0xcc), end);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return skipBytes(at + 1, 1 << (code - 0xd0), end);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return skipBytes(at + 2, 1 << (code - 0xd4), end);
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return scanSized(data, at + 1, end, 1 << (code - 0xc4), 0, limits);
    case 0xc7:
    case 0xc8:
    case 0xc9:
      return scanSized(data, at + 1, end, 1 << (code - 0xc7), 1, limits);
    case 0xd9:
    case 0xda:
    case 0xdb:
      return scanSized(data, at + 1, end, 1 << (code - 0xd9), 0, limits);
    case 0xdc:
    case 0xdd:
      return scanContainer(data, at + 1, end, code === 0xdc ? 2 : 4, 1, limits, depth);
    case 0xde:
    case 0xdf:
      return scanContainer(data, at + 1, end, code === 0xde ? 2 : 4, 2, limits, depth);
    default:
      throw new AntiphonError(
        'MALFORMED_MESSAGE',
        `The message is not valid MessagePack: 0x${code.toString(16)} at byte ${at}.`,
        {
          context: { offset: at },
        },
      );
  }
}

function scanSized(
  data: Uint8Array,
  at: number,
  end: number,
  lengthBytes: number,
  typeBytes: number,
  limits: ScanLimits,
): number {
  if (at + lengthBytes > end) return INCOMPLETE;
  const length = readLength(data, at, lengthBytes);
  if (length > limits.maxValueBytes) throw tooLarge('bytes in one value', length, limits.maxValueBytes);
  return skipBytes(at + lengthBytes + typeBytes, length, end);
}

function scanContainer(
  data: Uint8Array,
  at: number,
  end: number,
  lengthBytes: number,
  itemsPerEntry: number,
  limits: ScanLimits,
  depth: number,
): number {
  if (at + lengthBytes > end) return INCOMPLETE;
  const length = readLength(data, at, lengthBytes);
  if (length > limits.maxEntries) throw tooLarge('entries in one array or map', length, limits.maxEntries);
  return scanEntries(data, at + lengthBytes, end, length * itemsPerEntry, limits, depth);
}

function scanEntries(
  data: Uint8Array,
  start: number,
  end: number,
  items: number,
  limits: ScanLimits,
  depth: number,
): number {
  if (depth <= 0) {
    throw new AntiphonError(
      'MALFORMED_MESSAGE',
      `A message is nested deeper than ${limits.maxDepth} levels.`,
      {
        context: { offset: start, limit: limits.maxDepth },
      },
    );
  }
  let at = start;
  for (let i = 0; i < items; i++) {
    at = scanItem(data, at, end, limits, depth - 1);
    if (at === INCOMPLETE) return INCOMPLETE;
  }
  return at;
}

function skipBytes(at: number, length: number, end: number): number {
  return at + length > end ? INCOMPLETE : at + length;
}

function readLength(data: Uint8Array, at: number, bytes: number): number {
  let length = 0;
  for (let i = 0; i < bytes; i++) length = length * 256 + (data[at + i] as number);
  return length;
}

function tooLarge(what: string, found: number, limit: number): AntiphonError {
  return new AntiphonError(
    'MESSAGE_TOO_LARGE',
    `A message has ${found} ${what}, and the limit is ${limit}.`,
    {
      context: { found, limit },
    },
  );
}
