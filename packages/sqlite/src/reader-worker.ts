import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import {
  AntiphonError,
  CanonicalRowEncoder,
  TaggedValue,
  toAntiphonError,
  type Row,
  type RowDigest,
  type TableChecksum,
  type Value,
} from '@antiphon/core';
import { AccessControl } from './access.js';
import { openDatabase } from './driver/find-driver.js';
import { shortened, statementError, storeError } from './errors.js';
import type {
  ClonedTaggedValue,
  ReaderOptions,
  ReadMessage,
  ReadReply,
  ReadRequest,
  ReadResult,
  ReadTable,
} from './reader-protocol.js';
import { orderParameters } from './statement-text.js';
import { bindingOf, type SqliteValue } from './values.js';

const REPLACEMENT = '\ufffd';
/** Canonical bytes are hashed in pieces of about this size. */
const HASH_BYTES = 65_536;

const options = workerData as ReaderOptions;
const port = parentPort;
if (port === null) throw new Error('the reader runs in a worker thread');

const db = openDatabase(options.file, { readOnly: true, busyTimeoutMs: 1000 });
db.exec('PRAGMA query_only = ON');
const access = new AccessControl(db);
const encoder = new CanonicalRowEncoder();

function assertWanted(cancelled: Int32Array): void {
  if (Atomics.load(cancelled, 0) !== 0) throw new AntiphonError('ABORTED', 'the caller gave up.');
}

/** SQLite keeps -0.0 only in columns without a type, where it equals 0.0: they must not look different. */
function canonical(value: Value): Value {
  return value === 0 ? 0 : value;
}

function runQuery(request: Extract<ReadRequest, { type: 'query' }>, cancelled: Int32Array): ReadResult {
  const { sql, parameters, maxRows } = request;
  const { statement, text } = access.prepare(sql, 'exact array', 'query');
  try {
    const columns = statement.columns();
    const rows: Row[] = [];
    for (const row of statement.iterate(...orderParameters(text, parameters, sql)) as IterableIterator<Row>) {
      if (rows.length >= maxRows) {
        throw new AntiphonError(
          'BAD_SQL',
          `the query returns more than ${maxRows} rows; add LIMIT, or raise maxRows: ${shortened(sql)}`,
          { context: { maxRows } },
        );
      }
      rows.push(row);
      if ((rows.length & 255) === 0) assertWanted(cancelled);
    }
    return { type: 'query', result: { columns, rows } };
  } catch (thrown) {
    throw statementError(thrown, sql);
  }
}

/** Rows in key order with exact values: text that may not be UTF-8 is read again as bytes. */
function* rowsOf(table: ReadTable, where: string, parameters: readonly SqliteValue[]): Generator<Row> {
  const sql = `SELECT ${table.columns.join(', ')} FROM ${table.from} ${where} ORDER BY ${table.orderBy}`;
  const exact = `SELECT ${table.columns.map((name) => `CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) END`).join(', ')} FROM ${table.from} ${where} ORDER BY ${table.orderBy} LIMIT 1 OFFSET `;
  let index = 0;
  for (const row of db.prepare(sql, 'exact array').iterate(...parameters) as IterableIterator<Value[]>) {
    if (row.some((value) => typeof value === 'string' && value.includes(REPLACEMENT))) {
      const bytes = db.prepare(`${exact}${index}`, 'exact array').get(...parameters) as readonly Value[];
      for (let column = 0; column < row.length; column++) {
        const value = row[column];
        const raw = bytes[column];
        if (typeof value === 'string' && raw instanceof Uint8Array && !Buffer.from(value, 'utf8').equals(raw))
          row[column] = new TaggedValue('raw-text', raw);
      }
    }
    for (let column = 0; column < row.length; column++) row[column] = canonical(row[column] as Value);
    yield row;
    index++;
  }
}

function checksumOf(table: ReadTable, cancelled: Int32Array): TableChecksum {
  const hash = createHash('sha256');
  let rows = 0;
  for (const row of rowsOf(table, '', [])) {
    encoder.append(row);
    rows++;
    if (encoder.byteLength < HASH_BYTES) continue;
    hash.update(encoder.take());
    assertWanted(cancelled);
  }
  hash.update(encoder.take());
  return { table: table.name, rows, checksum: hash.digest('hex') };
}

function runChecksum(
  { tables, replica }: Extract<ReadRequest, { type: 'checksum' }>,
  cancelled: Int32Array,
): ReadResult {
  // One read transaction: position, vector and rows are of one moment.
  db.exec('BEGIN');
  try {
    const state = db
      .prepare(
        'SELECT position_generation AS generation, position_seq AS seq, own_counter AS own FROM _antiphon_state',
      )
      .get() as {
      generation: string;
      seq: number;
      own: number;
    };
    const vector: Record<string, number> = {};
    for (const entry of db.prepare('SELECT origin, counter FROM _antiphon_vector').all() as {
      origin: string;
      counter: number;
    }[]) {
      vector[entry.origin] = entry.counter;
    }
    if (state.own > 0) vector[replica] = state.own;
    const checksums = tables.map((table) => checksumOf(table, cancelled));
    return {
      type: 'checksum',
      report: { position: { generation: state.generation, seq: state.seq }, vector, tables: checksums },
    };
  } finally {
    encoder.take();
    db.exec('ROLLBACK');
  }
}

function runDigests({ table, afterKey, limit }: Extract<ReadRequest, { type: 'digests' }>): ReadResult {
  const bindings = (afterKey ?? []).map((value) => bindingOf(revive(value)));
  const list = bindings.map(({ expression }) => expression).join(', ');
  const where = afterKey === undefined ? '' : `WHERE (${table.keyColumns.join(', ')}) > (${list})`;
  const digests: RowDigest[] = [];
  db.exec('BEGIN');
  try {
    for (const row of rowsOf(
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
    db.exec('ROLLBACK');
  }
  return { type: 'digests', digests };
}

function revive(value: Value | ClonedTaggedValue): Value {
  if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array))
    return new TaggedValue(value.tag, value.bytes);
  return value;
}

function run({ request, cancelled }: ReadMessage): ReadResult {
  assertWanted(cancelled);
  if (request.type === 'query') return runQuery(request, cancelled);
  if (request.type === 'checksum') return runChecksum(request, cancelled);
  return runDigests(request);
}

port.on('message', (message: ReadMessage) => {
  let reply: ReadReply;
  try {
    reply = { id: message.id, ok: true, result: run(message) };
  } catch (thrown) {
    const { code, message: text, context } = toAntiphonError(storeError(thrown, 'reading failed'));
    reply = { id: message.id, ok: false, code, message: text, context: { ...context } };
  }
  port.postMessage(reply);
});
