import type { Random } from '@antiphon/testing';
import { list, quote } from './names.js';
import type { Column, Table, UniqueKey } from './schema.js';
import { looseLiteral, literal } from './values.js';

const OR = [
  '',
  '',
  '',
  ' OR REPLACE',
  ' OR REPLACE',
  ' OR IGNORE',
  ' OR IGNORE',
  ' OR FAIL',
  ' OR ABORT',
  ' OR ROLLBACK',
] as const;

export function randomStatement(random: Random, tables: readonly Table[]): string {
  const table = random.pick(tables);
  const rowid = hiddenRowid(table);
  if (rowid !== undefined && random.chance(0.08)) return renumber(random, table, rowid);
  switch (random.int(0, 11)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return insert(random, table);
    case 4:
      return upsert(random, table);
    case 5:
    case 6:
    case 7:
      return update(random, table);
    case 8:
      return shift(random, table);
    case 9:
      return random.chance(0.15)
        ? `DELETE FROM ${quote(table.name)}`
        : `DELETE FROM ${quote(table.name)} WHERE ${condition(random, table)}`;
    case 10:
      return copy(random, table);
    default:
      return `DELETE FROM ${quote(table.name)} WHERE ${condition(random, table)}`;
  }
}

/** After it SQLite numbers rows at random, and two databases never alike. */
const LAST_ROWID = '9223372036854775807';

function values(random: Random, table: Table, columns: readonly Column[]): string {
  const literals = columns.map(({ name, kind, notNull }) => {
    const value = looseLiteral(random, kind, !notNull);
    return value === LAST_ROWID && table.rowidKey && table.key.includes(name) ? '4294967297' : value;
  });
  return `(${literals.join(', ')})`;
}

/** Mostly all of them, in their order. */
function chosenColumns(random: Random, table: Table): readonly Column[] {
  if (random.chance(0.7)) return table.columns;
  const chosen = table.columns.filter(
    ({ name, notNull }) => (table.key.includes(name) && !table.rowidKey) || notNull || random.chance(0.6),
  );
  return chosen.length === 0 ? table.columns : chosen;
}

function insert(random: Random, table: Table): string {
  const columns = chosenColumns(random, table);
  const rows = Array.from({ length: random.pick([1, 1, 2, 3]) }, () => values(random, table, columns));
  const verb = random.chance(0.1) ? 'REPLACE' : `INSERT${random.pick(OR)}`;
  return `${verb} INTO ${quote(table.name)} (${list(columns.map(({ name }) => name))}) VALUES ${rows.join(', ')}`;
}

const ROWID_NAMES = ['rowid', '_rowid_', 'oid'];

/**
 * A name for the number that its rows have besides the key; undefined when they have none, or none
 * with a name.
 */
function hiddenRowid(table: Table): string | undefined {
  if (table.rowidKey || table.suffix.includes('WITHOUT ROWID')) return undefined;
  const taken = new Set(table.columns.map(({ name }) => name.toLowerCase()));
  return ROWID_NAMES.find((name) => !taken.has(name));
}

/** Takes the number of another row, or moves one. */
function renumber(random: Random, table: Table, rowid: string): string {
  const number = random.pick([-1, 1, 1, 2, 3, 5]);
  if (random.chance(0.4)) {
    const value = random.chance(0.4) ? `${rowid} + ${number}` : `${number}`;
    return `UPDATE${random.pick(OR)} ${quote(table.name)} SET ${rowid} = ${value} WHERE ${condition(random, table)}`;
  }
  const names = list(table.columns.map(({ name }) => name));
  const row = values(random, table, table.columns).replace('(', `(${number}, `);
  return `INSERT${random.pick(OR)} INTO ${quote(table.name)} (${rowid}, ${names}) VALUES ${row}`;
}

function upsert(random: Random, table: Table): string {
  const rows = Array.from({ length: random.pick([1, 2]) }, () => values(random, table, table.columns));
  const keys: readonly UniqueKey[] = [{ columns: table.key }, ...table.uniques];
  const key = random.pick(keys);
  const target = random.chance(0.1) ? '' : ` (${key.target ?? list(key.columns)})`;
  const action =
    target === '' || random.chance(0.25)
      ? 'NOTHING'
      : `UPDATE SET ${assignments(random, table, true)}${where(random, table, 0.2)}`;
  const or = random.chance(0.15) ? ' OR REPLACE' : '';
  const into = `INSERT${or} INTO ${quote(table.name)} (${namesOf(table)})`;
  return `${into} VALUES ${rows.join(', ')} ON CONFLICT${target} DO ${action}`;
}

function namesOf(table: Table): string {
  return list(table.columns.map(({ name }) => name));
}

/** Often enough; else for every row. */
function where(random: Random, table: Table, chance: number): string {
  return random.chance(chance) ? ` WHERE ${condition(random, table)}` : '';
}

function assignments(random: Random, table: Table, inUpsert: boolean): string {
  const columns = [
    ...new Set(Array.from({ length: random.pick([1, 1, 2, 3]) }, () => random.pick(table.columns))),
  ];
  return columns
    .map((column) => {
      const fitting = table.columns.filter(({ kind }) => kind === column.kind);
      const other = quote(random.pick(fitting).name);
      const name = quote(column.name);
      const value = random.pick([
        () => looseLiteral(random, column.kind, !column.notNull),
        () => looseLiteral(random, column.kind, !column.notNull),
        () => (inUpsert ? `excluded.${other}` : other),
        () => (column.kind === 'integer' ? `${name} + 1` : column.kind === 'text' ? `upper(${name})` : name),
        () => (column.kind === 'text' ? `substr(${name} || 'b', 1, 2)` : `- ${name}`),
      ])();
      // Of the row that is there, which an upsert must name.
      const named = (): string => value.replaceAll(name, `${quote(table.name)}.${name}`);
      return `${name} = ${inUpsert && !value.startsWith('excluded') ? named() : value}`;
    })
    .join(', ');
}

function update(random: Random, table: Table): string {
  const where = random.chance(0.25) ? '' : ` WHERE ${condition(random, table)}`;
  return `UPDATE${random.pick(OR)} ${quote(table.name)} SET ${assignments(random, table, false)}${where}`;
}

/** Keys that take each other's place, and unique values that change hands. */
function shift(random: Random, table: Table): string {
  const keys = [table.key, ...table.uniques.map(({ columns }) => columns)];
  const column =
    table.columns.find(({ name }) => name === random.pick(random.pick(keys))) ?? random.pick(table.columns);
  const name = quote(column.name);
  const [one, two] = [literal(random, column.kind), literal(random, column.kind)];
  const value =
    column.kind === 'integer' && random.chance(0.6)
      ? `${name} ${random.pick(['+', '-'])} ${random.int(1, 2)}`
      : `CASE ${name} WHEN ${one} THEN ${two} WHEN ${two} THEN ${one} ELSE ${name} END`;
  const set = `UPDATE${random.pick(OR)} ${quote(table.name)} SET ${name} = ${value}`;
  return random.chance(0.5) ? set : `${set} WHERE ${condition(random, table)}`;
}

function copy(random: Random, table: Table): string {
  const columns = table.columns.map((column) => {
    if (random.chance(table.key.includes(column.name) ? 0.7 : 0.2))
      return column.kind === 'integer'
        ? `${quote(column.name)} + ${random.int(1, 3)}`
        : literal(random, column.kind);
    return quote(column.name);
  });
  const into = `INSERT${random.pick(OR)} INTO ${quote(table.name)} (${namesOf(table)})`;
  return `${into} SELECT ${columns.join(', ')} FROM ${quote(table.name)} WHERE ${condition(random, table)}`;
}

function condition(random: Random, table: Table): string {
  const column = random.pick(table.columns);
  const name = quote(column.name);
  switch (random.int(0, 6)) {
    case 0:
    case 1:
      return `${name} = ${literal(random, column.kind)}`;
    case 2:
      return `${name} ${random.pick(['<', '>', '<>', '>='])} ${literal(random, column.kind)}`;
    case 3:
      return `${name} IN (${literal(random, column.kind)}, ${literal(random, column.kind)})`;
    case 4:
      return `${name} IS ${random.chance(0.5) ? 'NULL' : 'NOT NULL'}`;
    case 5:
      return `${name} = (SELECT ${random.pick(['max', 'min'])}(${name}) FROM ${quote(table.name)})`;
    default: {
      const key = quote(random.pick(table.key));
      const { kind = 'any' } = table.columns.find((one) => quote(one.name) === key) ?? {};
      return `${key} = ${literal(random, kind)}`;
    }
  }
}
