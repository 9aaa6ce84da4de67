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
  const decoder = new ChangeDecoder(tables, limits);
  for (const part of parts) yield* decoder.changesIn(part);
  decoder.end();
}

/** The same where the parts come one by one. */
export class ChangeDecoder {
  readonly #changes: ChangeReader;
  readonly #pending: PendingBytes;
  readonly #scan: ScanLimits;
  #offset = 0;

  constructor(
    tables: readonly DictionaryTable[],
    private readonly limits: CodecLimits = DEFAULT_CODEC_LIMITS,
  ) {
    this.#changes = new ChangeReader(tables);
    this.#pending = new PendingBytes(limits.maxChangeBytes);
    this.#scan = {
      maxDepth: CHANGE_DEPTH,
      maxEntries: limits.maxColumns,
      maxValueBytes: limits.maxValueBytes,
    };
  }

  /** In the last part, where the change after the one that was handed out begins. */
  get offset(): number {
    return this.#offset;
  }

  /** Those that end in this part; to be taken to the last before the next part comes. */
  *changesIn(part: Uint8Array): Generator<Change, void, undefined> {
    const before = this.#pending.length;
    const bytes = this.#pending.with(part);
    const reader = new ValueReader(bytes, this.limits);
    let next = scanItem(bytes, 0, bytes.length, this.#scan);
    while (next !== INCOMPLETE) {
      const change = readWhole(reader, next, this.#changes);
      this.#offset = next - before;
      yield change;
      next = scanItem(bytes, next, bytes.length, this.#scan);
    }
    this.#pending.keep(bytes, reader.position);
  }

  /** There are no more parts. Throws MALFORMED_MESSAGE where a change has only begun. */
  end(): void {
    if (this.#pending.length === 0) return;
    const message = 'The last part of a transaction ends in the middle of a change.';
    throw new AntiphonError('MALFORMED_MESSAGE', message);
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
