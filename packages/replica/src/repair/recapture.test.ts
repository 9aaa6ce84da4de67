import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import { eventually, memoryBus, memoryLog, memoryRegistry } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { startReplica } from '../start/start.js';

it('I3: knows the first entry of a log that does not begin with a record of its own', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'antiphon-recapture-'));
  const file = join(dir, 'a.db');
  const sql = (text: string): void => {
    const db = new DatabaseSync(file, { timeout: 0 });
    try {
      db.exec(text);
    } finally {
      db.close();
    }
  };
  sql(`CREATE TABLE t (id TEXT PRIMARY KEY, n INT); INSERT INTO t VALUES ('kept', 1)`);
  const a = await startReplica({
    ...{ cluster: 'shop', id: 'a', store: sqlite({ file }), clock: systemClock() },
    ...{ log: memoryLog().connect(), bus: memoryBus().connect(), registry: memoryRegistry().connect() },
    limits: { beatMs: 50 },
  });
  try {
    await eventually('nothing is kept but in the log', () => a.status().outbox.messages === 0);
    expect(a.status().position.seq).toBe(1);
    sql(`CREATE TABLE u (id TEXT PRIMARY KEY, n INT); INSERT INTO u SELECT * FROM t; DROP TABLE t;
         ALTER TABLE u RENAME TO t; INSERT INTO t VALUES ('unseen', 2);`);
    await eventually('it has stalled', () => a.status().lifecycle === 'stalled');
    expect(await a.recapture('t')).toMatchObject({
      outcome: 'recaptured',
      onlyHere: { count: 1 },
      knownRows: 1,
    });
  } finally {
    await a.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
