import type { InstallOptions } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import type { Database } from './driver/driver.js';
import type { SqliteOptions } from './index.js';
import { PROCESS } from './surroundings.js';

/** What https://www.sqlite.org/pragma.html#pragma_synchronous calls these two. */
const [NORMAL, FULL] = [1, 2];

let cluster = new Cluster();
afterEach(() => cluster.close());

/** As SQLite itself says it, of each connection that a store writes by. */
async function synchronousOf(
  install: Partial<InstallOptions>,
  options: Partial<SqliteOptions>,
): Promise<unknown[]> {
  const opened: Database[] = [];
  const openDatabase: typeof PROCESS.openDatabase = (...args) => {
    const db = PROCESS.openDatabase(...args);
    opened.push(db);
    return db;
  };
  cluster = new Cluster({ surroundings: { ...PROCESS, openDatabase } });
  await cluster.first('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  opened.length = 0;
  await cluster.join('b', install, options);
  return opened.map((db) => db.prepare('PRAGMA synchronous', 'value').get());
}

describe('commits of both connections that write', () => {
  it('I6: are on the disk where members acknowledge what they have, whatever the store was told', async () => {
    expect(await synchronousOf({ durable: true }, {})).toEqual([FULL, FULL]);
    expect(await synchronousOf({ durable: true }, { synchronous: 'normal' })).toEqual([FULL, FULL]);
  });

  it('are on the disk elsewhere when the store was told so', async () => {
    expect(await synchronousOf({ durable: false }, { synchronous: 'full' })).toEqual([FULL, FULL]);
    expect(await synchronousOf({ durable: false }, {})).toEqual([NORMAL, NORMAL]);
  });
});
