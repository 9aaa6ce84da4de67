import { createHash } from 'node:crypto';
import {
  encodeCanonicalRow,
  type ChecksumReport,
  type RowDigest,
  type TableChecksum,
  type Value,
} from '@antiphon/core';
import type { MemoryDatabase } from './database.js';
import { compareRows, keyOf } from './key-order.js';
import type { ReplicaRecord } from './replica-record.js';

export function checksumOf(
  database: MemoryDatabase,
  record: ReplicaRecord,
  tables?: readonly string[],
): ChecksumReport {
  const names = tables ?? record.schema.tables.map(({ name }) => name);
  return {
    position: record.position,
    vector: record.vector,
    tables: names.map((name) => checksumTable(database, name)),
  };
}

function checksumTable(database: MemoryDatabase, table: string): TableChecksum {
  const hash = createHash('sha256');
  const rows = database.rows(table);
  for (const row of rows) hash.update(encodeCanonicalRow(row));
  return { table, rows: rows.length, checksum: hash.digest('hex') };
}

export function digestRows(
  database: MemoryDatabase,
  table: string,
  afterKey: readonly Value[] | undefined,
  limit: number,
): readonly RowDigest[] {
  const { schema } = database.table(table);
  const digests: RowDigest[] = [];
  for (const row of database.rows(table)) {
    if (digests.length >= limit) break;
    const key = keyOf(schema, row);
    if (afterKey !== undefined && compareRows(key, afterKey) <= 0) continue;
    digests.push({ key, digest: createHash('sha256').update(encodeCanonicalRow(row)).digest('hex') });
  }
  return digests;
}
