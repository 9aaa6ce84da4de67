import { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { expectCode } from '../test/pair.js';
import { openDatabase } from './driver/find-driver.js';
import { RowStreams } from './row-streams.js';

const folder = mkdtempSync(join(tmpdir(), 'antiphon-streams-'));
const left = new Set<ChildProcess>();
afterEach(() => {
  vi.restoreAllMocks();
  for (const child of left) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

it('closes in time, also where the process of a stream cannot be killed', async () => {
  const file = join(folder, 'a.db');
  const db = openDatabase(file);
  db.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (v); INSERT INTO t VALUES (7)');
  db.close();
  const streams = new RowStreams({ file, most: 1 });
  const request = { sql: 'SELECT v FROM t', parameters: [], maxRowBytes: 1000 };
  const stream = await streams.open(request, new AbortController().signal);
  // As one that the kernel keeps inside of a read from a disk that does not answer.
  vi.spyOn(ChildProcess.prototype, 'kill').mockImplementation(function (this: ChildProcess) {
    left.add(this);
    return true;
  });
  const startMs = performance.now();
  await streams.close();
  expect(performance.now() - startMs).toBeLessThan(3000);
  expect(left.size).toBe(1);
  await expectCode(stream.next(), 'CLOSED');
});
