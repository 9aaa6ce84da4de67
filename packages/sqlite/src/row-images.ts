import { beforeUpdate, type Change, type RescueConflict, type Row, type Value } from '@antiphon/core';
import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { isBindFailure } from './errors.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, keyBytesMayDiffer, type TrackedTable } from './local-table.js';
import { OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_UPDATE } from './outbox-kinds.js';
import type { TableReference } from './references.js';
import { rowHere, type TableMapping } from './table-mapping.js';
import { bindingOf, type SqliteValue } from './values.js';

/** What a row was in front of the first change of several, and behind the last one. */
type Image = 'f' | 'l';

/** Of a row that is not there, the columns of its key only. */
interface RowImage {
  readonly isThere: boolean;
  readonly row: Row;
}

/**
 * Of each row of a table that some changes touch: what it was before all of them, and what the last
 * one made of it. In a temporary table, by the key as the table itself compares it; `f` and `l` say
 * whether there is a row. Columns have no types: values are as they were stored.
 */
export class RowImages {
  readonly #name: string;
  readonly #note: string;
  readonly #delete: string;
  readonly #insert: Readonly<Record<Image, string>>;
  readonly #forgetDone: string;
  readonly #captures: readonly string[];

  constructor(
    private readonly connection: Connection,
    readonly table: TrackedTable,
  ) {
    this.#name = `temp._antiphon_images${table.id}`;
    this.#create();
    this.#note = this.#noteSql(new Array<string>(2 * table.columns.length + 2).fill('?'));
    this.#delete = this.#deleteSql();
    this.#insert = { f: this.#insertSql('f'), l: this.#insertSql('l') };
    this.#forgetDone =
      `DELETE FROM ${this.#name} WHERE rowid IN ` +
      `(SELECT i.rowid FROM ${this.#joined()} WHERE ${this.#isAsLast()})`;
    this.#captures = this.#captureSql();
  }

  #create(): void {
    const { table } = this;
    this.drop();
    const [first] = table.key;
    const image = (name: Image): string[] => [
      name,
      ...table.columns.map((_, column) =>
        table.rowidKey && name === 'f' && column === first?.column
          ? `f${column} INTEGER PRIMARY KEY`
          : `${name}${column}`,
      ),
    ];
    const unique = table.rowidKey ? '' : `, UNIQUE (${this.#keys('f')})`;
    this.connection.db.exec(
      `CREATE TABLE ${this.#name} (${[...image('f'), ...image('l')].join(', ')}${unique})`,
    );
  }

  drop(): void {
    this.connection.db.exec(`DROP TABLE IF EXISTS ${this.#name}`);
  }

  clear(): void {
    this.connection.statement(`DELETE FROM ${this.#name}`).run();
  }

  #keys(image: Image): string {
    return this.table.key.map((part) => collated(this.table, `${image}${part.column}`, part)).join(', ');
  }

  /** `of`: the name of the images where other rows are there as well, with columns of any name. */
  #columns(image: Image, of = ''): string {
    return this.table.columns.map((_, column) => `${of}${image}${column}`).join(', ');
  }

  #noteSql(values: readonly string[]): string {
    const last = ['l', ...this.table.columns.map((_, column) => `l${column}`)];
    const set = last.map((name) => `${name} = excluded.${name}`).join(', ');
    return (
      `INSERT INTO ${this.#name} (f, ${this.#columns('f')}, ${last.join(', ')}) VALUES (${values.join(', ')}) ` +
      `ON CONFLICT (${this.#keys('f')}) DO UPDATE SET ${set}`
    );
  }

  /** Changes come in their order. */
  note(change: Change, mapping: TableMapping): void {
    const row = rowHere(mapping, change.row);
    switch (change.op) {
      case 'insert':
        return this.#put({ isThere: false, row }, { isThere: true, row });
      case 'delete':
        return this.#put({ isThere: true, row }, { isThere: false, row });
      case 'update':
        return this.#put(
          { isThere: true, row: rowHere(mapping, beforeUpdate(change)) },
          { isThere: true, row },
        );
    }
  }

  #put(first: RowImage, last: RowImage): void {
    const values = [...this.#valuesOf(first), ...this.#valuesOf(last)];
    try {
      this.connection.statement(this.#note).run(...(values as SqliteValue[]));
    } catch (thrown) {
      if (!isBindFailure(thrown)) throw thrown;
      const bindings = values.map(bindingOf);
      this.connection
        .statement(this.#noteSql(bindings.map(({ expression }) => expression)))
        .run(...bindings.map(({ value }) => value));
    }
  }

  #valuesOf({ isThere, row }: RowImage): Value[] {
    if (isThere) return [1n, ...row];
    const isKey = new Set(this.table.key.map(({ column }) => column));
    return [0n, ...row.map((value, column) => (isKey.has(column) ? value : null))];
  }

  get count(): number {
    return this.connection.statement(`SELECT count(*) FROM ${this.#name}`, 'value').get() as number;
  }

  /** Keys of rows that are not what the last change made of them. */
  notAsLast(limit: number): readonly (readonly Value[])[] {
    const keys = this.table.key.map(({ column }) => `i.f${column}`).join(', ');
    return this.connection
      .statement(
        `SELECT ${keys} FROM ${this.#joined()} WHERE NOT (${this.#isAsLast()}) LIMIT ?`,
        'exact array',
      )
      .all(limit) as Value[][];
  }

  /** Images and the rows that are there now. */
  #joined(join = 'LEFT JOIN'): string {
    const same = this.table.key
      .map((part) => {
        const image = collated(this.table, `i.f${part.column}`, part);
        return `r.${columnName(this.table, part.column)} = ${image}`;
      })
      .join(' AND ');
    return `${this.#name} AS i ${join} main.${quoteName(this.table.name)} AS r ON ${same}`;
  }

  #isHere(): string {
    return `r.${columnName(this.table, this.table.key[0]?.column ?? 0)} IS NOT NULL`;
  }

  #isAsLast(): string {
    return this.#isAs('l');
  }

  #isAs(image: Image): string {
    const same = this.#same(image, (column) => `r.${columnName(this.table, column)}`);
    return `CASE WHEN i.${image} THEN ${this.#isHere()} AND ${same} ELSE NOT ${this.#isHere()} END`;
  }

  /** Exact: text by its bytes, and 1 is not 1.0. */
  #same(image: Image, other: (column: number) => string): string {
    const same = this.table.columns.flatMap((_, column) => {
      const [name, value] = [other(column), `i.${image}${column}`];
      return [`${name} IS ${value} COLLATE BINARY`, `typeof(${name}) = typeof(${value})`];
    });
    return balanced(same, 'AND');
  }

  /** In the end, these are what they were. */
  forgetUnchanged(): void {
    const same = this.#same('f', (column) => `i.l${column}`);
    this.connection.db.exec(`DELETE FROM ${this.#name} AS i WHERE i.f = i.l AND (NOT i.f OR (${same}))`);
  }

  /** How many are neither absent nor there as the first change found them; after `forgetDone`. */
  get conflicting(): number {
    const sql = `SELECT count(*) FROM ${this.#joined()} WHERE NOT (${this.#isAs('f')})`;
    return this.connection.statement(sql, 'value').get() as number;
  }

  /** The first of those. */
  conflicts(limit: number): readonly RescueConflict[] {
    const { columns, key, name } = this.table;
    const here = columns.map((_, column) => `r.${columnName(this.table, column)}`).join(', ');
    const images = (['f', 'l'] as const)
      .map((image) => `i.${image}, ${this.#columns(image, 'i.')}`)
      .join(', ');
    const rows = this.connection
      .statement(
        `SELECT ${images}, ${this.#isHere()}, ${here} FROM ${this.#joined()} ` +
          `WHERE NOT (${this.#isAs('f')}) ORDER BY i.rowid LIMIT ?`,
        'exact array',
      )
      .all(limit) as Value[][];
    return rows.map((values) => {
      const width = columns.length + 1;
      const [before, after, now] = [0, 1, 2].map((at) => rowOf(values.slice(at * width, (at + 1) * width)));
      return {
        ...{ table: name, columns: columns.map((column) => column.name) },
        key: key.map(({ column }) => values[1 + column] as Value),
        ...(before && { before }),
        ...(after && { after }),
        ...(now && { here: now }),
      };
    });
  }

  /** How many rows there are now, and how many there are to be. */
  counts(): { readonly here: number; readonly gone: number; readonly there: number } {
    const here = this.#isHere();
    return this.connection
      .statement(
        `SELECT coalesce(sum(${here}), 0) AS here, coalesce(sum(${here} AND NOT i.l), 0) AS gone, ` +
          `coalesce(sum(i.l), 0) AS there FROM ${this.#joined()}`,
      )
      .get() as { here: number; gone: number; there: number };
  }

  /**
   * The rows of which the last image is none, or all of them; without those that another row refers
   * to by one of these references. Returns how many.
   */
  delete(which: 'gone' | 'all', references: readonly TableReference[] = []): number {
    const sql = which === 'all' ? this.#delete : this.#deleteSql(which);
    const isFree = references.map((reference) => ` AND ${this.#isFree(reference)}`).join('');
    return Number(this.connection.statement(sql + isFree).run().changes);
  }

  #isFree({ child, pairs }: TableReference): string {
    const { table } = this;
    const refers = pairs.map(
      ({ name, to }) => `c.${quoteName(name)} = ${collated(table, `t.${columnName(table, to.column)}`, to)}`,
    );
    const isOther = table.key
      .map(({ column }) => columnName(table, column))
      .map((name) => `c.${name} IS NOT t.${name}`)
      .join(' OR ');
    const where = [...refers, ...(child === table ? [`(${isOther})`] : [])].join(' AND ');
    return `NOT EXISTS (SELECT 1 FROM main.${quoteName(child.name)} AS c WHERE ${where})`;
  }

  /** Gives the rows their last image where they are. */
  put(): void {
    const { table } = this;
    const key = table.key.map((part) => collated(table, columnName(table, part.column), part)).join(', ');
    const settable = table.columns.flatMap((_, column) => {
      const part = table.key.find((one) => one.column === column);
      return part === undefined || keyBytesMayDiffer(table, part) ? [columnName(table, column)] : [];
    });
    const set = settable.map((name) => `${name} = excluded.${name}`).join(', ');
    const action = settable.length === 0 ? 'NOTHING' : `UPDATE SET ${set}`;
    this.connection.statement(`${this.#insert.l} ON CONFLICT (${key}) DO ${action}`).run();
  }

  /** Nothing is to be done about rows that are what the last change made of them. */
  forgetDone(): void {
    this.connection.statement(this.#forgetDone).run();
  }

  /**
   * Gives the rows this image. All of them are deleted first: then none of them can be in the way
   * of another, in no unique index.
   */
  restore(image: Image): void {
    this.connection.statement(this.#delete).run();
    this.connection.statement(this.#insert[image]).run();
  }

  #deleteSql(which: 'gone' | 'all' = 'all'): string {
    const { table } = this;
    const [first] = table.key;
    const remove = `DELETE FROM main.${quoteName(table.name)} AS t WHERE`;
    if (first !== undefined && table.key.length === 1) {
      const key = collated(table, `t.${columnName(table, first.column)}`, first);
      return `${remove} ${key} IN (SELECT f${first.column} FROM ${this.#name}${which === 'gone' ? ' WHERE NOT l' : ''})`;
    }
    // A list of columns finds its rows by an index only as its columns compare, which may not be as
    // the key does. So it finds them by what they hold, and those that are meant are picked out.
    const names = table.key.map(({ column }) => columnName(table, column));
    const list = (row: string): string => names.map((name) => `${row}.${name}`).join(', ');
    const isMeant = table.key.map(
      (part, index) => `i.f${part.column} = ${collated(table, `(+t.${names[index] ?? ''})`, part)}`,
    );
    return (
      `${remove} (${list('t')}) IN (SELECT ${list('r')} FROM ${this.#joined('CROSS JOIN')}) ` +
      `AND EXISTS (SELECT 1 FROM ${this.#name} AS i WHERE ${isMeant.join(' AND ')}${which === 'gone' ? ' AND NOT i.l' : ''})`
    );
  }

  #insertSql(image: Image): string {
    const { table } = this;
    const columns = table.columns.map((_, column) => columnName(table, column)).join(', ');
    // OR ABORT: a conflict clause of the table itself must not delete or skip rows silently here. A
    // table may be called `excluded`.
    return (
      `INSERT OR ABORT INTO main.${quoteName(table.name)} AS _antiphon_row (${columns}) ` +
      `SELECT ${this.#columns(image)} FROM ${this.#name} WHERE ${image} ORDER BY rowid`
    );
  }

  /** As triggers would capture it if the last image was written now. */
  capture(): void {
    for (const sql of this.#captures) this.connection.statement(sql).run();
  }

  #captureSql(): string[] {
    const { table } = this;
    const here = table.columns.map((_, column) => `r.${columnName(table, column)}`).join(', ');
    const last = table.columns.map((_, column) => `i.l${column}`).join(', ');
    const images = (prefix: 'n' | 'o'): string =>
      table.columns.map((_, column) => `${prefix}${column}`).join(', ');
    const put = (op: number, columns: string, values: string, where: string): string =>
      `INSERT INTO _antiphon_outbox (t, op, ${columns}) SELECT ${table.id}, ${op}, ${values} ` +
      `FROM ${this.#joined()} WHERE ${where} ORDER BY i.rowid`;
    const isHere = this.#isHere();
    const rekeyed = this.#keyBytesDiffer();
    const both = `${images('n')}, ${images('o')}`;
    return [
      put(OUTBOX_DELETE, images('o'), here, `${isHere} AND (NOT i.l OR ${rekeyed})`),
      put(OUTBOX_UPDATE, both, `${last}, ${here}`, `${isHere} AND i.l AND NOT ${rekeyed}`),
      put(OUTBOX_INSERT, images('n'), last, `i.l AND (NOT ${isHere} OR ${rekeyed})`),
    ];
  }

  /** Of a row that is here: then it goes as a delete and an insert. */
  #keyBytesDiffer(): string {
    const parts = this.table.key
      .filter((part) => keyBytesMayDiffer(this.table, part))
      .map(({ column }) => {
        const name = `r.${columnName(this.table, column)}`;
        return `${name} IS NOT i.l${column} COLLATE BINARY OR typeof(${name}) <> typeof(i.l${column})`;
      });
    return parts.length === 0 ? '0' : `(${balanced(parts, 'OR')})`;
  }
}

function rowOf([isThere, ...row]: readonly Value[]): Row | undefined {
  return isThere === 1n ? row : undefined;
}

/** Of all tables that some transactions change; those of a table come into being with its first. */
export class ImagesOfTables {
  readonly #tables = new Map<number, RowImages>();

  constructor(private readonly connection: Connection) {}

  note(change: Change, mapping: TableMapping): void {
    let images = this.#tables.get(mapping.table.id);
    if (images === undefined) {
      images = new RowImages(this.connection, mapping.table);
      this.#tables.set(mapping.table.id, images);
    }
    images.note(change, mapping);
  }

  [Symbol.iterator](): Iterator<RowImages> {
    return this.#tables.values();
  }

  clear(): void {
    for (const images of this) images.clear();
  }

  /** Also where a rollback has taken some of them along. */
  drop(): void {
    for (const images of this) images.drop();
    this.#tables.clear();
  }
}
