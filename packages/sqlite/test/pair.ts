import {
  AntiphonError,
  decodeBatches,
  HybridClock,
  systemClock,
  type InstallOptions,
  type TransactionBatch,
} from '@antiphon/core';
import { expect } from 'vitest';
import { Cluster, giveWay } from './cluster.js';

export async function expectCode(promise: Promise<unknown>, code: string, message?: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AntiphonError);
  expect(error).toMatchObject({ code });
  if (message !== undefined) expect((error as Error).message).toMatch(message);
}

export function installOptions(
  cluster: Cluster,
  replica: string,
  changes: Partial<InstallOptions> = {},
): InstallOptions {
  return {
    identity: { cluster: 'test', replica, generation: 'g1', schemaVersion: 1 },
    schema: cluster.schema!,
    writes: 'capture',
    rowVersions: false,
    createTables: false,
    sealExistingRows: false,
    durable: false,
    ...changes,
  };
}

export const newClock = (): HybridClock => new HybridClock(systemClock());

export const T = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, n INT CHECK (n < 100));';

/** Replicas `a`, which brings the tables, and `b`. */
export async function pairOf(ddl = T, versions = false): Promise<Cluster> {
  const cluster = new Cluster({ versions });
  await cluster.first('a', ddl);
  await cluster.join('b');
  await cluster.synchronize();
  return cluster;
}

export function batchOf(cluster: Cluster, entry: number): TransactionBatch {
  return decodeBatches(cluster.log[entry]!.data)[0] as TransactionBatch;
}

export const pacing = { yield: giveWay, sliceMs: 10 };
