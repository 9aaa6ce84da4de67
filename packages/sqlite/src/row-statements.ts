import type { Row, Value } from '@antiphon/core';
import type { Connection } from './connection.js';
import { isBindFailure } from './errors.js';
import { quoteName } from './identifiers.js';
import {
  collated,
  columnName,
  keyBytesOftenDiffer,
  mayBeLeastReal,
  type TrackedTable,
} from './local-table.js';
import { bindingOf, type SqliteValue } from './values.js';

/** Rows per statement: each size is one cached statement per table. */
const SIZES = [64, 16, 4, 1] as const;
const MAX_PARAMETERS = 32_000;

export type RowSize = (typeof SIZES)[number];

/** Cuts `count` rows into statements of the cached sizes, biggest first. */
export function nextSize(count: number, parametersPerRow: number): RowSize {
  for (const size of SIZES) if (size <= count && size * parametersPerRow <= MAX_PARAMETERS) return size;
  return 1;
}

/** Writes whole rows of one table into it, by key; on a connection whose guard row is set. */
export class RowStatements {
  readonly #upserts = new Map<RowSize, string>();
  readonly #deletes = new Map<RowSize, string>();
  readonly #parameters = new Map<number, SqliteValue[]>();
  readonly #keys: readonly number[];
  /** Those of them in which the least integer may be a REAL. */
  readonly #ofTwoForms: readonly number[];

  constructor(
    private readonly connection: Connection,
    readonly table: TrackedTable,
  ) {
    this.#keys = table.key.map(({ column }) => column);
    this.#ofTwoForms = table.key.filter((part) => mayBeLeastReal(table, part)).map(({ column }) => column);
  }

  /** Inserts the rows, or gives the rows with their keys this content. */
  upsert(rows: readonly Row[]): void {
    const width = this.table.columns.length;
    for (let from = 0; from < rows.length;) {
      const size = nextSize(rows.length - from, width);
      const parameters = this.#parameterArray(size * width);
      for (let index = 0, at = 0; index < size; index++) {
        const row = rows[from + index] as Row;
        for (let column = 0; column < width; column++) parameters[at++] = row[column] as SqliteValue;
      }
      try {
        this.connection.statement(this.#upsert(size)).run(...parameters);
      } catch (thrown) {
        if (!isBindFailure(thrown)) throw thrown;
        for (let index = 0; index < size; index++) this.#upsertOne(rows[from + index] as Row);
      }
      from += size;
    }
    if (this.#ofTwoForms.length > 0) for (const row of rows) this.#giveForm(row);
  }

  /**
   * The row that was there keeps its key, and this one may be the same in another form: setting it
   * for every row would cost half as much again.
   */
  #giveForm(row: Row): void {
    if (!this.#ofTwoForms.some((column) => isLeastInteger(row[column]))) return;
    const { table } = this;
    const bindings = this.#keys.map((column) => bindingOf(row[column] as Value));
    const expressions = bindings.map(({ expression }) => expression);
    const set = this.#keys.map(
      (column, index) => `${columnName(table, column)} = ${expressions[index] ?? '?'}`,
    );
    const values = bindings.map(({ value }) => value);
    this.connection
      .statement(
        `UPDATE OR ABORT ${quoteName(table.name)} SET ${set.join(', ')} WHERE ${this.keyCondition(expressions)}`,
      )
      .run(...values, ...values);
  }

  /** As `upsert`, and deletes the rows that hold one of its unique values. */
  replace(row: Row): void {
    const { table } = this;
    const columns = table.columns.map((_, index) => columnName(table, index)).join(', ');
    const bindings = row.map(bindingOf);
    const values = bindings.map(({ expression }) => expression).join(', ');
    const sql = `INSERT OR REPLACE INTO ${quoteName(table.name)} (${columns}) VALUES (${values})`;
    this.connection.statement(sql).run(...bindings.map(({ value }) => value));
  }

  /** Deletes the rows with the keys of these rows, where they are. */
  delete(rows: readonly Row[]): void {
    const width = this.#keys.length;
    for (let from = 0; from < rows.length;) {
      const size = width === 1 ? nextSize(rows.length - from, 1) : 1;
      const parameters = this.#parameterArray(size * width);
      for (let index = 0, at = 0; index < size; index++) {
        const row = rows[from + index] as Row;
        for (const column of this.#keys) parameters[at++] = row[column] as SqliteValue;
      }
      try {
        this.connection.statement(this.#delete(size)).run(...parameters);
      } catch (thrown) {
        if (!isBindFailure(thrown)) throw thrown;
        for (let index = 0; index < size; index++) this.#deleteOne(rows[from + index] as Row);
      }
      from += size;
    }
  }

  /** As the key's own index compares. */
  sameKey(one: Row, other: Row): boolean {
    const bindings = this.table.key.flatMap(({ column }) => [
      bindingOf(one[column] as Value),
      bindingOf(other[column] as Value),
    ]);
    const equal = this.table.key.map((part, index) => {
      const [left = '?', right = '?'] = bindings.slice(2 * index).map(({ expression }) => expression);
      return `${collated(this.table, left, part)} = ${right}`;
    });
    const values = bindings.map(({ value }) => value);
    return this.connection.statement(`SELECT ${equal.join(' AND ')}`, 'value').get(...values) === 1;
  }

  #parameterArray(length: number): SqliteValue[] {
    const known = this.#parameters.get(length);
    if (known !== undefined) return known;
    const created = new Array<SqliteValue>(length).fill(null);
    this.#parameters.set(length, created);
    return created;
  }

  #upsert(size: RowSize): string {
    const known = this.#upserts.get(size);
    if (known !== undefined) return known;
    const tuple = `(${this.table.columns.map(() => '?').join(', ')})`;
    const sql = this.#upsertSql(new Array<string>(size).fill(tuple).join(', '));
    this.#upserts.set(size, sql);
    return sql;
  }

  #upsertSql(tuples: string): string {
    const { table } = this;
    const columns = table.columns.map((_, index) => columnName(table, index));
    const target = table.key.map((part) => collated(table, columnName(table, part.column), part)).join(', ');
    const settable = columns.filter((_, index) => {
      const part = table.key.find(({ column }) => column === index);
      return part === undefined || keyBytesOftenDiffer(table, part);
    });
    const action =
      settable.length === 0
        ? 'NOTHING'
        : `UPDATE SET ${settable.map((name) => `${name} = excluded.${name}`).join(', ')}`;
    // OR ABORT: a conflict clause of the table itself must not delete or skip rows silently here. A
    // table may be called `excluded`.
    return `INSERT OR ABORT INTO ${quoteName(table.name)} AS _antiphon_row (${columns.join(', ')}) VALUES ${tuples} ON CONFLICT (${target}) DO ${action}`;
  }

  #upsertOne(row: Row): void {
    const bindings = row.map(bindingOf);
    const sql = this.#upsertSql(`(${bindings.map(({ expression }) => expression).join(', ')})`);
    this.connection.statement(sql).run(...bindings.map(({ value }) => value));
  }

  #delete(size: RowSize): string {
    const known = this.#deletes.get(size);
    if (known !== undefined) return known;
    const { table } = this;
    const [first] = table.key;
    let condition: string;
    if (first !== undefined && table.key.length === 1) {
      const list = new Array<string>(size).fill('?').join(', ');
      condition = `${collated(table, columnName(table, first.column), first)} IN (${list})`;
    } else {
      condition = this.keyCondition(table.key.map(() => '?'));
    }
    const sql = `DELETE FROM ${quoteName(table.name)} WHERE ${condition}`;
    this.#deletes.set(size, sql);
    return sql;
  }

  /** `key = …`, as the key's own index compares. */
  keyCondition(expressions: readonly string[]): string {
    const { table } = this;
    return table.key
      .map(
        (part, index) =>
          `${collated(table, columnName(table, part.column), part)} = ${expressions[index] ?? '?'}`,
      )
      .join(' AND ');
  }

  #deleteOne(row: Row): void {
    const bindings = this.#keys.map((column) => bindingOf(row[column] as Value));
    const sql = `DELETE FROM ${quoteName(this.table.name)} WHERE ${this.keyCondition(bindings.map(({ expression }) => expression))}`;
    this.connection.statement(sql).run(...bindings.map(({ value }) => value));
  }
}

function isLeastInteger(value: Value | undefined): boolean {
  return value === -(2n ** 63n) || value === -(2 ** 63);
}
