import { openSync, closeSync, writeFileSync, writeSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { storeError } from './errors.js';
import { sqlite } from './index.js';

/** What SQLite says of a page that was overwritten. */
function damaged(): unknown {
  const dir = mkdtempSync(join(tmpdir(), 'antiphon-damage-'));
  const file = join(dir, 'x.db');
  try {
    const before = new DatabaseSync(file);
    before.exec('PRAGMA page_size = 4096; CREATE TABLE t (id INTEGER PRIMARY KEY)');
    before.exec('INSERT INTO t VALUES (1)');
    before.close();
    const raw = openSync(file, 'r+');
    writeSync(raw, Buffer.alloc(4096, 0xff), 0, 4096, 4096);
    closeSync(raw);
    using after = new DatabaseSync(file);
    after.prepare('SELECT * FROM t').all();
    return undefined;
  } catch (thrown) {
    return thrown;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe('storeError', () => {
  it('tells a damaged file, which stays so, from the troubles of the machine, which may pass', () => {
    const corrupt = storeError(damaged(), 'applying failed');
    expect(corrupt).toMatchObject({ code: 'STORE_CORRUPT', retriable: false });
    let thrown: unknown;
    try {
      new DatabaseSync('/proc/nowhere/x.db').close();
    } catch (error) {
      thrown = error;
    }
    expect(storeError(thrown, 'Sealing failed')).toMatchObject({
      ...{ code: 'STORE_UNAVAILABLE', retriable: true },
      message: expect.stringMatching(/^Sealing failed: /) as unknown,
    });
  });
});

describe('a database that cannot be opened', () => {
  it.each([
    ['none/x.db', /none\/x\.db: the folder .*none does not exist\. Create it/],
    ['folder', /folder: it is a folder\. Name a file\./],
    ['text/x.db', /text\/x\.db: a part of its path is a file, not a folder/],
  ])('says of %s what is wrong with the path', async (name, message) => {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-open-'));
    mkdirSync(join(dir, 'folder'));
    writeFileSync(join(dir, 'text'), 'x');
    const store = sqlite({ file: join(dir, name) });
    const refused = {
      code: 'BAD_OPTION',
      retriable: false,
      message: expect.stringMatching(message) as string,
    };
    await expect(store.inspect()).rejects.toMatchObject(refused);
    await store.close();
    rmSync(dir, { recursive: true });
  });
});
