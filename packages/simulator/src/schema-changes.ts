import type { Random } from '@antiphon/testing';
import type { SchemaEditor } from './disk/other-program.js';
import type { SimulatedNode, World } from './node.js';
import { attempting, withoutNullKeys } from './random-tables.js';
import { list, quote, randomStatement, randomTrigger, type Table } from './schema/index.js';

/** A mistake is noticed, and taken back, after so long at most. */
const LONGEST_WRONG_MS = 4000;
const TIDY_MS = 1000;
/**
 * What these changes make is named so; it is found by that after a restart, and in an older copy.
 */
const BY_HAND = 'by hand';
/** Triggers of users have numbers below. */
const FIRST_TRIGGER = 100;

type Change = (editor: SchemaEditor) => void;

const KINDS = [
  ...(['index', 'statistics', 'vacuum', 'trigger', 'unique index', 'column', 'rename'] as const),
  ...(['rebuild', 'rebuild', 'bulk load', 'bulk load', 'drop and make again'] as const),
] as const;

/**
 * Other programs change the schema of one database, whether its replica runs or not: harmlessly, by
 * mistake and for a while, or in a way that leaves changes uncaptured.
 */
export class SchemaChanges {
  #number = 0;

  constructor(
    private readonly world: World,
    private readonly nodes: readonly SimulatedNode[],
    private readonly tables: readonly Table[],
    private readonly random: Random,
    private readonly note: (event: string) => void,
  ) {}

  change(node: SimulatedNode): void {
    const kind = this.random.pick(KINDS);
    const table = this.random.pick(this.tables);
    const what = `${kind} of ${table.name}`;
    const change = this.#chosen(kind, table, ++this.#number);
    const thenVacuum = this.random.chance(0.3);
    const delayMs = this.random.int(1, LONGEST_WRONG_MS);
    if (node.memberSinceMs === undefined) return;
    const done = this.#attempt(node, what, change);
    if (done && (kind === 'vacuum' || (kind === 'bulk load' && thenVacuum))) this.#vacuum(node);
    if (done) this.world.clock.setTimer(delayMs, () => this.#tidy(node));
  }

  /** From now on every second: what is wrong may come back with an older copy. */
  keepTidy(): void {
    for (const node of this.nodes) this.#tidy(node);
    this.world.clock.setTimer(TIDY_MS, () => this.keepTidy());
  }

  #tidy(node: SimulatedNode): void {
    if (node.database.busy || !isUntidy(node)) return;
    this.#attempt(node, 'tidied up', tidyUp);
  }

  #vacuum(node: SimulatedNode): void {
    try {
      node.database.vacuum();
      this.note(`${node.id} vacuum`);
    } catch (thrown) {
      this.note(`${node.id} vacuum failed: ${String(thrown)}`);
    }
  }

  #attempt(node: SimulatedNode, what: string, change: Change): boolean {
    try {
      node.database.migrate(change);
      this.note(`${node.id} ${what}`);
      return true;
    } catch (thrown) {
      this.note(`${node.id} ${what} failed: ${String(thrown)}`);
      return false;
    }
  }

  #chosen(kind: (typeof KINDS)[number], table: Table, number: number): Change {
    const { random } = this;
    const name = quote(table.name);
    const column = quote(random.pick(table.columns).name);
    const index = quote(`${BY_HAND} ${number}`);
    const writes = Array.from({ length: random.int(1, 3) }, () => randomStatement(random, [table]));
    // Rows that nobody can tell apart cannot be recaptured.
    const statements = [...writes, ...withoutNullKeys(table)];
    const trigger = randomTrigger(random, this.tables, FIRST_TRIGGER + number);
    const withView = random.chance(0.4);
    const only =
      (...sql: readonly string[]): Change =>
      (editor) =>
        sql.forEach((statement) => editor.run(statement));
    switch (kind) {
      case 'index':
        return only(`CREATE INDEX ${index} ON ${name} (${column})`);
      case 'unique index':
        return only(`CREATE UNIQUE INDEX ${index} ON ${name} (${column})`);
      case 'statistics':
        return only('ANALYZE', 'REINDEX');
      case 'vacuum':
        return only();
      case 'trigger':
        return only(trigger);
      case 'column':
        return only(`ALTER TABLE ${name} ADD COLUMN ${quote(BY_HAND)} TEXT`);
      case 'rename':
        return only(`ALTER TABLE ${name} RENAME TO ${quote(`${table.name} ${BY_HAND}`)}`);
      case 'rebuild':
        return (editor) => rebuild(editor, table, statements);
      case 'bulk load':
        return (editor) => loadInBulk(editor, table, statements, withView);
      case 'drop and make again':
        return (editor) => makeAgain(editor, table, statements);
    }
  }
}

/** As SQLite's documentation advises, which leaves our triggers behind. */
function rebuild(editor: SchemaEditor, table: Table, statements: readonly string[]): void {
  const name = quote(table.name);
  const interim = quote(`${table.name} new`);
  const columns = list(table.columns.map(({ name: column }) => column));
  const { sql, belongings } = definitionOf(editor, table);
  editor.run(sql.replace(`CREATE TABLE ${name}`, `CREATE TABLE ${interim}`));
  editor.run(`INSERT INTO ${interim} (${columns}) SELECT ${columns} FROM ${name}`);
  editor.run(`DROP TABLE ${name}`);
  editor.run(`ALTER TABLE ${interim} RENAME TO ${name}`);
  for (const belonging of belongings) editor.run(belonging);
  attempting((statement) => editor.run(statement), statements);
}

function makeAgain(editor: SchemaEditor, table: Table, statements: readonly string[]): void {
  const { sql, belongings } = definitionOf(editor, table);
  editor.run(`DROP TABLE ${quote(table.name)}`);
  for (const statement of [sql, ...belongings]) editor.run(statement);
  attempting((statement) => editor.run(statement), statements);
}

/**
 * Without triggers it is faster; afterwards they are put back with the same text, and the views
 * with them.
 */
function loadInBulk(
  editor: SchemaEditor,
  table: Table,
  statements: readonly string[],
  withView: boolean,
): void {
  const objects = `SELECT type, name, sql FROM sqlite_schema WHERE name GLOB '_antiphon_*'`;
  const triggers = editor.read(`${objects} AND type = 'trigger' AND tbl_name = ? ORDER BY rowid`, table.name);
  const views = withView ? editor.read(`${objects} AND type = 'view' ORDER BY rowid`) : [];
  const dropped = [...triggers, ...views];
  for (const [type, name] of dropped) editor.run(`DROP ${String(type)} ${quote(String(name))}`);
  attempting((statement) => editor.run(statement), statements);
  for (const [, , sql] of dropped) editor.run(String(sql));
}

/** What makes it again, and then its indexes and the triggers of users. */
function definitionOf(
  editor: SchemaEditor,
  { name }: Table,
): { readonly sql: string; readonly belongings: readonly string[] } {
  const [[sql] = []] = editor.read(`SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?`, name);
  if (typeof sql !== 'string') throw new RangeError(`there is no table ${name}`);
  const belongings = editor.read(
    `SELECT sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND tbl_name = ? AND sql IS NOT NULL
     AND name NOT GLOB '_antiphon_*' ORDER BY rowid`,
    name,
  );
  return { sql, belongings: belongings.map(([text]) => String(text)) };
}

const UNTIDY = `SELECT type, name, tbl_name FROM sqlite_schema WHERE sql IS NOT NULL AND (name GLOB '*${BY_HAND}*'
  OR type = 'table' AND sql GLOB '*"${BY_HAND}"*'
  OR type = 'trigger' AND name NOT GLOB '_antiphon_*' AND name GLOB '*[0-9][0-9][0-9]')`;

function isUntidy({ database }: SimulatedNode): boolean {
  return database.read(UNTIDY).length > 0;
}

function tidyUp(editor: SchemaEditor): void {
  for (const [type, found] of editor.read(UNTIDY)) {
    const name = String(found);
    if (type !== 'table') editor.run(`DROP ${String(type)} ${quote(name)}`);
    else if (name.endsWith(BY_HAND))
      editor.run(`ALTER TABLE ${quote(name)} RENAME TO ${quote(name.slice(0, -BY_HAND.length - 1))}`);
  }
  for (const [, name] of editor.read(UNTIDY))
    editor.run(`ALTER TABLE ${quote(String(name))} DROP COLUMN ${quote(BY_HAND)}`);
}
