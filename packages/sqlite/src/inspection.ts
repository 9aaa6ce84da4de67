import { foldName, INDEX_KEY_RULE, REQUESTS_TABLE } from '@antiphon/core';
import { conversionObstacle, referencesIn, type References } from './converted-keys.js';
import type { Connection } from './connection.js';
import { defaultExpression } from './default-value.js';
import { isMetadataName, METADATA_PREFIX, quoteName } from './identifiers.js';
import type {
  Affinity,
  ForeignKey,
  IndexedColumn,
  LocalColumn,
  LocalTable,
  UniqueIndex,
} from './local-table.js';
import { makingObstacle } from './making-obstacle.js';
import { rowRules } from './row-rules.js';
import { tokenize } from './trigger-guard.js';
import { readTriggers } from './user-triggers.js';

/**
 * The outbox holds an old and a new value of each column beside five of its own, and SQLite allows
 * a table 2000 columns.
 */
export const MAX_COLUMNS = 997;
const BUILT_IN_COLLATIONS = new Set(['BINARY', 'NOCASE', 'RTRIM']);

/** https://www.sqlite.org/lang_createtable.html#rowid */
const ROWID_NAMES = ['rowid', '_rowid_', 'oid'] as const;

export type TableInspection =
  | { readonly type: 'supported'; readonly table: LocalTable }
  | {
      readonly type: 'unsupported';
      readonly table: LocalTable;
      readonly reason: string;
      /**
       * A program keeps rows there; false for what is made from other tables, as an index for full
       * text.
       */
      readonly isData: boolean;
    };

interface ListedTable {
  readonly name: string;
  readonly type: 'table' | 'view' | 'virtual' | 'shadow';
  readonly strict: number;
  /** 1 for WITHOUT ROWID. */
  readonly wr: number;
}

interface ListedColumn {
  readonly name: string;
  readonly type: string;
  readonly notnull: number;
  readonly dflt_value: string | null;
  readonly pk: number;
  /** 0 ordinary, 1 hidden column of a virtual table, 2 and 3 generated. */
  readonly hidden: number;
}

export function affinityOf(declaredType: string, strict: boolean): Affinity {
  const type = declaredType.toUpperCase();
  if (strict && type === 'ANY') return 'none';
  if (type.includes('INT')) return 'integer';
  if (/CHAR|CLOB|TEXT/.test(type)) return 'text';
  if (type === '' || type.includes('BLOB')) return 'none';
  if (/REAL|FLOA|DOUB/.test(type)) return 'real';
  return 'numeric';
}

function listTables(connection: Connection): ListedTable[] {
  const listed = connection
    .statement(`SELECT name, type, strict, wr FROM pragma_table_list WHERE schema = 'main'`)
    .all() as ListedTable[];
  return listed
    .filter(
      ({ name, type }) =>
        type !== 'view' &&
        !name.toLowerCase().startsWith('sqlite_') &&
        (!isMetadataName(name) || name === REQUESTS_TABLE),
    )
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What follows the WHERE of a partial index, which comes after its list of columns. */
function partialCondition(sql: string | null): string | undefined {
  const tokens = tokenize(sql ?? '');
  let depth = 0;
  for (const [at, { text, quoted, end }] of tokens.entries()) {
    if (quoted) continue;
    if (text === '(') depth++;
    else if (text === ')') depth--;
    else if (depth === 0 && text.toUpperCase() === 'WHERE' && tokens[at - 1]?.text === ')')
      // Without a comment behind it, which would swallow what others put there.
      return sql?.slice(end, tokens.at(-1)?.end).trim();
  }
  return undefined;
}

function readIndex(
  connection: Connection,
  name: string,
  columns: readonly LocalColumn[],
): readonly IndexedColumn[] | undefined {
  const parts = connection
    .statement('SELECT cid, name, coll FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno')
    .all(name) as {
    cid: number;
    name: string | null;
    coll: string;
  }[];
  const indexed: IndexedColumn[] = [];
  for (const part of parts) {
    const column = part.name === null ? -1 : columns.findIndex((candidate) => candidate.name === part.name);
    if (column < 0) return undefined;
    indexed.push({ column, collation: part.coll });
  }
  return indexed;
}

interface Indexes {
  /** Of the primary key, or of the unique index that takes its place. */
  readonly key: readonly IndexedColumn[] | undefined;
  /** Without the key's. */
  readonly unique: readonly UniqueIndex[];
  readonly unsupported: string | undefined;
}

/**
 * Constraints before indexes, the oldest first: an index that is created later is the last. The
 * schema does not list the primary key of a table WITHOUT ROWID.
 */
function readIndexes(
  connection: Connection,
  table: string,
  columns: readonly LocalColumn[],
  hasPrimaryKey: boolean,
): Indexes {
  const listed = connection
    .statement(
      `SELECT l.name, l."unique", l.origin, l.partial FROM pragma_index_list(?) AS l
         LEFT JOIN sqlite_schema AS s ON s.type = 'index' AND s.name = l.name
       ORDER BY l.origin = 'c', s.rowid`,
    )
    .all(table) as {
    name: string;
    unique: number;
    origin: string;
    partial: number;
  }[];
  let key: readonly IndexedColumn[] | undefined;
  let unsupported: string | undefined;
  const unique: UniqueIndex[] = [];
  for (const index of listed) {
    if (index.unique === 0) continue;
    const indexed = readIndex(connection, index.name, columns);
    if (indexed === undefined) {
      unsupported = `its unique index ${index.name} is on an expression or a generated column, so Antiphon cannot see which rows REPLACE deletes through it`;
      continue;
    }
    const odd = indexed.find(({ collation }) => !BUILT_IN_COLLATIONS.has(collation.toUpperCase()));
    if (odd !== undefined)
      unsupported = `its index ${index.name} uses the collation ${odd.collation}, which only the program that defines it can compare with`;
    const isKey = hasPrimaryKey
      ? index.origin === 'pk'
      : key === undefined && index.partial === 0 && indexed.every(({ column }) => columns[column]?.notNull);
    if (isKey) {
      key = indexed;
      continue;
    }
    const sql = connection
      .statement(`SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?`, 'value')
      .get(index.name) as string | null;
    const where = index.partial === 0 ? undefined : partialCondition(sql);
    if (index.partial !== 0 && where === undefined)
      unsupported = `the condition of its partial index ${index.name} cannot be read; write it more plainly`;
    unique.push({ name: index.name, columns: indexed, ...(where === undefined ? {} : { where }) });
  }
  return { key, unique: unique.sort((a, b) => (a.name < b.name ? -1 : 1)), unsupported };
}

function readForeignKeys(
  connection: Connection,
  table: string,
  columns: readonly LocalColumn[],
): readonly ForeignKey[] {
  const rows = connection
    .statement(
      'SELECT id, "table", "from", "to", on_delete AS action FROM pragma_foreign_key_list(?) ORDER BY id, seq',
    )
    .all(table) as { id: number; table: string; from: string; to: string | null; action: string }[];
  const ids = [...new Set(rows.map(({ id }) => id))];
  return ids.flatMap((id) => {
    const parts = rows.filter((row) => row.id === id);
    const parentNames = parts.flatMap(({ to }) => to ?? []);
    const names = parts.map(({ from }) => from);
    const from = names.map((name) => {
      const index = columns.findIndex((column) => column.name === name);
      return index < 0 ? undefined : index;
    });
    const [first] = parts;
    if (first === undefined) return [];
    const actsOnDelete = first.action !== 'NO ACTION' && first.action !== 'RESTRICT';
    const foreignKey = { parent: first.table, names, columns: from, actsOnDelete };
    return [parentNames.length === parts.length ? { ...foreignKey, parentNames } : foreignKey];
  });
}

function hasKeyActions(connection: Connection, table: string): boolean {
  const actions = connection
    .statement('SELECT on_update, on_delete FROM pragma_foreign_key_list(?)', 'array')
    .all(table) as [string, string][];
  return actions.flat().some((action) => !['NO ACTION', 'RESTRICT'].includes(action));
}

/** By the words alone: to suspect too much costs a look at a row. */
function mixesConflictClauses(connection: Connection, table: string): boolean {
  const sql = connection
    .statement(`SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?`, 'value')
    .get(table) as string | undefined;
  const words = tokenize(sql ?? '').map(({ text }) => text.toUpperCase());
  const clauses = words.filter((_, at) => words[at - 1] === 'CONFLICT');
  return clauses.includes('REPLACE') && (clauses.includes('FAIL') || clauses.includes('IGNORE'));
}

/** A column of the table, also a generated one, takes its name from the row's number. */
function rowidName(columns: readonly ListedColumn[]): string | undefined {
  const taken = new Set(columns.map(({ name }) => name.toLowerCase()));
  return ROWID_NAMES.find((name) => !taken.has(name));
}

function unsupportedReason(
  connection: Connection,
  listed: ListedTable,
  table: LocalTable,
  indexes: Indexes,
  references: References,
): string | undefined {
  if (listed.type === 'virtual') return 'it is a virtual table; its content lives outside of ordinary rows';
  if (listed.type === 'shadow') return 'it belongs to a virtual table';
  if (table.key.length === 0)
    return 'it has no primary key and no unique index of NOT NULL columns, so a row cannot be told from another: add a PRIMARY KEY';
  if (table.columns.length > MAX_COLUMNS)
    return `it has ${table.columns.length} columns, and ${MAX_COLUMNS} is the most that can be captured: split it`;
  return (
    indexes.unsupported ?? conversionObstacle(references, table) ?? makingObstacle(connection, listed.name)
  );
}

function inspectTable(connection: Connection, listed: ListedTable, references: References): TableInspection {
  const all = connection
    .statement('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid')
    .all(listed.name) as ListedColumn[];
  const plain = all.filter(({ hidden }) => hidden === 0);
  const columns = plain.map((column): LocalColumn => ({
    name: column.name,
    declaredType: column.type,
    affinity: affinityOf(column.type, listed.strict !== 0),
    notNull: column.notnull !== 0,
    ...(column.dflt_value === null ? {} : { defaultSql: defaultExpression(column.dflt_value) }),
  }));
  const ordered = plain
    .map(({ pk }, column) => ({ pk, column }))
    .filter(({ pk }) => pk > 0)
    .sort((a, b) => a.pk - b.pk);
  const indexes =
    listed.type === 'table'
      ? readIndexes(connection, listed.name, columns, ordered.length > 0)
      : { key: undefined, unique: [], unsupported: undefined };
  const rowidKey = indexes.key === undefined && ordered.length === 1;
  const hiddenRowid = listed.wr === 0 && !rowidKey ? rowidName(all) : undefined;
  const table: LocalTable = {
    name: listed.name,
    columns,
    hasGeneratedColumns: plain.length !== all.length,
    key: indexes.key ?? ordered.map(({ column }) => ({ column, collation: 'BINARY' })),
    rowidKey,
    hasRowid: listed.wr === 0,
    ...(hiddenRowid === undefined ? {} : { hiddenRowid }),
    uniqueIndexes: indexes.unique,
    foreignKeys: listed.type === 'table' ? readForeignKeys(connection, listed.name, columns) : [],
    hasKeyActions: listed.type === 'table' && hasKeyActions(connection, listed.name),
    isActedUpon: (references.get(foldName(listed.name)) ?? []).some(({ actsOnDelete }) => actsOnDelete),
    mixesConflictClauses: listed.type === 'table' && mixesConflictClauses(connection, listed.name),
    rules:
      listed.type === 'table'
        ? [...rowRules(connection, listed), ...indexKeyRule(indexes.key, ordered.length > 0, columns)].sort()
        : [],
    hasTriggers: readTriggers(connection, [listed.name]).length > 0,
  };
  const reason = unsupportedReason(connection, listed, table, indexes, references);
  return reason === undefined
    ? { type: 'supported', table }
    : { type: 'unsupported', table, reason, isData: listed.type === 'table' };
}

/**
 * Which index is the key of a table without a primary key, the database decides, and another
 * replica's may decide otherwise: of two with the same columns, each compares them in its own way.
 */
function indexKeyRule(
  key: readonly IndexedColumn[] | undefined,
  hasPrimaryKey: boolean,
  columns: readonly LocalColumn[],
): readonly string[] {
  if (key === undefined || hasPrimaryKey) return [];
  const parts = key.map(
    ({ column, collation }) => `${quoteName(columns[column]?.name ?? '')} COLLATE ${collation.toUpperCase()}`,
  );
  return [`${INDEX_KEY_RULE}(${parts.join(', ')})`];
}

/**
 * The users' tables by name, without what belongs to virtual ones; `only` keeps these, and may name
 * the table of requests.
 */
export function inspectTables(connection: Connection, only?: readonly string[]): TableInspection[] {
  const wanted = only === undefined ? undefined : new Set(only.map(foldName));
  const references = referencesIn(connection, affinityOf);
  return listTables(connection)
    .filter(({ name, type }) =>
      wanted === undefined ? type !== 'shadow' && name !== REQUESTS_TABLE : wanted.has(foldName(name)),
    )
    .map((listed) => inspectTable(connection, listed, references));
}

export function countRows(connection: Connection, table: string): number {
  return connection.statement(`SELECT count(*) FROM ${quoteName(table)}`, 'value').get() as number;
}

export function hasMetadata(connection: Connection): boolean {
  const name = `${METADATA_PREFIX}state`;
  return (
    connection.statement(`SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?`).get(name) !==
    undefined
  );
}
