import { DatabaseSync } from 'node:sqlite';
import { remoteRef } from '@antiphon/actor';
import { sqlite } from '@antiphon/sqlite';
import { describe, expect, it } from 'vitest';
import { mailboxPrefix } from '@antiphon/core';
import { verifyCluster, type CommittedChange } from '../index.js';
import type { MailboxProtocol } from '../internal.js';
import { eventually } from '@antiphon/testing';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import { changed } from '../testing/changed.js';
import { createKv, kvOf, put } from '../testing/kv.js';

const PRIMARY_A = { topology: { mode: 'primary-replica', primary: 'a' } } as const;

describe('joining', () => {
  it('I4: a joining replica gets the rows, and both stay in step', async () => {
    await using cluster = await ClusterFixture.start();
    const [left, right] = [createKv(cluster, 'a', { before: '1' }), kvOf(cluster, 'b')];
    const a = await cluster.replica('a');
    const b = await cluster.replica('b');
    await b.caughtUp();
    expect([...right.rows]).toEqual([['before', '1']]);
    await put(a, 'x', 'from a');
    await put(b, 'y', 'from b');
    await eventually('both have both', () => left.rows.size === 3 && right.rows.size === 3);
    expect(a.status()).toMatchObject({ role: 'peer', vector: { a: 2, b: 1 }, outbox: { unpublished: 0 } });
    await eventually(
      'following',
      () => a.status().lifecycle === 'following' && b.status().lifecycle === 'following',
    );
    await eventually('pruned', () => a.status().outbox.messages === 0 && b.status().outbox.messages === 0);
  });

  it('works when all start at once, the empty ones first', async () => {
    await using cluster = await ClusterFixture.start();
    const ids = ['r0', 'r1', 'r2'];
    createKv(cluster, 'r2', { k: 'v' });
    const replicas = await Promise.all(ids.map((id) => cluster.replica(id)));
    await Promise.all(replicas.map((replica) => replica.caughtUp()));
    await eventually('all have it', () => ids.every((id) => kvOf(cluster, id).rows.get('k') === 'v'));
  });

  it('refuses other content, other settings, a database of somebody else, and a second process', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a', { k: 'v' });
    await cluster.replica('a');
    const { file } = createKv(cluster, 'other', { other: 'row' });
    const content = cluster.replica('b', { file });
    await expect(content).rejects.toMatchObject({
      code: 'STORE_CONTENT',
      message: expect.stringContaining('has 1 rows here'),
    });
    const settings = cluster.replica('b', PRIMARY_A);
    await expect(settings).rejects.toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: expect.stringContaining('the cluster has multi-primary'),
    });
    const tables = cluster.replica('b', { tables: ['nope'] });
    await expect(tables).rejects.toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: expect.stringContaining('nope'),
    });
    const second = cluster.replica('a', { file: cluster.file('second') });
    await expect(second).rejects.toMatchObject({ code: 'DUPLICATE_REPLICA' });
    const b = await cluster.replica('b');
    await b.close();
    await expect(cluster.replica('c', { file: cluster.file('b') })).rejects.toMatchObject({
      code: 'STORE_CONTENT',
      message: expect.stringContaining('belongs to replica b'),
    });
  });

  it('says what is missing when there is no cluster to join', async () => {
    await using cluster = await ClusterFixture.start();
    const joining = cluster.replica('b', { limits: { connectTimeoutMs: 300 } });
    await expect(joining).rejects.toMatchObject({
      code: 'TIMEOUT',
      retriable: true,
      message: expect.stringContaining('does not exist yet'),
    });
  });
});

describe('I2: recovery of own transactions', () => {
  it('takes in what a restored database does not know, and never uses a counter twice', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a');
    const b = kvOf(cluster, 'b');
    const first = await cluster.replica('a');
    await cluster.replica('b');
    for (let n = 0; n < 5; n++) await put(first, `k${n}`, 'v');
    await eventually('b has them', () => b.rows.size === 5);
    await first.close();
    const restored = kvOf(cluster, 'restored');
    const again = await cluster.replica('a', { file: restored.file });
    expect(restored.rows.size).toBe(5);
    expect((await put(again, 'new', 'v')).id).toEqual({ origin: 'a', counter: 6 });
    await eventually('b has it', () => b.rows.has('new'));
  });
});

describe('primary-replica', () => {
  it('only the primary writes, whoever starts first', async () => {
    await using cluster = await ClusterFixture.start();
    const stores = [createKv(cluster, 'a', { k: 'v' }), kvOf(cluster, 'b')] as const;
    const [a, b] = await Promise.all([cluster.replica('a', PRIMARY_A), cluster.replica('b', PRIMARY_A)]);
    for (let n = 0; n < 100; n++) await put(a, `k${n}`, 'v');
    await eventually('b has all', () => stores[1].rows.size === 101);
    await expect(put(b, 'x', 'y')).rejects.toMatchObject({
      code: 'NOT_WRITABLE',
      context: { primary: 'a' },
    });
    await eventually(
      'in step',
      () => a.status().lifecycle === 'primary' && b.status().lifecycle === 'following',
    );
    await Promise.all([a.caughtUp(), b.caughtUp()]);
    expect(a.status().position.seq).toBe(b.status().position.seq);
  });

  it('a foreign message in the log breaks neither the chain nor the rows', async () => {
    await using cluster = await ClusterFixture.start();
    const stores = [createKv(cluster, 'a'), kvOf(cluster, 'b')] as const;
    const a = await cluster.replica('a', PRIMARY_A);
    const b = await cluster.replica('b', PRIMARY_A);
    const log = (await cluster.nats()).log(cluster.cluster);
    await log.open({ create: false });
    for (let n = 0; n < 50; n++) {
      log.append({ origin: 'intruder', id: `i${n}`, data: Buffer.from('hello') }, () => undefined);
      await put(a, `k${n}`, 'v');
    }
    await eventually('b has all', () => stores[1].rows.size === 50);
    await Promise.all([a.caughtUp(), b.caughtUp()]);
    expect(b.status().quarantined).toBe(50);
  });
});

describe('the log', () => {
  it('I3: nothing is lost while nats-server is killed under writes', async () => {
    await using cluster = await ClusterFixture.start();
    const stores = [createKv(cluster, 'a'), kvOf(cluster, 'b')] as const;
    const replicas = await Promise.all([cluster.replica('a'), cluster.replica('b')]);
    let written = 0;
    let stop = false;
    const writing = replicas.map(async (replica, index) => {
      while (!stop) {
        await put(replica, `${index}-${written++}`, 'v');
        if (written % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    for (let round = 0; round < 3; round++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      await cluster.server.kill();
      await cluster.server.restart();
    }
    stop = true;
    await Promise.all(writing);
    await eventually('both have all', () => stores.every((store) => store.rows.size === written), 25_000);
    expect(replicas.map((replica) => replica.status().quarantined)).toEqual([0, 0]);
  });

  it('I14: a stream recreated from outside stalls replication, keeps writes, and loses nothing', async () => {
    await using cluster = await ClusterFixture.start();
    const store = createKv(cluster, 'a');
    const a = await cluster.replica('a');
    for (let n = 0; n < 20; n++) await put(a, `k${n}`, 'v');
    await a.caughtUp();
    const nats = await cluster.nats();
    const manager = await nats.connection.jetstreamManager();
    await manager.streams.delete(`ANTIPHON_${cluster.cluster}`);
    await nats.log(cluster.cluster).open({ create: true });
    await eventually('stalled', () => a.status().lifecycle === 'stalled');
    expect(a.status().stalled?.code).toBe('LOG_REPLACED');
    await put(a, 'after', 'v');
    expect(a.status().outbox.unpublished).toBeGreaterThan(0);
    expect(store.rows.has('after')).toBe(true);
    await expect(a.caughtUp()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
  });

  it('I15: hostile messages are quarantined, good ones go on', async () => {
    await using cluster = await ClusterFixture.start();
    const stores = [createKv(cluster, 'a'), kvOf(cluster, 'b')] as const;
    const a = await cluster.replica('a');
    const b = await cluster.replica('b');
    const nats = await cluster.nats();
    const log = nats.log(cluster.cluster);
    await log.open({ create: false });
    for (let n = 0; n < 300; n++) {
      const data = Buffer.from(Array.from({ length: n % 60 }, () => Math.floor(Math.random() * 256)));
      log.append({ origin: ['a', 'b', 'nobody', 'x-y'][n % 4] ?? 'a', id: `h${n}`, data }, () => undefined);
      const command = ['ping', 'execute', 'query', 'hold', 'checksum', 'nonsense'][n % 6] ?? 'ping';
      nats.bus().publish(`${mailboxPrefix(cluster.cluster, 'a')}.${command}`, data);
      nats.bus().publish(`antiphon.${cluster.cluster}.beat.a`, data);
      if (n % 10 === 0) await put(a, `k${n}`, 'v');
    }
    await eventually('b has all', () => stores[1].rows.size === 30);
    await Promise.all([a.caughtUp(), b.caughtUp()]);
    expect(a.status().quarantined).toBe(300);
    expect(b.status().quarantined).toBe(300);
    expect(a.status().lifecycle).not.toBe('stalled');
  });

  it('I10: holds what the database refuses, and goes on when it takes it', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a');
    const a = await cluster.replica('a');
    const [b, c] = await Promise.all([cluster.replica('b'), cluster.replica('c')]);
    const right = kvOf(cluster, 'b');
    right.refuse('bad');
    await put(a, 'x', 'bad');
    await put(a, 'y', 'fine');
    await eventually('b holds', () => b.status().holding !== undefined);
    await put(c, 'z', 'fine');
    await eventually('c has a', () => kvOf(cluster, 'c').rows.get('y') === 'fine');
    expect(b.status()).toMatchObject({
      lifecycle: 'holding',
      quarantined: 0,
      holding: { origin: 'a', counter: 1 },
    });
    expect([...right.rows.keys()]).toEqual([]);
    right.accept();
    await eventually('b has all', () => right.rows.size === 3);
    expect(b.status().holding).toBeUndefined();
  });
});

describe('remote mailbox, changes, verify', () => {
  it('feeds changes once and in order, and goes on from a cursor', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a');
    const a = await cluster.replica('a');
    const b = await cluster.replica('b');
    for (let n = 0; n < 10; n++) {
      await a.transaction((tx) => {
        tx.run('INSERT INTO kv VALUES (?, ?)', [`k${n}`, 'v']);
        tx.run('INSERT INTO kv VALUES (?, ?)', [`l${n}`, 'w']);
      });
    }
    const seen: CommittedChange[] = [];
    for await (const change of b.changes({ from: 'beginning' })) if (seen.push(change) === 7) break;
    for await (const change of b.changes({ from: seen.at(-1)?.cursor ?? '' }))
      if (seen.push(change) === 20) break;
    expect(seen.map(({ key }) => key['k'])).toEqual(
      Array.from({ length: 20 }, (_, n) => `${n % 2 ? 'l' : 'k'}${Math.floor(n / 2)}`),
    );
    expect(seen[3]).toMatchObject({
      id: { origin: 'a', counter: 2 },
      table: 'kv',
      op: 'insert',
      after: { k: 'l1', v: 'w' },
    });
    const stop = new AbortController();
    const ending = (async () => {
      for await (const change of a.changes({ signal: stop.signal })) expect(change).toBeUndefined();
    })();
    setTimeout(() => stop.abort(), 50);
    await expect(ending).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('answers on its subjects, with error codes', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a', { k: 'v' });
    const a = await cluster.replica('a');
    const nats = await cluster.nats();
    const mailbox = remoteRef<MailboxProtocol>(nats.bus(), mailboxPrefix(cluster.cluster, 'a'));
    expect(await mailbox.ask('ping')).toMatchObject({ id: 'a' });
    expect((await mailbox.ask('status')).vector).toEqual(a.status().vector);
    expect(await mailbox.ask('query', { sql: 'SELECT k, v FROM kv', params: [], maxRows: 5 })).toMatchObject({
      rows: [['k', 'v']],
    });
    await expect(mailbox.ask('execute', { statements: [{ sql: 'x' }] })).rejects.toMatchObject({
      code: 'BAD_SQL',
    });
    await expect(mailbox.ask('hold', { holdMs: -1 })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await mailbox.ask('hold', { holdMs: 300 });
    const startMs = performance.now();
    await put(a, 'x', 'held');
    expect(performance.now() - startMs).toBeGreaterThan(150);
  });

  it('says that a store without SQL takes no statements', async () => {
    await using cluster = await ClusterFixture.start();
    const real = sqlite({ file: createKv(cluster, 'a').file });
    const store = changed(real, { capabilities: { ...real.capabilities, sql: false } });
    const a = await cluster.replica('a', { store });
    const execute = a.execute([{ sql: "INSERT INTO kv VALUES ('k', 'v')" }]);
    await expect(execute).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('verifies under load, and names rows that differ', async () => {
    await using cluster = await ClusterFixture.start();
    const stores = [createKv(cluster, 'a'), kvOf(cluster, 'b')] as const;
    const [a] = await Promise.all([cluster.replica('a'), cluster.replica('b')]);
    // More than a page, of keys that are no valid UTF-8.
    const numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1500)';
    await cluster.sqlWhenFree('a', `${numbers} INSERT INTO kv SELECT x'61ff' || i, 'raw' FROM n`);
    let stop = false;
    const load = (async () => {
      for (let n = 0; !stop; n++) await put(a, `k${n % 3000}`, String(n));
    })();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { bus, registry, clock } = await cluster.ports();
    const options = { cluster: cluster.cluster, bus, registry, clock };
    expect(await verifyCluster(options)).toMatchObject({ outcome: 'equal' });
    stores[1].putUncaptured('zz', 'only here');
    stores[0].putUncaptured('aa', 'only there');
    const result = await verifyCluster(options);
    stop = true;
    await load;
    expect(result.outcome).toBe('different');
    expect(result.differences[0]).toMatchObject({
      table: 'kv',
      replicas: ['a', 'b'],
      rows: [
        { key: ['aa'], kind: 'only-left' },
        { key: ['zz'], kind: 'only-right' },
      ],
    });
  });
});

describe('propagation', () => {
  it('brings a write to the other replica within milliseconds', async () => {
    await using cluster = await ClusterFixture.start();
    createKv(cluster, 'a');
    const a = await cluster.replica('a');
    await cluster.replica('b');
    using other = new DatabaseSync(cluster.file('b'), { readOnly: true });
    const find = other.prepare('SELECT 1 FROM kv WHERE k = ?');
    let n = 0;
    const timeOfOne = async (): Promise<number> => {
      const key = `k${n++}`;
      await put(a, key, 'v');
      const startMs = performance.now();
      while (find.get(key) === undefined) await new Promise((resolve) => setImmediate(resolve));
      return performance.now() - startMs;
    };
    // Of many, because a busy machine lets everything wait at times.
    await eventually('half of them come within 5 ms', async () => {
      const times: number[] = [];
      while (times.length < 100) times.push(await timeOfOne());
      return times.sort((x, y) => x - y)[50]! < 5;
    });
  });
});
