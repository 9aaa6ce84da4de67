import { AntiphonError, type Row } from '@antiphon/core';
import { AccessControl } from './access.js';
import type { Database } from './driver/driver.js';
import { openDatabase } from './driver/find-driver.js';
import { shortened, statementError } from './errors.js';
import { BUSY_TIMEOUT_MS, bytesOf } from './read-work.js';
import { orderParameters } from './statement-text.js';
import type { StreamRequest } from './stream-protocol.js';
import type { SqliteValue } from './values.js';

/** What crosses between two processes at once: the memory of a stream is a few times that. */
const PIECE_BYTES = 256 * 1024;
const PIECE_ROWS = 4096;

/**
 * One statement, read piece by piece on a connection of its own, in the thread that calls. From the
 * first row on it is one snapshot, until the last row or `close`.
 */
export class StreamWork {
  readonly columns: readonly string[];
  readonly #db: Database;
  readonly #rows: Iterator<Row>;
  readonly #request: StreamRequest;
  /** Read, and over what fitted. */
  #left: Row | undefined;

  /** Throws AntiphonError, and SQLite's own errors. */
  constructor(file: string, request: StreamRequest, open: typeof openDatabase = openDatabase) {
    this.#request = request;
    this.#db = open(file, { readOnly: true, busyTimeoutMs: BUSY_TIMEOUT_MS });
    const { sql, parameters } = request;
    try {
      this.#db.exec('PRAGMA query_only = ON');
      const { statement, text } = new AccessControl(this.#db).prepare(sql, 'exact array', 'query');
      const bindings = orderParameters(text, parameters, sql, (value) => value as SqliteValue);
      const rows = statement.iterate(...bindings) as Iterable<Row>;
      this.#rows = rows[Symbol.iterator]();
      // The snapshot is of now, not of when somebody takes the first row.
      this.#left = this.#read();
      // Before, they may be those of an older schema: SQLite looks at it when it reads a row.
      this.columns = statement.columns();
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  /** The next rows; none: there are no more. Throws BAD_SQL. */
  next(): readonly Row[] {
    const piece: Row[] = [];
    let bytes = 0;
    for (let row = this.#left; row !== undefined; row = this.#read()) {
      const more = bytesOf(row);
      this.#assertSize(more);
      bytes += more;
      this.#left = row;
      if (piece.length > 0 && (bytes > PIECE_BYTES || piece.length >= PIECE_ROWS)) return piece;
      piece.push(row);
    }
    this.#left = undefined;
    return piece;
  }

  close(): void {
    this.#db.close();
  }

  #read(): Row | undefined {
    try {
      const result = this.#rows.next();
      return result.done === true ? undefined : result.value;
    } catch (thrown) {
      throw statementError(thrown, this.#request.sql);
    }
  }

  #assertSize(bytes: number): void {
    const { maxRowBytes, sql } = this.#request;
    if (bytes <= maxRowBytes) return;
    const message = `A row of the query has more than ${maxRowBytes} bytes. Select less of it. Statement: ${shortened(sql)}`;
    throw new AntiphonError('BAD_SQL', message, { context: { maxRowBytes } });
  }
}
