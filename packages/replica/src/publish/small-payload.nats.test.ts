import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { openDatabase, sqlite } from '@antiphon/sqlite';
import { afterEach, describe, expect, it } from 'vitest';
import { createReplica } from '../start/create-replica.js';
import { rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';
import type { UpdateOptions } from '@antiphon/core';

const KIB = 1024;

/** A nats-server whose `max_payload` a restart may change, and replicas on it. */
class SmallWorld {
  readonly #replicas: SqliteReplica[] = [];

  private constructor(
    private readonly dir: string,
    private server: NatsServer,
  ) {}

  static async start(maxPayload: number): Promise<SmallWorld> {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-payload-'));
    return new SmallWorld(dir, await NatsServer.start({ storeDir: join(dir, 'nats'), maxPayload }));
  }

  async serve(maxPayload: number): Promise<void> {
    const { port } = this.server;
    await this.server.kill();
    await this.server.stop();
    this.server = await NatsServer.start({ storeDir: join(this.dir, 'nats'), port, maxPayload });
  }

  sql(id: string, sql: string): void {
    const db = openDatabase(this.#file(id), { busyTimeoutMs: 5000 });
    db.exec(sql);
    db.close();
  }

  async replica(id: string, update: UpdateOptions): Promise<SqliteReplica> {
    const servers = this.server.url;
    const store = sqlite({ file: this.#file(id) });
    const replica = await createReplica({
      cluster: 'small',
      id,
      servers,
      store,
      update,
      topology: { mode: 'multi-primary' },
    });
    this.#replicas.push(replica);
    return replica;
  }

  #file(id: string): string {
    return join(this.dir, `${id}.db`);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#replicas.map((replica) => replica.close()));
    await this.server.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

let world: SmallWorld | undefined;
afterEach(async () => {
  await world?.stop();
  world = undefined;
});

/** Small rows, and some that no message of the server carries. */
const ROWS = `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, 'row ' || i FROM n;
  INSERT INTO t VALUES (5001, hex(zeroblob(150000))), (5002, hex(randomblob(150000)));`;

async function expectEqual(a: SqliteReplica, b: SqliteReplica): Promise<void> {
  const equal = async (): Promise<boolean> => (await rowsOf(b, 't')) === (await rowsOf(a, 't'));
  await eventually('both hold the same', equal, 20_000);
  await eventually('everything is published', () => a.status().outbox.unpublished === 0);
  expect([...a.status().alarms, ...b.status().alarms]).toEqual([]);
}

describe('a server that takes small messages only', () => {
  it.each([64, 16])('of %i KiB: what is larger travels in pieces', async (kib) => {
    world = await SmallWorld.start(kib * KIB);
    world.sql('a', ROWS);
    const a = await world.replica('a', { mode: 'async' });
    const b = await world.replica('b', { mode: 'async' });
    await expectEqual(a, b);
    world.sql(
      'b',
      `UPDATE t SET v = v || '!' WHERE id < 2000; INSERT INTO t VALUES (6001, hex(zeroblob(60000)))`,
    );
    await expectEqual(b, a);
    const large = `INSERT INTO t VALUES (6002, hex(zeroblob(${kib * 600})))`;
    await a.execute([{ sql: large }]);
    await expectEqual(a, b);
    expect((await a.query('SELECT length(v) AS n FROM t WHERE id = 6002'))[0]).toEqual({
      n: BigInt(kib * 1200),
    });
  });

  it('a synchronous write that fits into no message is refused, and smaller ones go on', async () => {
    world = await SmallWorld.start(64 * KIB);
    world.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await world.replica('a', { mode: 'sync' });
    const b = await world.replica('b', { mode: 'sync' });
    const large = a.execute([{ sql: 'INSERT INTO t VALUES (1, hex(zeroblob(60000)))' }]);
    await expect(large).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    const writes = Array.from({ length: 50 }, (_, n) =>
      a.execute([{ sql: `INSERT INTO t VALUES (${n + 10}, hex(zeroblob(5000)))` }]),
    );
    await Promise.all(writes);
    await expectEqual(a, b);
  });

  it('takes less after a restart, in the middle of a transaction, and more after another one', async () => {
    world = await SmallWorld.start(1024 * KIB);
    world.sql('a', ROWS);
    const update = { mode: 'async' } as const;
    const a = await world.replica('a', update);
    const b = await world.replica('b', update);
    for (const kib of [32, 512, 16]) {
      const writing = a.execute([
        { sql: `UPDATE t SET v = v || '${'x'.repeat(300)}' WHERE id <= 3000` },
        { sql: `INSERT INTO t VALUES (${7000 + kib}, hex(randomblob(200000)))` },
      ]);
      await world.serve(kib * KIB);
      await writing;
      await a.execute([{ sql: `INSERT INTO t VALUES (${8000 + kib}, hex(randomblob(20000)))` }]);
      await expectEqual(a, b);
    }
  }, 60_000);
});
