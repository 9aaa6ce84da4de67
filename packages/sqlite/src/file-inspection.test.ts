import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { inspectFile, openDatabase } from './index.js';

const dir = mkdtempSync(join(tmpdir(), 'antiphon-inspect-'));
const file = join(dir, 'shop.db');

beforeAll(() => {
  const db = openDatabase(file);
  db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 2)');
  db.close();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('ends when its caller gives up, with the reason that was given', async () => {
  const reason = new Error('not needed any more');
  await expect(inspectFile(file, { rows: true, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  await expect(inspectFile(file, { rows: true, signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: 'ABORTED',
  });
});
