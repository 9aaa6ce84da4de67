import { AntiphonError, type Row } from '@antiphon/core';
import { changedColumns, type CapturedChange } from './capture.js';
import type { MemoryDatabase } from './database.js';
import type { DatabaseTransaction } from './database-transaction.js';
import { inKeyOrder, keyText, keyTextOf } from './key-order.js';
import type { ReplicaRecord } from './replica-record.js';
import { nextKey } from './sequence.js';
import { CAPTURED, rowsOf } from './spaces.js';
import type { CompiledTable } from './table.js';

/** What a write to a memory store works with. Throws CONSTRAINT, NOT_WRITABLE, UNKNOWN_TABLE. */
export interface MemoryTransaction {
  /** Inserts the row, or replaces the one with its key. */
  put(table: string, row: Row): void;
  /** Like `put`, and deletes the rows that hold one of its unique values: SQL's INSERT OR REPLACE. */
  replace(table: string, row: Row): void;
  /** Nothing happens when there is no such row. Returns whether there was. */
  delete(table: string, key: Row): boolean;
  get(table: string, key: Row): Row | undefined;
  /** In key order. */
  all(table: string): readonly Row[];
}

/** Works on the visible rows and captures every change of a replicated table, whoever runs it. */
export class UserTransaction implements MemoryTransaction {
  constructor(
    private readonly database: MemoryDatabase,
    private readonly transaction: DatabaseTransaction,
    private readonly record: ReplicaRecord | undefined,
    /** Its number among the writers of this database. */
    readonly writer: number,
  ) {}

  put(name: string, row: Row): void {
    const table = this.#writable(name);
    table.check(row);
    const colliding = this.#colliding(table, row);
    if (colliding.length > 0) {
      throw new AntiphonError('CONSTRAINT', `table ${name}: another row holds one of its unique values`, {
        context: { table: name },
      });
    }
    this.#store(table, row);
  }

  replace(name: string, row: Row): void {
    const table = this.#writable(name);
    table.check(row);
    for (const old of this.#colliding(table, row)) this.#remove(table, keyTextOf(table.schema, old));
    this.#store(table, row);
  }

  delete(name: string, key: Row): boolean {
    return this.#remove(this.#writable(name), keyText(key));
  }

  get(name: string, key: Row): Row | undefined {
    return this.transaction.get(rowsOf(this.database.table(name, this.transaction).name), keyText(key));
  }

  all(name: string): readonly Row[] {
    const { schema } = this.database.table(name, this.transaction);
    return inKeyOrder(
      schema,
      [...this.transaction.entries(rowsOf(name))].map(([, row]) => row),
    );
  }

  #store(table: CompiledTable, given: Row): void {
    // The caller may use its byte arrays again.
    const row = given.map((value) => (value instanceof Uint8Array ? value.slice() : value));
    const key = keyTextOf(table.schema, row);
    const old = this.transaction.get(rowsOf(table.name), key);
    if (old !== undefined && changedColumns(row, old).length === 0) return;
    this.transaction.put(rowsOf(table.name), key, row);
    this.#capture({
      writer: this.writer,
      table: table.name,
      op: old === undefined ? 'insert' : 'update',
      row,
      old,
    });
  }

  #remove(table: CompiledTable, key: string): boolean {
    const old = this.transaction.get(rowsOf(table.name), key);
    if (old === undefined) return false;
    this.transaction.delete(rowsOf(table.name), key);
    this.#capture({ writer: this.writer, table: table.name, op: 'delete', row: old, old: undefined });
    return true;
  }

  #capture(change: CapturedChange): void {
    if (!this.#replicated(change.table)) return;
    this.transaction.put(CAPTURED, nextKey(this.transaction, 'captured'), change);
  }

  /** Rows of another key that hold one of the row's unique values. */
  #colliding(table: CompiledTable, row: Row): readonly Row[] {
    if (!table.hasUnique) return [];
    const key = keyTextOf(table.schema, row);
    const wanted = table.uniqueTexts(row);
    const collides = (other: Row): boolean =>
      table.uniqueTexts(other).some((text, index) => text !== undefined && text === wanted[index]);
    const others = [...this.transaction.entries(rowsOf(table.name))].filter(([otherKey]) => otherKey !== key);
    return others.map(([, other]) => other).filter(collides);
  }

  #writable(name: string): CompiledTable {
    const table = this.database.table(name, this.transaction);
    if (this.record?.writes === 'refuse' && this.#replicated(name)) {
      throw new AntiphonError(
        'NOT_WRITABLE',
        `this replica does not accept writes to ${name}; write to ${this.record.primary ?? 'the primary'}`,
        { context: { table: name } },
      );
    }
    return table;
  }

  #replicated(name: string): boolean {
    return this.record?.schema.tables.some((table) => table.name === name) === true;
  }
}
