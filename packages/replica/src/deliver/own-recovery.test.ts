import { mkdtempSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AppendResult,
  cutMessage,
  decodeBatches,
  DEFAULT_ROW_LIMITS,
  HybridClock,
  type Log,
  replicatedTables,
  type Store,
  systemClock,
} from '@antiphon/core';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { memoryLog } from '@antiphon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LogAuthority } from '../state/authority.js';
import { Deadline } from '../wait/deadline.js';
import { findOwnPast } from './own-recovery.js';

const ID = 'a';
const GENEROUS_MS = 60_000;

let dir: string;
let store: Store<SqliteTransaction>;
let log: Log;
let generation: string;
let schema: Parameters<Store['install']>[0]['schema'];
/** Of the first transaction, and the parts of the second. */
let first: Uint8Array;
let parts: readonly Uint8Array[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-own-'));
  const file = join(dir, 'a.db');
  using db = new DatabaseSync(file);
  db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)');
  log = memoryLog().connect();
  ({ generation } = await log.open({ create: true }));
  store = sqlite({ file });
  const { tables, ddl } = await store.inspect();
  schema = { version: 1, tables: replicatedTables({ tables }).map((table) => table.schema), ddl };
  const identity = { cluster: 'c', replica: ID, generation, schemaVersion: 1 };
  const install = { rowVersions: true, createTables: false, sealExistingRows: false, durable: false };
  await store.install({ identity, schema, writes: 'capture', ...install }, new HybridClock(systemClock()));
  for (const bytes of [1, 100_000])
    await store.write([{ run: (tx) => tx.run('INSERT INTO t (v) VALUES (zeroblob(?))', [bytes]) }]);
  const [one, two] = await store.sealed({ counter: 0, part: 0 }, 1_000_000);
  first = one!.data;
  parts = cutMessage(two!.data, 40_000);
});

afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

function bytesOf(...messages: readonly Uint8Array[]): number {
  const bodies = messages
    .flatMap((data) => decodeBatches(data))
    .map((batch) => (batch.kind === 'part' ? batch.body : []));
  return bodies.reduce((sum, { length }) => sum + length, 0);
}

function appended(data: Uint8Array, id: string): Promise<AppendResult> {
  return new Promise((settled) => log.append({ origin: ID, id, data }, settled));
}

/**
 * What is found of the log, whose first entries the position has passed. `published`: what the file
 * was told of them.
 */
async function found(passed: readonly Uint8Array[], rest: readonly Uint8Array[], published: number) {
  let seq = 0;
  for (const [index, data] of [...passed, ...rest].entries()) {
    const result = await appended(data, `${index}`);
    if (result.type !== 'stored') throw result.error;
    if (index < passed.length) ({ seq } = result);
  }
  store.markPublished(published, { generation, seq });
  const clock = systemClock();
  const limits = [{ fromSeq: 0, clockRefusalMs: GENEROUS_MS, ...DEFAULT_ROW_LIMITS }];
  const scope = {
    ...{
      id: ID,
      clock,
      log,
      store,
      authority: new LogAuthority({
        id: ID,
        instance: 'i',
        topology: { mode: 'multi-primary' },
        byTerm: false,
      }),
    },
    document: { generation, schema, limits, rowVersions: true },
    limits: { clockAlarmMs: GENEROUS_MS, pageBytes: 1_000_000 },
  };
  const deadline = new Deadline(clock, GENEROUS_MS);
  try {
    return await findOwnPast(scope as unknown as Parameters<typeof findOwnPast>[0], deadline);
  } finally {
    deadline.end();
  }
}

/** Of the second transaction, as every replica has it that read up to the position. */
function withParts(...messages: readonly Uint8Array[]) {
  const kept = { counter: 2, time: expect.any(Number) as number, bytes: bytesOf(...messages) };
  return { vector: { [ID]: 1 }, partial: { [ID]: kept } };
}

describe('I2: what the log has of a replica whose position lies within a transaction in parts', () => {
  it('is what stands in order there', async () => {
    const [begin, ...rest] = parts as [Uint8Array, ...Uint8Array[]];
    const { ownLog } = await found([first, begin], rest, 1);
    expect(ownLog).toEqual(withParts(begin));
  });

  it('is not what came before its predecessor, be it all of it, but what came again behind that', async () => {
    const [begin, ...rest] = parts as [Uint8Array, ...Uint8Array[]];
    const { ownLog } = await found([...parts, first, begin], rest, 1);
    expect(ownLog).toEqual(withParts(begin));
  });

  it('begins where the parts do, whatever is repeated among them', async () => {
    const [begin, next, ...rest] = parts as [Uint8Array, Uint8Array, ...Uint8Array[]];
    const { ownLog } = await found([first, begin, first, next], rest, 1);
    expect(ownLog).toEqual(withParts(begin, next));
  });

  it('may be more than the file was told', async () => {
    const [begin, ...rest] = parts as [Uint8Array, ...Uint8Array[]];
    const { ownLog } = await found([first, begin], rest, 0);
    expect(ownLog).toEqual(withParts(begin));
  });
});
