import { execFileSync } from 'node:child_process';
import { AntiphonError } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, Directory } from '../test/cluster.js';
import { batchOf, expectCode, installOptions, newClock, pairOf } from '../test/pair.js';
import { sqlite } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

describe('the outbox of sealed messages', () => {
  it('I3: sealed messages stay until they are pruned, which only published ones may be', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    for (let id = 1; id <= 5; id++)
      await cluster.write('a', ['INSERT INTO t VALUES (?, ?, ?)', [id, 'x', 1]]);
    expect(store.state()).toMatchObject({ lastCounter: 5, publishedCounter: 0, outboxMessages: 5 });
    await expectCode(store.prune(3), 'INTERNAL', /only those up to 0/);
    store.markPublished(3, { generation: 'g1', seq: 3 });
    expect(store.state()).toMatchObject({ publishedCounter: 3, position: { seq: 3 } });
    await store.prune(3);
    expect(store.state()).toMatchObject({ outboxMessages: 2 });
    expect(
      (await store.sealed({ counter: 0, part: 0 }, 1e9)).map(({ firstCounter }) => firstCounter),
    ).toEqual([4, 5]);
    store.markPublished(4);
    const before = store.state();
    await store.close();
    const again = await cluster.join('a');
    expect(again.state()).toEqual(before);
  });

  it('resumes after its own transactions in the log: counters are not used twice, and what is missing comes in by apply', async () => {
    cluster = await pairOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, a);`);
    await cluster.write('a', `INSERT INTO t VALUES (1, 'old')`);
    await cluster.synchronize();
    await cluster.member('a').store.close();
    execFileSync('cp', [cluster.directory.file('a'), cluster.directory.file('backup')]);
    await cluster.join('a');
    cluster.member('a').published = { counter: 1, part: 0 };
    await cluster.write('a', `UPDATE t SET a = 'lost'`);
    await cluster.write('a', `INSERT INTO t VALUES (2, 'lost')`);
    await cluster.synchronize();
    await cluster.member('a').store.close();
    execFileSync('cp', [cluster.directory.file('backup'), cluster.directory.file('a')]);
    // A program writes to the restored file before the replica is back.
    cluster.shell('a', `UPDATE t SET a = 'new' WHERE id = 1`);
    const store = await cluster.join('a');
    await store.resumeFrom(3, batchOf(cluster, 2).time);
    expect(store.state()).toMatchObject({ lastCounter: 3, vector: { a: 1 } });
    await store.seal();
    expect(store.state()).toMatchObject({ lastCounter: 4, vector: { a: 1 } });
    cluster.member('a').published = { counter: 3, part: 0 };
    await cluster.deliver('a');
    expect(store.state()).toMatchObject({ lastCounter: 4, vector: { a: 4 } });
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT * FROM t')).toBe('1|new\n2|lost');
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe('1|new\n2|lost');
  });
});

describe('closing', () => {
  it('is idempotent, also before install and during a read', async () => {
    const directory = new Directory();
    const unused = sqlite({ file: directory.file('x') });
    await unused.close();
    await unused.close();
    await expectCode(unused.inspect(), 'CLOSED');
    directory.remove();
    cluster = await pairOf();
    const { store } = cluster.member('a');
    const reading = store.query(
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n',
      [],
      { maxRows: 1e9 },
    );
    const failed = expectCode(reading, 'CLOSED');
    await store.close();
    await failed;
    await store.close();
    expect(() => store.hasUnsealed()).toThrow(AntiphonError);
    await expectCode(store.write([]), 'CLOSED');
    expect(cluster.shell('a', 'PRAGMA integrity_check')).toBe('ok');
  });

  it('a second process on the same file as the same replica is noticed', async () => {
    cluster = await pairOf();
    const second = sqlite({ file: cluster.directory.file('a') });
    await second.install(installOptions(cluster, 'a'), newClock());
    await expectCode(cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`), 'DUPLICATE_REPLICA');
    await second.close();
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe('0');
  });
});
