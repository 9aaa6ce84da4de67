import { AntiphonError, type ColumnSchema, type Row, type TableSchema } from '@antiphon/core';
import { keyText, valueAt } from './key-order.js';

/** A table of a memory database, as a user declares it. */
export interface MemoryTable {
  readonly name: string;
  readonly columns: readonly (string | ColumnSchema)[];
  /** Empty: it cannot be replicated. */
  readonly key: readonly string[];
  /** Sets of columns of which no two rows may hold the same values; a null is equal to nothing. */
  readonly unique?: readonly (readonly string[])[];
  /** Columns whose numbers must not be smaller: a CHECK constraint. */
  readonly atLeast?: Readonly<Record<string, number>>;
}

export const MEMORY_ENGINE = 'memory';

/** A table with its column names resolved. */
export class CompiledTable {
  readonly schema: TableSchema;
  readonly unique: readonly (readonly number[])[];
  readonly #minima: readonly (readonly [column: number, least: number])[];

  constructor(readonly declaration: MemoryTable) {
    const columns = declaration.columns.map((column) =>
      typeof column === 'string' ? { name: column, declaredType: '' } : column,
    );
    const indexOf = (name: string): number => {
      const index = columns.findIndex((column) => column.name === name);
      if (index < 0) throw new AntiphonError('BAD_OPTION', `table ${declaration.name} has no column ${name}`);
      return index;
    };
    this.schema = { name: declaration.name, columns, key: declaration.key.map(indexOf) };
    this.unique = (declaration.unique ?? []).map((set) => set.map(indexOf));
    this.#minima = Object.entries(declaration.atLeast ?? {}).map(([name, least]) => [indexOf(name), least]);
  }

  get name(): string {
    return this.schema.name;
  }

  get hasUnique(): boolean {
    return this.unique.length > 0;
  }

  /** The statement that makes this table elsewhere. */
  ddl(): string {
    return JSON.stringify(this.declaration);
  }

  /** Throws CONSTRAINT. */
  check(row: Row): void {
    if (row.length !== this.schema.columns.length) {
      throw this.#violated(`a row has ${row.length} values, the table ${this.schema.columns.length} columns`);
    }
    for (const [column, least] of this.#minima) {
      const value = valueAt(row, column);
      if ((typeof value === 'number' || typeof value === 'bigint') && value < least) {
        throw this.#violated(
          `${this.schema.columns[column]?.name} is ${value}, at least ${least} is allowed`,
        );
      }
    }
  }

  /** One text per unique set; undefined for a set that holds a null, which collides with nothing. */
  uniqueTexts(row: Row): readonly (string | undefined)[] {
    return this.unique.map((set) => {
      const values = set.map((column) => valueAt(row, column));
      return values.includes(null) ? undefined : keyText(values);
    });
  }

  #violated(how: string): AntiphonError {
    return new AntiphonError('CONSTRAINT', `table ${this.name}: ${how}`, { context: { table: this.name } });
  }
}

export function parseTable(statement: string): MemoryTable {
  return JSON.parse(statement) as MemoryTable;
}
