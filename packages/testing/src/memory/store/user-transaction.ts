import { AntiphonError, claimOf, type Row, type Value } from '@antiphon/core';
import { changedColumns, type CapturedChange } from './capture.js';
import type { MemoryDatabase } from './database.js';
import type { DatabaseTransaction } from './database-transaction.js';
import { inKeyOrder, keyText, keyTextOf } from './key-order.js';
import type { ReplicaRecord } from './replica-record.js';
import { nextKey } from './sequence.js';
import { CAPTURED, rowsOf } from './spaces.js';
import type { CompiledTable } from './table.js';

/** A row that a write locked, whether it is there or not. */
export interface LockedRow {
  readonly table: string;
  readonly key: Row;
}

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
  /**
   * A synchronous write that is certified is rejected when another one that was committed first changed the row with this primary key:
   * one value, or the list of them. Does nothing elsewhere. Throws BAD_OPTION as well.
   */
  lock(table: string, key: Value | Row): void;
}

/** Works on the visible rows and captures every change of a replicated table, whoever runs it. */
export class UserTransaction implements MemoryTransaction {
  readonly #locks: LockedRow[] = [];

  constructor(
    private readonly database: MemoryDatabase,
    private readonly transaction: DatabaseTransaction,
    private readonly record: ReplicaRecord | undefined,
    /** Its number among the writers of this database. */
    readonly writer: number,
    private readonly by: 'library' | 'others',
  ) {}

  get locks(): readonly LockedRow[] {
    return this.#locks;
  }

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

  lock(name: string, key: Value | Row): void {
    if (!this.#replicated(name))
      throw new AntiphonError('UNKNOWN_TABLE', `this replica does not replicate a table ${name}`, {
        context: { table: name },
      });
    const { schema } = this.database.table(name, this.transaction);
    const values = isRow(key) ? [...key] : [key];
    if (values.length !== schema.key.length || values.includes(null)) {
      throw new AntiphonError(
        'BAD_OPTION',
        `a lock on a row of ${name} needs a value for each of the ${schema.key.length} columns of its primary key`,
        { context: { table: name } },
      );
    }
    // A value that cannot be claimed rejects this write now, and not the whole group later.
    claimOf('row', name, values, 'shared');
    this.#locks.push({ table: name, key: values });
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
    const refusal = this.#replicated(name) ? this.#refusal(name) : undefined;
    if (refusal !== undefined) throw new AntiphonError('NOT_WRITABLE', refusal, { context: { table: name } });
    return table;
  }

  #refusal(name: string): string | undefined {
    const { writes, primary } = this.record ?? {};
    if (writes === 'refuse')
      return `this replica does not accept writes to ${name}; write to ${primary ?? 'the primary'}`;
    if (writes === 'library' && this.by === 'others')
      return `${name} belongs to a synchronous cluster, and another program cannot wait for it; write through the replica`;
    return undefined;
  }

  #replicated(name: string): boolean {
    return this.record?.schema.tables.some((table) => table.name === name) === true;
  }
}

function isRow(key: Value | Row): key is Row {
  return Array.isArray(key);
}
