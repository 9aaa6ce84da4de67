import { AntiphonError } from '../errors/antiphon-error.js';
import type { Change } from '../model/transaction.js';
import type { Row, Value } from '../model/value.js';
import { OP_DELETE, OP_INSERT, OP_UPDATE } from './format.js';
import type { CodecLimits } from './limits.js';
import type { ValueWriter } from './value-writer.js';

/**
 * Elements of a change: table, op, row — and for an update what changed, and what was there before.
 * One more says when, if needed.
 */
export const CHANGE_FIELDS = 3;
export const UPDATE_FIELDS = 5;

/** Writes a decoded change again, byte for byte as it was. */
export function writeChange(
  sink: Pick<ChangeWriter, 'earlier' | 'insert' | 'update' | 'delete'>,
  change: Change,
): void {
  sink.earlier(change.earlierUs ?? 0);
  switch (change.op) {
    case 'insert':
      return sink.insert(change.table, change.row);
    case 'update':
      return sink.update(change.table, change.row, change.changed, change.before);
    case 'delete':
      return sink.delete(change.table, change.row);
  }
}

/** Writes changes one after another. What throws leaves nothing of its change behind. */
export class ChangeWriter {
  #earlierUs = 0;

  constructor(
    private readonly writer: ValueWriter,
    private readonly limits: CodecLimits,
  ) {}

  /** The changes from here on were made so long before their transaction's time. */
  earlier(us: number): void {
    if (!Number.isSafeInteger(us) || us < 0)
      throw unwritable(`a change was made ${us} µs before its transaction`);
    this.#earlierUs = us;
  }

  insert(table: number, row: Row): void {
    this.writeWhole(table, OP_INSERT, row);
  }

  delete(table: number, row: Row): void {
    this.writeWhole(table, OP_DELETE, row);
  }

  /** `key`, where it is known: an update must not change it. */
  update(
    table: number,
    row: Row,
    changed: readonly number[],
    before: readonly Value[],
    key: readonly number[] = [],
  ): void {
    const { writer } = this;
    const start = writer.length;
    try {
      this.assertChanged(row, changed, before, key);
      writer.writeArrayHeader(UPDATE_FIELDS + (this.#earlierUs > 0 ? 1 : 0));
      writer.writeInteger(table);
      writer.writeByte(OP_UPDATE);
      writer.writeRow(row);
      writer.writeArrayHeader(changed.length);
      for (const column of changed) writer.writeInteger(column);
      writer.writeRow(before);
      if (this.#earlierUs > 0) writer.writeInteger(this.#earlierUs);
      this.assertSize(start);
    } catch (error) {
      writer.truncate(start);
      throw error;
    }
  }

  private writeWhole(table: number, op: number, row: Row): void {
    const { writer } = this;
    const start = writer.length;
    try {
      writer.writeArrayHeader(CHANGE_FIELDS + (this.#earlierUs > 0 ? 1 : 0));
      writer.writeInteger(table);
      writer.writeByte(op);
      writer.writeRow(row);
      if (this.#earlierUs > 0) writer.writeInteger(this.#earlierUs);
      this.assertSize(start);
    } catch (error) {
      writer.truncate(start);
      throw error;
    }
  }

  private assertChanged(
    row: Row,
    changed: readonly number[],
    before: readonly Value[],
    key: readonly number[],
  ): void {
    if (changed.length !== before.length)
      throw unwritable('an update needs one old value per changed column');
    let previous = -1;
    for (const column of changed) {
      if (!Number.isInteger(column) || column <= previous || column >= row.length) {
        throw unwritable('the changed columns of an update must be ascending indexes of its row');
      }
      if (key.includes(column))
        throw unwritable('an update changes the primary key, which takes a delete and an insert');
      previous = column;
    }
  }

  private assertSize(start: number): void {
    const bytes = this.writer.length - start;
    const { maxChangeBytes } = this.limits;
    if (bytes <= maxChangeBytes) return;
    throw new AntiphonError(
      'MESSAGE_TOO_LARGE',
      `A row takes ${bytes} bytes, and the limit is ${maxChangeBytes}.`,
      {
        context: { bytes, limit: maxChangeBytes },
      },
    );
  }
}

export function unwritable(why: string): AntiphonError {
  return new AntiphonError('MALFORMED_MESSAGE', `This change cannot be written to the log: ${why}.`);
}
