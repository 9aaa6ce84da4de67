import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import {
  AntiphonError,
  CanonicalRowEncoder,
  type QueryResult,
  TaggedValue,
  type Row,
  type RowDigest,
  type TableChecksum,
  type Value,
} from '@antiphon/core';
import { AccessControl } from './access.js';
import type { Database } from './driver/driver.js';
import { openDatabase } from './driver/find-driver.js';
import { shortened, statementError } from './errors.js';
import type { ClonedTaggedValue, ReadRequest, ReadResult, ReadTable } from './reader-protocol.js';
import { KnownStatements, type KnownStatement } from './known-statements.js';
import { orderParameters } from './statement-text.js';
import { readVector } from './stored-vector.js';
import { bindingOf, type SqliteValue } from './values.js';

const REPLACEMENT = '\ufffd';
/** Canonical bytes are hashed in pieces of about this size. */
const HASH_BYTES = 65_536;
export const BUSY_TIMEOUT_MS = 1000;
/** Of parameters, which SQLite keeps with their statement. */
const MOST_KEPT_BYTES = 65_536;
/** What a value takes besides its text or bytes. */
const VALUE_BYTES = 9;

interface Opened {
  readonly db: Database;
  readonly statements: KnownStatements;
  readonly inode: string;
}

/**
 * The reads themselves, one after the other, on a read-only connection of the thread that calls.
 * None of them can be interrupted.
 */
export class ReadWork {
  readonly #encoder = new CanonicalRowEncoder();
  #opened: Opened | undefined;

  constructor(
    private readonly file: string,
    private readonly open: typeof openDatabase = openDatabase,
  ) {}

  /**
   * `isKnownFile`: it was looked at just now, for another read. Throws AntiphonError, and SQLite's
   * own errors.
   */
  run(request: ReadRequest, isKnownFile = false): ReadResult {
    const { db, statements } = (isKnownFile ? this.#opened : undefined) ?? this.#connect();
    if (request.type === 'query') return runQuery(statements, request);
    if (request.type === 'checksum') return runChecksum(db, this.#encoder, request);
    return runDigests(db, this.#encoder, request);
  }

  close(): void {
    this.#opened?.db.close();
    this.#opened = undefined;
  }

  /**
   * A file that was put in the place of the one that is open is another database, and is opened
   * instead.
   */
  #connect(): Opened {
    const inode = inodeOf(this.file);
    if (this.#opened?.inode === inode) return this.#opened;
    this.close();
    const db = this.open(this.file, { readOnly: true, busyTimeoutMs: BUSY_TIMEOUT_MS });
    db.exec('PRAGMA query_only = ON');
    this.#opened = { db, statements: new KnownStatements(new AccessControl(db)), inode };
    return this.#opened;
  }
}

function inodeOf(file: string): string {
  const found = statSync(file, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? 'none' : `${found.dev}/${found.ino}`;
}

/**
 * SQLite keeps -0.0 only in columns without a type, where it equals 0.0: they must not look
 * different.
 */
function canonical(value: Value): Value {
  return value === 0 ? 0 : value;
}

function runQuery(statements: KnownStatements, request: Extract<ReadRequest, { type: 'query' }>): ReadResult {
  const { sql, parameters } = request;
  let bytes = 0;
  for (const value of Object.values<SqliteValue>(parameters)) bytes += valueLength(value) ?? 0;
  const result = statements.use(sql, (one) => resultOf(one, request), bytes <= MOST_KEPT_BYTES);
  return { type: 'query', result };
}

function resultOf(
  { statement, text, columns }: KnownStatement,
  { sql, parameters, maxRows, maxBytes }: Extract<ReadRequest, { type: 'query' }>,
): QueryResult {
  try {
    const rows: Row[] = [];
    let bytes = 0;
    const bindings = orderParameters(text, parameters, sql, (value) => value as SqliteValue);
    for (const row of statement.iterate(...bindings) as IterableIterator<Row>) {
      if (rows.length >= maxRows)
        throw tooMuch(`more than ${maxRows} rows. Add LIMIT, or raise \`maxRows\`.`, { maxRows }, sql);
      bytes += bytesOf(row);
      if (bytes > maxBytes)
        throw tooMuch(`more than ${maxBytes} bytes. Select less, or raise \`maxBytes\`.`, { maxBytes }, sql);
      rows.push(row);
    }
    return { columns, rows };
  } catch (thrown) {
    throw statementError(thrown, sql);
  }
}

function tooMuch(what: string, context: Readonly<Record<string, unknown>>, sql: string): AntiphonError {
  return new AntiphonError('BAD_SQL', `The query returns ${what} Statement: ${shortened(sql)}`, { context });
}

/** About what it takes on its way; text counts by its characters. */
export function bytesOf(row: Row): number {
  let bytes = 0;
  for (const value of row) bytes += VALUE_BYTES + (valueLength(value) ?? 0);
  return bytes;
}

function valueLength(value: Value | undefined): number | undefined {
  if (typeof value === 'string') return value.length;
  if (value instanceof TaggedValue) return value.bytes.byteLength;
  return value instanceof Uint8Array ? value.byteLength : undefined;
}

/** Rows in key order with exact values: text that may not be UTF-8 is read again as bytes. */
function* rowsOf(
  db: Database,
  table: ReadTable,
  where: string,
  parameters: readonly SqliteValue[],
): Generator<Row> {
  const select = (columns: readonly string[]): string =>
    `SELECT ${columns.join(', ')} FROM ${table.from} ${where} ORDER BY ${table.orderBy}`;
  const asBytes = table.columns.map(
    (name) => `CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) END`,
  );
  // From the first doubtful row on, beside the others: a search for each would be quadratic.
  let texts: IterableIterator<Value[]> | undefined;
  let index = 0;
  try {
    for (const row of db.prepare(select(table.columns), 'exact array').iterate(...parameters)) {
      const values = row as Value[];
      const isDoubtful = values.some((value) => typeof value === 'string' && value.includes(REPLACEMENT));
      if (isDoubtful && texts === undefined) {
        const rest = db.prepare(`${select(asBytes)} LIMIT -1 OFFSET ${index}`, 'exact array');
        texts = rest.iterate(...parameters) as IterableIterator<Value[]>;
      }
      const bytes = texts?.next().value as Value[] | undefined;
      if (isDoubtful && bytes !== undefined) restoreTexts(values, bytes);
      for (let column = 0; column < values.length; column++)
        values[column] = canonical(values[column] as Value);
      yield values;
      index++;
    }
  } finally {
    texts?.return?.();
  }
}

/** Text that is not UTF-8 as its bytes. */
function restoreTexts(row: Value[], bytes: readonly Value[]): void {
  for (const [column, value] of row.entries()) {
    const raw = bytes[column];
    if (typeof value !== 'string' || !(raw instanceof Uint8Array)) continue;
    if (!Buffer.from(value, 'utf8').equals(raw)) row[column] = new TaggedValue('raw-text', raw);
  }
}

function checksumOf(db: Database, encoder: CanonicalRowEncoder, table: ReadTable): TableChecksum {
  const hash = createHash('sha256');
  let rows = 0;
  for (const row of rowsOf(db, table, '', [])) {
    encoder.append(row);
    rows++;
    if (encoder.byteLength < HASH_BYTES) continue;
    hash.update(encoder.take());
  }
  hash.update(encoder.take());
  return { table: table.name, rows, checksum: hash.digest('hex') };
}

function runChecksum(
  db: Database,
  encoder: CanonicalRowEncoder,
  { tables, replica }: Extract<ReadRequest, { type: 'checksum' }>,
): ReadResult {
  // One read transaction: position, vector and rows are of one moment.
  db.exec('BEGIN');
  try {
    const state = db
      .prepare(
        'SELECT position_generation AS generation, position_seq AS seq, own_counter AS own, vector FROM _antiphon_state',
      )
      .get() as {
      generation: string;
      seq: number;
      own: number;
      vector: string;
    };
    const vector = readVector(db, state.vector);
    if (state.own > 0) vector[replica] = state.own;
    const checksums = tables.map((table) => checksumOf(db, encoder, table));
    return {
      type: 'checksum',
      report: { position: { generation: state.generation, seq: state.seq }, vector, tables: checksums },
    };
  } finally {
    encoder.take();
    db.exec('ROLLBACK');
  }
}

function runDigests(
  db: Database,
  encoder: CanonicalRowEncoder,
  { table, afterKey, limit }: Extract<ReadRequest, { type: 'digests' }>,
): ReadResult {
  const bindings = (afterKey ?? []).map((value) => bindingOf(revive(value)));
  const list = bindings.map(({ expression }) => expression).join(', ');
  const where = afterKey === undefined ? '' : `WHERE (${table.keyColumns.join(', ')}) > (${list})`;
  const digests: RowDigest[] = [];
  db.exec('BEGIN');
  try {
    for (const row of rowsOf(
      db,
      table,
      where,
      bindings.map(({ value }) => value),
    )) {
      encoder.append(row);
      const digest = createHash('sha256').update(encoder.take()).digest('hex');
      digests.push({ key: table.key.map((column) => row[column] as Value), digest });
      if (digests.length >= limit) break;
    }
  } finally {
    encoder.take();
    db.exec('ROLLBACK');
  }
  return { type: 'digests', digests };
}

function revive(value: Value | ClonedTaggedValue): Value {
  if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array))
    return new TaggedValue(value.tag, value.bytes);
  return value;
}
