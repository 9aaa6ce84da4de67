import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';
import { nameOf, tokenize } from './trigger-guard.js';

type Token = ReturnType<typeof tokenize>[number];

const TABLE_CONSTRAINTS = new Set(['CONSTRAINT', 'PRIMARY', 'UNIQUE', 'CHECK', 'FOREIGN']);

interface Listed {
  readonly name: string;
  readonly strict: number;
  readonly wr: number;
}

/**
 * Everything about a table that decides whether it takes a row, in words and in one form however it
 * was written. Replicas that differ in any of it would one day refuse what another has committed.
 */
export function rowRules(connection: Connection, { name, strict, wr }: Listed): string[] {
  const sql = connection
    .statement(`SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?`, 'value')
    .get(name) as string | undefined;
  const tokens = tokenize(sql ?? '');
  return [
    ...(strict === 0 ? [] : ['STRICT']),
    ...(wr === 0 ? [] : ['WITHOUT ROWID']),
    ...columnRules(connection, name, tokens),
    ...uniqueRules(connection, name),
    ...foreignKeyRules(connection, name),
    ...tokens.flatMap((_, at) => (isWord(tokens[at], 'CHECK') ? [`CHECK ${group(tokens, at + 1)}`] : [])),
  ].sort();
}

/** Rules that only one of the two has; undefined when there are none. */
export function rulesDifference(
  expected: readonly string[] | undefined,
  here: readonly string[] | undefined,
): string | undefined {
  if (expected === undefined || here === undefined) return undefined;
  const onlyHere = here.filter((rule) => !expected.includes(rule));
  const onlyThere = expected.filter((rule) => !here.includes(rule));
  const parts = [
    ...(onlyHere.length > 0 ? [`only here: ${onlyHere.join(', ')}`] : []),
    ...(onlyThere.length > 0 ? [`only in the cluster: ${onlyThere.join(', ')}`] : []),
  ];
  return parts.length === 0 ? undefined : parts.join('; ');
}

function columnRules(connection: Connection, table: string, tokens: readonly Token[]): string[] {
  const columns = connection
    .statement('SELECT name, "notnull" AS required, hidden FROM pragma_table_xinfo(?) ORDER BY cid')
    .all(table) as { name: string; required: number; hidden: number }[];
  const definitions = new Map(
    parts(tokens).flatMap((part) =>
      part[0] === undefined || TABLE_CONSTRAINTS.has(plainWord(part[0]))
        ? []
        : [[nameOf(part[0]).toLowerCase(), part] as const],
    ),
  );
  return columns.flatMap(({ name, required, hidden }) => {
    const part = definitions.get(name.toLowerCase()) ?? [];
    const rules = required === 0 ? [] : [`${quoteName(name)} NOT NULL`];
    const collate = part.findIndex((token) => isWord(token, 'COLLATE'));
    const collation = part[collate + 1];
    if (collate >= 0 && collation !== undefined && nameOf(collation).toUpperCase() !== 'BINARY')
      rules.push(`${quoteName(name)} COLLATE ${nameOf(collation).toUpperCase()}`);
    const as = part.findIndex((token) => isWord(token, 'AS'));
    if (hidden > 1) rules.push(`${quoteName(name)} GENERATED AS ${group(part, as + 1)}`);
    return rules;
  });
}

function uniqueRules(connection: Connection, table: string): string[] {
  const indexes = connection
    .statement('SELECT name, origin FROM pragma_index_list(?) WHERE "unique" = 1')
    .all(table) as { name: string; origin: string }[];
  return indexes.map(({ name, origin }) => {
    const keys = connection
      .statement('SELECT name, coll FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno', 'array')
      .all(name) as [string | null, string][];
    const sql = connection
      .statement(`SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?`, 'value')
      .get(name) as string | null | undefined;
    const tokens = tokenize(sql ?? '');
    const columns = keys
      .map(
        ([column, collation]) =>
          `${column === null ? 'an expression' : quoteName(column)} COLLATE ${collation.toUpperCase()}`,
      )
      .join(', ');
    const expression = keys.some(([column]) => column === null)
      ? ` of ${group(
          tokens,
          tokens.findIndex(({ text }) => text === '('),
        )}`
      : '';
    const where = tokens.findIndex((token) => isWord(token, 'WHERE'));
    const condition = where < 0 ? '' : ` WHERE ${normal(tokens.slice(where + 1))}`;
    return `${origin === 'pk' ? 'PRIMARY KEY' : 'UNIQUE'} (${columns})${expression}${condition}`;
  });
}

function foreignKeyRules(connection: Connection, table: string): string[] {
  const rows = connection
    .statement(
      'SELECT id, "table" AS parent, "from" AS child, "to" AS target, on_update AS onUpdate, on_delete AS onDelete FROM pragma_foreign_key_list(?) ORDER BY id, seq',
    )
    .all(table) as {
    id: number;
    parent: string;
    child: string;
    target: string | null;
    onUpdate: string;
    onDelete: string;
  }[];
  return [...new Set(rows.map(({ id }) => id))].map((id) => {
    const own = rows.filter((row) => row.id === id);
    const children = own.map(({ child }) => quoteName(child)).join(', ');
    const targets = own.flatMap(({ target }) => (target === null ? [] : [quoteName(target)])).join(', ');
    const { parent = '', onUpdate = '', onDelete = '' } = own[0] ?? {};
    return `FOREIGN KEY (${children}) REFERENCES ${quoteName(parent)} (${targets}) ON UPDATE ${onUpdate} ON DELETE ${onDelete}`;
  });
}

/** The definitions in the parentheses of a table, each without the comma. */
function parts(tokens: readonly Token[]): Token[][] {
  const found: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (token.text === ')' && --depth === 0) break;
    if (depth === 1 && token.text === ',') found.push([]);
    else if (depth > 0) found.at(-1)?.push(token);
    if (token.text === '(') depth++;
  }
  return found;
}

/** An expression in parentheses that begins at `from`. */
function group(tokens: readonly Token[], from: number): string {
  let depth = 0;
  for (let at = from; at >= 0 && at < tokens.length; at++) {
    if (tokens[at]?.text === '(') depth++;
    else if (tokens[at]?.text === ')' && --depth === 0) return normal(tokens.slice(from, at + 1));
  }
  return normal(tokens.slice(Math.max(0, from)));
}

function normal(tokens: readonly Token[]): string {
  return tokens
    .map((token) => (token.quoted && token.text.startsWith("'") ? token.text : nameOf(token).toLowerCase()))
    .join(' ');
}

function isWord(token: Token | undefined, word: string): boolean {
  return token !== undefined && plainWord(token) === word;
}

function plainWord(token: Token): string {
  return token.quoted ? '' : token.text.toUpperCase();
}
