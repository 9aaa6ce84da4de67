import type { Row, Store, WriteRequest } from '@antiphon/core';
import {
  memoryDatabase,
  MemoryStore,
  type MemoryTable,
  type MemoryTransaction,
} from '../memory/store/index.js';
import type { RowOperation, StoreHarness } from './store-harness.js';

/** The conformance harness of the in-memory store. */
export class MemoryStoreHarness implements StoreHarness<MemoryTransaction> {
  readonly #stores: Store<MemoryTransaction>[] = [];

  constructor(
    private readonly make: (options: ConstructorParameters<typeof MemoryStore>[0]) => MemoryStore = (
      options,
    ) => new MemoryStore(options),
  ) {}

  open(tables: readonly MemoryTable[]): Promise<Store<MemoryTransaction>> {
    return Promise.resolve(this.#opened(this.make({ database: memoryDatabase({ tables }) })));
  }

  async reopen(store: Store<MemoryTransaction>): Promise<Store<MemoryTransaction>> {
    await store.close();
    return this.#opened(this.make({ database: memory(store).database }));
  }

  crash(store: Store<MemoryTransaction>): Promise<Store<MemoryTransaction>> {
    memory(store).crash();
    return Promise.resolve(this.#opened(this.make({ database: memory(store).database })));
  }

  request(operations: readonly RowOperation[]): WriteRequest<MemoryTransaction> {
    return { run: (tx) => perform(tx, operations) };
  }

  writeOutside(store: Store<MemoryTransaction>, operations: readonly RowOperation[]): Promise<void> {
    return Promise.resolve().then(() => memory(store).database.writeOutside((tx) => perform(tx, operations)));
  }

  rows(store: Store<MemoryTransaction>, table: string): Promise<readonly Row[]> {
    return Promise.resolve(memory(store).database.rows(table));
  }

  async dispose(): Promise<void> {
    for (const store of this.#stores) await store.close();
  }

  #opened(store: MemoryStore): MemoryStore {
    this.#stores.push(store);
    return store;
  }
}

function memory(store: Store<MemoryTransaction>): MemoryStore {
  if (store instanceof MemoryStore) return store;
  throw new TypeError('not a memory store');
}

function perform(tx: MemoryTransaction, operations: readonly RowOperation[]): void {
  for (const operation of operations) {
    if (operation.op === 'put') tx.put(operation.table, operation.row);
    else if (operation.op === 'delete') tx.delete(operation.table, operation.key);
    else throw new Error('the writer gave up');
  }
}
