import { mkdtempSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AppendResult,
  encodeBatch,
  HybridClock,
  type LogEntry,
  replicatedTables,
  systemClock,
  type TransactionBatch,
} from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import { memoryLog } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { Deadline } from '../wait/deadline.js';
import { Certification } from './certification.js';

function group(seq: number, counter: number, readSeq: number): LogEntry {
  const data = encodeBatch({
    ...{ kind: 'transactions', origin: 'a', firstCounter: counter, epoch: 0, time: 1, context: {} },
    ...{ schemaVersion: 1, tables: [{ name: 't', columns: ['id'], key: [0] }] },
    transactions: [{ counter, time: 1, changes: [{ op: 'insert', table: 0, row: [BigInt(counter)] }] }],
    sync: { token: `x${seq}`, readSeq, claims: [[1]] },
  });
  return { seq, origin: 'a', data, storedAtMs: 0 };
}

describe('certification', () => {
  it('I4: knows up to where every entry has passed it, and takes none twice', () => {
    const certification = new Certification();
    certification.look(group(2, 1, 1));
    certification.look({ ...group(3, 1, 1), origin: '_barrier' });
    expect([certification.seenSeq, certification.size]).toEqual([3, 1]);
    certification.look(group(2, 1, 1));
    certification.dealtWith(5);
    certification.look(group(4, 2, 1));
    expect([certification.seenSeq, certification.size]).toEqual([5, 1]);
  });
});

/** Of b; claims are even where they are exclusive. */
function claiming(counter: number, claim: number, readSeq: number): TransactionBatch {
  return {
    ...{ kind: 'transactions', origin: 'b', firstCounter: counter, epoch: 0, time: 1, context: {} },
    ...{ schemaVersion: 1, tables: [], transactions: [{ counter, time: 1, changes: [] }] },
    sync: { token: `${counter}`, readSeq, claims: [[claim]] },
  };
}

describe('certification after a restart', () => {
  it('I4: claims what the groups in front of the position claimed that were admitted and not rejected', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-certification-'));
    const file = join(dir, 'a.db');
    const clock = systemClock();
    const log = memoryLog().connect();
    const store = sqlite({ file });
    const deadline = new Deadline(clock, 60_000);
    try {
      const db = new DatabaseSync(file);
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
      db.close();
      const { generation, lastSeq: readSeq } = await log.open({ create: true });
      const { tables, ddl } = await store.inspect();
      const schema = { version: 1, tables: replicatedTables({ tables }).map((table) => table.schema), ddl };
      const identity = { cluster: 'c', replica: 'a', generation, schemaVersion: 1 };
      const install = { rowVersions: true, createTables: false, sealExistingRows: false, durable: false };
      await store.install({ identity, schema, writes: 'capture', ...install }, new HybridClock(clock));
      // The first came before its predecessor, and everybody dropped it.
      const groups = [claiming(5, 2, readSeq), claiming(1, 4, readSeq), claiming(2, 6, readSeq)];
      const seqs: number[] = [];
      for (const group of groups) {
        const request = { origin: 'b', id: `${group.firstCounter}`, data: encodeBatch(group) };
        const result = await new Promise<AppendResult>((settled) => log.append(request, settled));
        if (result.type !== 'stored') throw result.error;
        seqs.push(result.seq);
      }
      const [, second = 0, third = 0] = seqs;
      const [, committed, rejected] = groups as [TransactionBatch, TransactionBatch, TransactionBatch];
      await store.apply({
        steps: [
          { type: 'transactions', batch: committed, skip: 0, seq: second, rejected: [] },
          { type: 'transactions', batch: rejected, skip: 0, seq: third, rejected: [2] },
        ],
        position: { generation, seq: third },
        yield: () => Promise.resolve(),
        sliceMs: 100,
      });
      const certification = new Certification();
      await certification.restore({ log, store, clock, generation }, third, deadline);
      const rejections = [2, 4, 6].map((claim, index) => {
        const { sync } = claiming(1, claim, readSeq);
        const group = { origin: 'c', firstCounter: index + 1, sync: sync! };
        return certification.judge(third + 1 + index, group).rejected.map(({ reason }) => reason);
      });
      expect(rejections).toEqual([[], ['conflict'], []]);
    } finally {
      deadline.end();
      await store.close();
      rmSync(dir, { recursive: true });
    }
  });
});
