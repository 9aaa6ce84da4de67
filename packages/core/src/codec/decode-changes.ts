import { AntiphonError } from '../errors/antiphon-error.js';
import type { Change, DictionaryTable } from '../model/transaction.js';
import { ChangeReader } from './change-reader.js';
import { DEFAULT_CODEC_LIMITS, type CodecLimits } from './limits.js';
import { INCOMPLETE, scanItem, type ScanLimits } from './scan.js';
import { ValueReader } from './value-reader.js';

/** A change holds rows, a row holds values. */
const CHANGE_DEPTH = 2;

/**
 * The changes of a big transaction out of the bodies of its parts, in order. A change may straddle
 * any number of parts; what is kept in memory is one part and one change. Throws MALFORMED_MESSAGE
 * and MESSAGE_TOO_LARGE, at the change in question: those before it have been handed out already,
 * so apply inside of a database transaction.
 */
export function* decodeChanges(
  parts: Iterable<Uint8Array>,
  tables: readonly DictionaryTable[],
  limits: CodecLimits = DEFAULT_CODEC_LIMITS,
): Iterable<Change> {
  const scan: ScanLimits = {
    maxDepth: CHANGE_DEPTH,
    maxEntries: limits.maxColumns,
    maxValueBytes: limits.maxValueBytes,
  };
  const changes = new ChangeReader(tables);
  const pending = new PendingBytes(limits.maxChangeBytes);
  for (const part of parts) {
    const bytes = pending.with(part);
    const reader = new ValueReader(bytes, limits);
    let next = scanItem(bytes, 0, bytes.length, scan);
    while (next !== INCOMPLETE) {
      yield readWhole(reader, next, changes);
      next = scanItem(bytes, next, bytes.length, scan);
    }
    pending.keep(bytes, reader.position);
  }
  if (pending.length > 0) {
    throw new AntiphonError(
      'MALFORMED_MESSAGE',
      'The last part of a transaction ends in the middle of a change.',
    );
  }
}

function readWhole(reader: ValueReader, end: number, changes: ChangeReader): Change {
  const outerEnd = reader.enter(end - reader.position);
  const change = changes.read(reader);
  reader.leave(outerEnd);
  return change;
}

/**
 * The beginning of a change whose end has not come yet. Grows by doubling: a huge value comes in
 * many parts.
 */
class PendingBytes {
  private buffer = Buffer.alloc(0);
  length = 0;

  constructor(private readonly limit: number) {}

  /** What is pending, followed by `part`. */
  with(part: Uint8Array): Uint8Array {
    if (this.length === 0) return part;
    const needed = this.length + part.length;
    if (needed > this.buffer.length) {
      const larger = Buffer.allocUnsafeSlow(needed * 2);
      this.buffer.copy(larger, 0, 0, this.length);
      this.buffer = larger;
    }
    this.buffer.set(part, this.length);
    return this.buffer.subarray(0, needed);
  }

  /** Keeps `bytes` (which `with` returned) from `start` on. */
  keep(bytes: Uint8Array, start: number): void {
    const length = bytes.length - start;
    if (length > this.limit) {
      throw new AntiphonError(
        'MESSAGE_TOO_LARGE',
        `A row takes more than the limit of ${this.limit} bytes.`,
        {
          context: { limit: this.limit },
        },
      );
    }
    const inPlace = this.length > 0 && start === 0;
    this.length = length;
    if (inPlace || length === 0) return;
    // A buffer of its own: changes that were handed out hold views of the old one.
    const kept = Buffer.allocUnsafeSlow(length);
    kept.set(bytes.subarray(start));
    this.buffer = kept;
  }
}
