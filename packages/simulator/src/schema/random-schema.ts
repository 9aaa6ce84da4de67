import { openDatabase } from '@antiphon/sqlite';
import type { Random } from '@antiphon/testing';
import { list, Names, quote } from './names.js';
import { randomTrigger } from './random-trigger.js';
import { columnOf, type Column, type Schema, type Table } from './schema.js';
import { literal, type Kind } from './values.js';

const TYPES: Readonly<Record<Kind, readonly string[]>> = {
  integer: ['INTEGER', 'INT', 'BIGINT', 'BOOLEAN', 'DECIMAL(10, 2)', 'NUMERIC'],
  real: ['REAL', 'DOUBLE', 'FLOAT'],
  text: ['TEXT', 'VARCHAR(9)', 'TEXT', 'CLOB'],
  blob: ['BLOB', 'BLOB', ''],
  any: ['', 'BLOB', 'ANY', 'NUMERIC', '"my type"', 'DATE'],
};
const STRICT_TYPES: Readonly<Record<Kind, string>> = {
  integer: 'INTEGER',
  real: 'REAL',
  text: 'TEXT',
  blob: 'BLOB',
  any: 'ANY',
};
const KINDS: readonly Kind[] = ['integer', 'integer', 'integer', 'text', 'text', 'real', 'blob', 'any'];
const RESOLUTIONS = ['REPLACE', 'IGNORE', 'ABORT', 'FAIL', 'ROLLBACK'] as const;
const PRIMARY_KEY = 'PRIMARY KEY ';
const ACTIONS = ['CASCADE', 'CASCADE', 'SET NULL', 'SET DEFAULT', 'RESTRICT', 'NO ACTION'] as const;

/** What a run's schema may have. */
export interface SchemaWishes {
  /** Several replicas write: tables with unique keys and columns called rowid are refused then. */
  readonly multiWriter: boolean;
  /** Some tables have a unique index in the place of a primary key. */
  readonly indexKeys: boolean;
}

/** SQLite may accept none of the tables that were drawn. */
export function randomSchema(random: Random, wishes: SchemaWishes): Schema {
  for (;;) {
    const schema = draw(random, wishes);
    if (schema.tables.length > 0) return schema;
  }
}

function draw(random: Random, wishes: SchemaWishes): Schema {
  const names = new Names(random);
  const drawn = Array.from({ length: random.pick([1, 2, 2, 3, 4]) }, () =>
    randomTable(random, names.table()),
  );
  const indexes: string[] = [];
  // From chances of their own: what else a seed draws stays what it was.
  const keys = random.fork('keys');
  if (wishes.indexKeys) for (const table of drawn) mayLackPrimaryKey(keys, table, indexes);
  for (const table of drawn) {
    addForeignKeys(random, table, drawn);
    addUniques(random, table, indexes, wishes);
    addIndexes(random, table, indexes);
  }
  const db = openDatabase(':memory:');
  const accepts = (sql: string): boolean => {
    try {
      db.exec(sql);
      return true;
    } catch {
      return false;
    }
  };
  const tables = drawn.filter((table) => accepts(tableDdl(table)));
  const ddl = [...tables.map(tableDdl), ...indexes.filter(accepts)];
  if (tables.length > 0 && random.chance(0.45))
    for (let index = random.int(1, 3); index > 0; index--) ddl.push(randomTrigger(random, tables, index));
  const accepted = ddl.filter((sql) => !sql.startsWith('CREATE TRIGGER') || accepts(sql));
  db.close();
  return { tables, ddl: accepted };
}

function randomTable(random: Random, name: string): Table {
  const names = new Names(random);
  const strict = random.chance(0.15);
  const withoutRowid = random.chance(0.3);
  const shape = random.pick(['rowid', 'rowid', 'rowid', 'one', 'one', 'several'] as const);
  const rowidKey = shape === 'rowid' && !withoutRowid;
  const columns: Column[] = [];
  const add = (kind: Kind, role: 'key' | 'other'): Column => {
    const column = randomColumn(random, names.column(), kind, role, strict);
    columns.push(column);
    return column;
  };
  const before = random.chance(0.3) ? [add(random.pick(KINDS), 'other')] : [];
  const key: Column[] = [];
  if (rowidKey) {
    const extra = random.pick([
      'PRIMARY KEY',
      'PRIMARY KEY',
      'PRIMARY KEY AUTOINCREMENT',
      'PRIMARY KEY ON CONFLICT REPLACE',
    ]);
    const column = {
      name: names.column(),
      kind: 'integer' as const,
      definition: `INTEGER ${extra}`,
      notNull: true,
    };
    columns.push(column);
    key.push(column);
  } else {
    const count = shape === 'several' ? random.int(2, 3) : 1;
    for (let index = 0; index < count; index++) key.push(add(random.pick(KINDS), 'key'));
  }
  for (let count = random.int(before.length === 0 ? 1 : 0, 4); count > 0; count--)
    add(random.pick(KINDS), 'other');
  const constraints: string[] = [];
  if (!rowidKey) {
    const parts = key.map(({ name: part, kind }) => {
      const collation =
        kind === 'text' && random.chance(0.25) ? ` COLLATE ${random.pick(['NOCASE', 'RTRIM'])}` : '';
      return `${quote(part)}${collation}${random.chance(0.1) ? ' DESC' : ''}`;
    });
    const conflict = random.chance(0.12) ? ` ON CONFLICT ${random.pick(RESOLUTIONS)}` : '';
    constraints.push(
      `PRIMARY KEY (${random.chance(0.2) ? [...parts].reverse().join(', ') : parts.join(', ')})${conflict}`,
    );
  }
  const options = [...(withoutRowid ? ['WITHOUT ROWID'] : []), ...(strict ? ['STRICT'] : [])];
  const table: Table = {
    name,
    columns,
    key: key.map((column) => column.name),
    uniques: [],
    rowidKey,
    constraints,
    suffix: options.join(', '),
  };
  if (random.chance(0.2)) addGenerated(random, table, names, strict);
  return table;
}

function randomColumn(
  random: Random,
  name: string,
  kind: Kind,
  role: 'key' | 'other',
  strict: boolean,
): Column {
  const type = strict ? STRICT_TYPES[kind] : random.pick(TYPES[kind]);
  const parts = [type];
  const notNull = random.chance(role === 'key' ? 0.85 : 0.15);
  if (kind === 'text' && random.chance(0.3))
    parts.push(`COLLATE ${random.pick(['NOCASE', 'NOCASE', 'RTRIM', 'BINARY'])}`);
  const hasDefault = random.chance(role === 'key' ? 0.1 : 0.35);
  if (notNull) parts.push(random.chance(0.2) && hasDefault ? 'NOT NULL ON CONFLICT REPLACE' : 'NOT NULL');
  if (hasDefault) parts.push(`DEFAULT (${literal(random, kind)})`);
  if (role === 'other' && random.chance(0.08))
    parts.push(kind === 'integer' ? `CHECK (${quote(name)} <> 5)` : `CHECK (length(${quote(name)}) < 3)`);
  return { name, kind, definition: parts.filter((part) => part !== '').join(' '), notNull };
}

/** A unique constraint or index may take the place of a primary key that has no NULL. */
function mayLackPrimaryKey(random: Random, table: Table, indexes: string[]): void {
  const at = table.constraints.findIndex((constraint) => constraint.startsWith(PRIMARY_KEY));
  const constraint = table.constraints[at];
  if (constraint === undefined || table.suffix.includes('WITHOUT ROWID')) return;
  if (!table.key.every((name) => columnOf(table, name).notNull) || !random.chance(0.3)) return;
  const columns = constraint.slice(PRIMARY_KEY.length);
  if (random.chance(0.5)) {
    table.constraints[at] = `UNIQUE ${columns}`;
    return;
  }
  const parts = columns.replace(/ ON CONFLICT \w+$/, '');
  table.constraints.splice(at, 1);
  indexes.push(
    `CREATE UNIQUE INDEX ${quote(`u${indexes.length} of ${table.name}`)} ON ${quote(table.name)} ${parts}`,
  );
}

/** Not among the columns: nobody writes to it. */
function addGenerated(random: Random, table: Table, names: Names, strict: boolean): void {
  const of = random.pick(table.columns);
  const expression = random.pick([
    `${quote(of.name)} || 'g'`,
    `typeof(${quote(of.name)})`,
    `coalesce(${quote(of.name)}, 'none') || ''`,
  ]);
  const stored = random.pick(['STORED', 'VIRTUAL']);
  table.constraints.unshift(
    `${quote(names.column())}${strict ? ' TEXT' : random.pick([' TEXT', ''])} AS (${expression}) ${stored}`,
  );
}

function addForeignKeys(random: Random, table: Table, tables: readonly Table[]): void {
  if (random.chance(0.35)) return;
  for (let count = random.pick([1, 1, 2]); count > 0; count--) {
    const parent = random.chance(0.4) ? table : random.pick(tables);
    const target = [
      ...(parent.uniques.length > 0 && random.chance(0.3) ? random.pick(parent.uniques).columns : parent.key),
    ];
    const used = new Set<string>();
    const columns = target.map((name) => {
      const { kind, definition } = columnOf(parent, name);
      const fitting = table.columns.filter(
        (column) =>
          column.kind === kind && !used.has(column.name) && (column.name !== name || parent !== table),
      );
      const chosen =
        fitting.length > 0 && random.chance(0.75)
          ? random.pick(fitting)
          : addChild(random, table, kind, definition);
      used.add(chosen.name);
      return chosen.name;
    });
    const deferred = random.chance(0.3) ? ' DEFERRABLE INITIALLY DEFERRED' : '';
    const actions = `ON DELETE ${random.pick(ACTIONS)} ON UPDATE ${random.pick(ACTIONS)}`;
    const hasPrimaryKey = parent.rowidKey || parent.constraints.some((text) => text.startsWith(PRIMARY_KEY));
    const plain = hasPrimaryKey && target.join() === parent.key.join();
    const named = random.chance(0.8) || !plain ? ` (${list(target)})` : '';
    table.constraints.push(
      `FOREIGN KEY (${list(columns)}) REFERENCES ${quote(parent.name)}${named} ${actions}${deferred}`,
    );
    if (random.chance(0.25)) {
      table.uniques.push({ columns });
      table.constraints.push(`UNIQUE (${list(columns)})`);
    }
  }
}

function addChild(random: Random, table: Table, kind: Kind, parentDefinition: string): Column {
  const type = /^[A-Z]*/.exec(parentDefinition)?.[0] ?? '';
  const fallback = random.chance(0.4) ? ` DEFAULT (${literal(random, kind)})` : '';
  const known = new Set(table.columns.map(({ name }) => name.toLowerCase()));
  let name = random.pick(['ref', 'up', 'prev', 'o2', 'n2', 'REF2']);
  while (known.has(name.toLowerCase())) name += '_';
  const plain = ['INTEGER', 'TEXT', 'REAL', 'BLOB', 'ANY', 'INT'].includes(type) ? type : '';
  const column = { name, kind, definition: `${plain}${fallback}`, notNull: false };
  table.columns.push(column);
  return column;
}

function addUniques(random: Random, table: Table, indexes: string[], { multiWriter }: SchemaWishes): void {
  const named = table.columns.some(({ name }) => ['rowid', 'oid', '_rowid_'].includes(name.toLowerCase()));
  if (multiWriter && named && random.chance(0.9)) return;
  if (random.chance(multiWriter ? 0.2 : 0.3)) return;
  const open = table.columns.filter(({ name }) => !table.key.includes(name));
  for (let count = random.pick([1, 1, 2, 3]); count > 0 && open.length > 0; count--) {
    const columns = [
      ...new Set(Array.from({ length: random.pick([1, 1, 2]) }, () => random.pick(open).name)),
    ];
    const form = random.pick(['constraint', 'constraint', 'index', 'partial'] as const);
    const parts = columns.map((name) => {
      const collation = form !== 'constraint' && columnOf(table, name).kind === 'text' && random.chance(0.4);
      return `${quote(name)}${collation ? ` COLLATE ${random.pick(['NOCASE', 'RTRIM'])}` : ''}`;
    });
    if (form === 'constraint') {
      const conflict = random.chance(0.15) ? ` ON CONFLICT ${random.pick(RESOLUTIONS)}` : '';
      table.constraints.push(`UNIQUE (${parts.join(', ')})${conflict}`);
      table.uniques.push({ columns });
      continue;
    }
    const over = random.pick(table.columns);
    const where =
      form === 'partial'
        ? ` WHERE ${random.pick([`${quote(over.name)} IS NOT NULL`, `${quote(over.name)} > ${literal(random, over.kind)}`])}`
        : '';
    indexes.push(
      `CREATE UNIQUE INDEX ${quote(`u${indexes.length} of ${table.name}`)} ON ${quote(table.name)} (${parts.join(', ')})${where}`,
    );
    if (where === '') table.uniques.push({ columns, target: parts.join(', ') });
  }
}

function addIndexes(random: Random, table: Table, indexes: string[]): void {
  if (random.chance(0.75)) return;
  const { name, kind } = random.pick(table.columns);
  const part = random.pick([
    quote(name),
    `${quote(name)} DESC`,
    `lower(${quote(name)})`,
    kind === 'text' ? `${quote(name)} COLLATE NOCASE` : quote(name),
  ]);
  indexes.push(
    `CREATE INDEX ${quote(`i${indexes.length} of ${table.name}`)} ON ${quote(table.name)} (${part})`,
  );
}

function tableDdl(table: Table): string {
  const generated = table.constraints.filter((constraint) => / AS \(.*\) (STORED|VIRTUAL)$/.test(constraint));
  const others = table.constraints.filter((constraint) => !generated.includes(constraint));
  const columns = table.columns.map(({ name, definition }) => `${quote(name)} ${definition}`);
  return `CREATE TABLE ${quote(table.name)} (${[...columns, ...generated, ...others].join(', ')})${table.suffix === '' ? '' : ` ${table.suffix}`}`;
}
