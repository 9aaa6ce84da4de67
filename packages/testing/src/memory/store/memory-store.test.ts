import { HybridClock, type InstallOptions, type PreparedGroup } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Random } from '../../clock/random.js';
import { VirtualClock } from '../../clock/virtual-clock.js';
import { Faults } from '../../faults/faults.js';
import {
  memoryDatabase,
  memoryStore,
  type MemoryDatabase,
  type MemoryStore,
  type MemoryTransaction,
} from './index.js';

const TABLE = { name: 't', columns: ['id', 'v'], key: ['id'] } as const;

async function open(
  database: MemoryDatabase,
  faults = Faults.none(),
  clock = new VirtualClock(),
  changes: Partial<InstallOptions> = {},
): Promise<MemoryStore> {
  const store = memoryStore({ database, faults, clock });
  const { tables, ddl } = await store.inspect();
  const schema = { version: 1, tables: tables.map((table) => table.schema), ddl };
  const identity = { cluster: 'c', replica: 'a', generation: 'g', schemaVersion: 1 };
  const options: InstallOptions = {
    identity,
    schema,
    writes: 'capture',
    rowVersions: true,
    createTables: false,
    sealExistingRows: true,
    durable: false,
    ...changes,
  };
  await store.install(options, new HybridClock(clock));
  return store;
}

async function prepare(store: MemoryStore, id: bigint): Promise<PreparedGroup> {
  const request = { run: (tx: MemoryTransaction) => tx.put('t', [id, 'x']) };
  const group = await store.prepare([request], { token: 'token', maxBytes: 10_000, certified: true });
  if (group === undefined) throw new Error('nothing was captured');
  return group;
}

const at = (seq: number): { generation: string; seq: number } => ({ generation: 'g', seq });

describe('the in-memory store', () => {
  it('I1: leaves nothing of a transaction that was open when the process was killed', async () => {
    const database = memoryDatabase({ tables: [TABLE] });
    const clock = new VirtualClock();
    const faults = new Faults(new Random(1));
    const store = await open(database, faults, clock);
    faults.set({ maxStoreMs: 10 });
    void store.write([{ run: (tx) => tx.put('t', [1n, 'x']) }]);
    await clock.settle();
    expect(database.busy).toBe(true);
    store.crash();
    expect(database.busy).toBe(false);
    expect(database.rows('t')).toEqual([]);
    const again = await open(database);
    expect((await again.write([{ run: (tx) => tx.put('t', [2n, 'y']) }]))[0]).toMatchObject({
      id: { counter: 1 },
    });
  });

  it('takes the newest commits back when the power fails, the oldest of them last', async () => {
    const database = memoryDatabase({ tables: [TABLE] });
    const store = await open(database);
    for (let id = 1n; id <= 4n; id++) await store.write([{ run: (tx) => tx.put('t', [id, 'x']) }]);
    store.crash();
    expect(database.powerLoss(2)).toHaveLength(2);
    expect(database.rows('t').map(([id]) => id)).toEqual([1n, 2n]);
    expect((await open(database)).state().lastCounter).toBe(2);
    database.sync();
    expect(database.powerLoss(10)).toEqual([]);
  });

  it('shows readers only what is committed', async () => {
    const database = memoryDatabase({ tables: [TABLE] });
    const transaction = database.begin();
    const user = database.userTransaction(transaction, 'others');
    user.put('t', [1n, 'x']);
    expect(user.all('t')).toHaveLength(1);
    expect(database.rows('t')).toEqual([]);
    expect(() => database.writeOutside((tx) => tx.put('t', [2n, 'y']))).toThrow(
      expect.objectContaining({ code: 'STORE_BUSY' }) as Error,
    );
    transaction.commit();
    expect(database.rows('t')).toHaveLength(1);
    await Promise.resolve();
  });

  it('refuses what a unique value forbids, and replaces when asked to', async () => {
    const database = memoryDatabase({ tables: [{ ...TABLE, unique: [['v']] }] });
    const store = await open(database);
    await store.write([{ run: (tx) => tx.put('t', [1n, 'taken']) }]);
    const [refused] = await store.write([{ run: (tx) => tx.put('t', [2n, 'taken']) }]);
    expect(refused).toMatchObject({ type: 'rejected', error: { code: 'CONSTRAINT' } });
    await store.write([{ run: (tx) => tx.replace('t', [2n, 'taken']) }]);
    expect(database.rows('t')).toEqual([[2n, 'taken']]);
  });

  it('I6: a power loss takes nothing of what a durable replica committed', async () => {
    const database = memoryDatabase({ tables: [TABLE] });
    const store = await open(database, Faults.none(), new VirtualClock(), { durable: true });
    await store.write([{ run: (tx) => tx.put('t', [1n, 'x']) }]);
    store.markPublished(1, at(1));
    await (await prepare(store, 2n)).commit(at(2));
    await prepare(store, 3n);
    store.crash();
    expect(database.powerLoss(10)).toEqual([]);
    expect(database.rows('t').map(([id]) => id)).toEqual([1n, 2n]);
    const again = await open(database);
    expect(again.state()).toMatchObject({ lastCounter: 2, publishedCounter: 2, position: at(2) });
    expect(await again.outcomes(0, 10)).toHaveLength(1);
  });

  it('I1: nothing of a group is there when its commit fails, and the transaction is over', async () => {
    const database = memoryDatabase({ tables: [TABLE] });
    const faults = new Faults(new Random(1));
    const store = await open(database, faults);
    for (const fault of ['storeBusy', 'storeFull'] as const) {
      const group = await prepare(store, 1n);
      faults.set({ [fault]: 1 });
      const code = fault === 'storeBusy' ? 'STORE_BUSY' : 'STORE_FULL';
      await expect(group.commit(at(1))).rejects.toMatchObject({ code });
      await expect(prepare(store, 1n)).rejects.toMatchObject({ code });
      faults.set({ [fault]: 0 });
      expect(database.busy).toBe(false);
      expect(database.rows('t')).toEqual([]);
      expect(store.state()).toMatchObject({ lastCounter: 0, position: at(0) });
    }
    await (await prepare(store, 1n)).commit(at(1));
    expect(database.rows('t')).toHaveLength(1);
  });

  it('I3: keeps what is marked as published while a group is prepared, whatever becomes of it', async () => {
    const database = memoryDatabase({ tables: [TABLE] });
    const clock = new VirtualClock();
    const store = await open(database, Faults.none(), clock);
    await store.write([{ run: (tx) => tx.put('t', [1n, 'x']) }]);
    const group = await prepare(store, 2n);
    store.markPublished(1, at(1));
    await clock.advance(1000);
    expect(database.busy).toBe(true);
    await group.rollback();
    await clock.advance(1000);
    store.crash();
    const state = (await open(database)).state();
    expect(state).toMatchObject({ lastCounter: 1, publishedCounter: 1, position: at(1) });
  });

  it('I1: a group of a store that was closed or killed is gone', async () => {
    const database = memoryDatabase({ tables: [TABLE] });
    for (const end of ['close', 'crash'] as const) {
      const store = await open(database);
      const group = await prepare(store, 1n);
      expect(() => database.writeOutside((tx) => tx.put('t', [2n, 'y']))).toThrow('another transaction');
      await store[end]();
      await expect(group.commit(at(1))).rejects.toMatchObject({ code: 'CLOSED' });
      await group.rollback();
      expect(database.busy).toBe(false);
      expect(database.rows('t')).toEqual([]);
    }
  });
});
