import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AntiphonError, HybridClock, type Store, systemClock } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { sqlite, type SqliteTransaction } from './index.js';

let store: Store<SqliteTransaction> | undefined;
let disk: string | undefined;
afterEach(async () => {
  await store?.close();
  store = undefined;
  if (disk !== undefined) execFileSync('umount', ['-l', disk]);
  disk = undefined;
});

/** A file system of its own, of 8 MB; needs root. */
function mountSmallDisk(): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'antiphon-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', dir], { stdio: 'pipe' });
  } catch {
    rmSync(dir, { recursive: true, force: true });
    return undefined;
  }
  disk = dir;
  return dir;
}

async function open(file: string): Promise<Store<SqliteTransaction>> {
  const outside = new DatabaseSync(file);
  outside.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  outside.close();
  const opened = sqlite({ file });
  const { tables, ddl } = await opened.inspect();
  const schema = { version: 1, tables: tables.map((table) => table.schema), ddl };
  await opened.install(
    {
      identity: { cluster: 'c', replica: 'a', generation: 'g', schemaVersion: 1 },
      schema,
      ...{ writes: 'capture', rowVersions: false, durable: false },
      createTables: false,
      sealExistingRows: true,
    },
    new HybridClock(systemClock()),
  );
  return opened;
}

/** The rows that are there stay few: all that grows is the write-ahead log. */
async function writeAgain(to: Store<SqliteTransaction>): Promise<string | undefined> {
  try {
    const run = (tx: SqliteTransaction): void =>
      void tx.run('REPLACE INTO t VALUES (1, hex(randomblob(20000)))');
    const [outcome] = await to.write([{ run }]);
    const { lastCounter } = to.state();
    to.markPublished(lastCounter);
    await to.prune(lastCounter);
    return outcome?.type === 'committed' ? undefined : 'rejected';
  } catch (thrown) {
    if (thrown instanceof AntiphonError) return thrown.code;
    throw thrown;
  }
}

describe('a disk that is smaller than the write-ahead log may become', () => {
  it('takes writes again, and goes on doing so, once somebody has freed a little', async (context) => {
    const dir = mountSmallDisk();
    if (dir === undefined) return context.skip('cannot mount a tmpfs here (needs root)');
    store = await open(join(dir, 'a.db'));
    const ballast = join(dir, 'ballast');
    writeFileSync(ballast, Buffer.alloc(300_000));
    while ((await writeAgain(store)) === undefined);
    for (let times = 0; times < 3; times++) expect(await writeAgain(store)).toBe('STORE_FULL');
    rmSync(ballast);
    const failures: (string | undefined)[] = [];
    for (let round = 0; round < 400; round++) failures.push(await writeAgain(store));
    // Whenever the log has taken up the whole disk, one write finds that out.
    expect(failures.filter((code) => code !== undefined).length).toBeLessThan(10);
  });
});
