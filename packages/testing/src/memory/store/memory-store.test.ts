import { HybridClock, type InstallOptions } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Random } from '../../clock/random.js';
import { VirtualClock } from '../../clock/virtual-clock.js';
import { Faults } from '../../faults/faults.js';
import { memoryDatabase, memoryStore, type MemoryDatabase, type MemoryStore } from './index.js';

const TABLE = { name: 't', columns: ['id', 'v'], key: ['id'] } as const;

async function open(
  database: MemoryDatabase,
  faults = Faults.none(),
  clock = new VirtualClock(),
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
  };
  await store.install(options, new HybridClock(clock));
  return store;
}

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
    const user = database.userTransaction(transaction);
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
});
