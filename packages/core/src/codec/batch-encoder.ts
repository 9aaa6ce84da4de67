import { AntiphonError } from '../errors/antiphon-error.js';
import type { BatchHeader, DictionaryTable, SyncSection } from '../model/transaction.js';
import type { Row, Value } from '../model/value.js';
import { makeSynchronous, writeHead } from './batch-header.js';
import { ChangeWriter, unwritable } from './change-writer.js';
import { writeTable } from './dictionary.js';
import { MAX_HYBRID_TIME } from '../clocks/hybrid-clock.js';
import { DEFAULT_CODEC_LIMITS, type CodecLimits } from './limits.js';
import { writeSync } from './sync-section.js';
import { ValueWriter } from './value-writer.js';

/**
 * Longest forms of the dictionary's head, the nil of `part`, the count, the body's head, and a
 * count still open.
 */
const FRAME_BYTES = 5 + 1 + 5 + 5 + 4;

/** There is no such place in the body. */
const NONE = -1;

/**
 * Builds one message of whole transactions, again and again with the same buffers: `begin`, then
 * per transaction `transaction` and its changes, then `finish`. A call that throws leaves the batch
 * as it was before it.
 */
export class BatchEncoder {
  private readonly head: ValueWriter;
  private readonly dictionary: ValueWriter;
  private readonly body: ValueWriter;
  private readonly changeWriter: ChangeWriter;
  private header: BatchHeader | undefined;
  private tables: DictionaryTable[] = [];
  /**
   * Whose encoding `dictionary` holds, when nothing was added to it: most batches repeat the one
   * before.
   */
  private encodedTables: readonly DictionaryTable[] | undefined;
  private transactionCount = 0;
  private changeCount = 0;
  private lastDelta = 0;

  /**
   * The transaction begun last: where it starts in the body, where its number of changes belongs,
   * and what that is.
   */
  private openStart = NONE;
  private openCountAt = NONE;
  private openChanges = 0;
  private deltaBeforeOpen = 0;

  constructor(private readonly limits: CodecLimits = DEFAULT_CODEC_LIMITS) {
    this.head = new ValueWriter(limits);
    this.dictionary = new ValueWriter(limits);
    this.body = new ValueWriter(limits);
    this.changeWriter = new ChangeWriter(this.body, limits);
  }

  /**
   * What `finish` would return now, or up to 20 bytes more; a sync section adds its `syncLength`.
   */
  get byteLength(): number {
    return this.head.length + this.dictionary.length + this.body.length + FRAME_BYTES;
  }

  get transactions(): number {
    return this.transactionCount;
  }

  get changes(): number {
    return this.changeCount;
  }

  /** Starts a new batch; what was not finished of another is forgotten. */
  begin(header: BatchHeader): void {
    this.header = undefined;
    this.head.truncate(0);
    this.body.truncate(0);
    this.transactionCount = 0;
    this.changeCount = 0;
    this.lastDelta = 0;
    this.openStart = NONE;
    this.openCountAt = NONE;
    writeHead(this.head, header, this.limits);
    if (this.encodedTables !== header.tables) this.encodeTables(header.tables);
    this.header = header;
  }

  /**
   * Adds a table to the dictionary of this batch and returns its index, for those who do not know
   * all in advance.
   */
  addTable(table: DictionaryTable): number {
    this.assertBegun();
    if (this.tables.length >= this.limits.maxTables) throw tooMany('tables', this.limits.maxTables);
    writeTable(this.dictionary, table, this.limits);
    this.encodedTables = undefined;
    return this.tables.push(table) - 1;
  }

  /**
   * Starts the next transaction. `timeDelta` is its time less that of the header; it never goes
   * back.
   */
  transaction(timeDelta: number): void {
    const { time, firstCounter } = this.assertBegun();
    if (!Number.isSafeInteger(timeDelta) || timeDelta < this.lastDelta) {
      throw unwritable(
        `a transaction lies ${timeDelta} µs behind the start of its batch, the one before ${this.lastDelta}`,
      );
    }
    if (
      time + timeDelta > MAX_HYBRID_TIME ||
      firstCounter + this.transactionCount > Number.MAX_SAFE_INTEGER
    ) {
      throw unwritable('a hybrid time or a counter is over its limit');
    }
    if (this.transactionCount >= this.limits.maxTransactions) {
      throw tooMany('transactions', this.limits.maxTransactions);
    }
    this.closeTransaction();
    const { body } = this;
    this.openStart = body.length;
    body.writeArrayHeader(2);
    body.writeInteger(timeDelta);
    this.openCountAt = body.length;
    body.writeByte(0);
    this.openChanges = 0;
    this.changeWriter.earlier(0);
    this.deltaBeforeOpen = this.lastDelta;
    this.lastDelta = timeDelta;
    this.transactionCount++;
  }

  /**
   * The changes from here on, of the open transaction, were made so many microseconds before its
   * time. Of several changes of one row, a later one must not have an earlier time: it would lose
   * against the one that it overwrote.
   */
  earlier(us: number): void {
    this.changeWriter.earlier(us);
  }

  insert(table: number, row: Row): void {
    this.assertRow(table, row);
    this.changeWriter.insert(table, row);
    this.countChange();
  }

  update(table: number, row: Row, changed: readonly number[], before: readonly Value[]): void {
    const { key } = this.assertRow(table, row);
    this.changeWriter.update(table, row, changed, before, key);
    this.countChange();
  }

  delete(table: number, row: Row): void {
    this.assertRow(table, row);
    this.changeWriter.delete(table, row);
    this.countChange();
  }

  /** Takes the transaction begun last out again, when it turned out to be too big for a message. */
  dropTransaction(): void {
    if (this.openStart === NONE) throw unwritable('no transaction was begun last, or it was dropped already');
    this.body.truncate(this.openStart);
    this.changeCount -= this.openChanges;
    this.lastDelta = this.deltaBeforeOpen;
    this.openStart = NONE;
    this.openCountAt = NONE;
    this.transactionCount--;
  }

  /**
   * The message, a fresh copy; then `begin` again. With a sync section it is a synchronous group.
   * After MESSAGE_TOO_LARGE transactions can still be dropped.
   */
  finish(sync?: SyncSection): Uint8Array {
    this.assertBegun();
    if (this.transactionCount === 0) throw unwritable('a batch needs at least one transaction');
    this.closeTransaction();
    const { head, dictionary, body } = this;
    const headLength = head.length;
    const bodyLength = body.length;
    try {
      head.writeArrayHeader(this.tables.length);
      head.appendWriter(dictionary);
      writePartAndCount(head, undefined, this.transactionCount);
      head.writeBinaryHeader(bodyLength);
      if (sync !== undefined) writeSync(body, sync, this.transactionCount, this.limits);
      assertMessageSize(head.length + body.length, this.limits);
    } catch (error) {
      head.truncate(headLength);
      body.truncate(bodyLength);
      throw error;
    }
    const message = new Uint8Array(head.length + body.length);
    head.copyTo(message, 0);
    body.copyTo(message, head.length);
    if (sync !== undefined) makeSynchronous(message);
    this.header = undefined;
    return message;
  }

  private encodeTables(tables: readonly DictionaryTable[]): void {
    this.encodedTables = undefined;
    this.tables = [];
    this.dictionary.truncate(0);
    if (tables.length > this.limits.maxTables) throw tooMany('tables', this.limits.maxTables);
    for (const table of tables) writeTable(this.dictionary, table, this.limits);
    this.tables = [...tables];
    this.encodedTables = tables;
  }

  private closeTransaction(): void {
    if (this.openCountAt !== NONE) this.body.patchInteger(this.openCountAt, this.openChanges);
    this.openCountAt = NONE;
  }

  private countChange(): void {
    this.openChanges++;
    this.changeCount++;
  }

  private assertBegun(): BatchHeader {
    if (this.header === undefined) throw unwritable('a batch must be begun first');
    return this.header;
  }

  private assertRow(table: number, row: Row): DictionaryTable {
    if (this.openCountAt === NONE) throw unwritable('a change needs an open transaction');
    const definition = this.tables[table];
    if (definition === undefined) throw unwritable(`the dictionary has no table ${table}`);
    const width = definition.columns.length;
    if (row.length !== width)
      throw unwritable(`a row of "${definition.name}" has ${row.length} values, not ${width}`);
    if (this.changeCount >= this.limits.maxChanges) throw tooMany('changes', this.limits.maxChanges);
    return definition;
  }
}

export interface PartPlace {
  readonly offset: number;
  readonly last: boolean;
}

/** The two fields in front of the body. `count` is that of transactions: 1 for a part. */
export function writePartAndCount(writer: ValueWriter, part: PartPlace | undefined, count: number): void {
  if (part === undefined) {
    writer.writeValue(null);
  } else {
    writer.writeArrayHeader(2);
    writer.writeInteger(part.offset);
    writer.writeValue(part.last);
  }
  writer.writeInteger(count);
}

export function assertMessageSize(bytes: number, limits: CodecLimits): void {
  if (bytes <= limits.maxMessageBytes) return;
  throw new AntiphonError(
    'MESSAGE_TOO_LARGE',
    `A message takes ${bytes} bytes, and the limit is ${limits.maxMessageBytes}. Cut its transaction into parts.`,
    { context: { bytes, limit: limits.maxMessageBytes } },
  );
}

function tooMany(what: string, limit: number): AntiphonError {
  return new AntiphonError('MESSAGE_TOO_LARGE', `A batch cannot hold more than ${limit} ${what}.`, {
    context: { limit },
  });
}
