import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica, type Replica, type ReplicaOptions } from '@antiphon/replica';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { antiphon, antiphonJson, PATIENCE_MS, temporaryFolder } from './antiphon.js';

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer;
const replicas: Replica<SqliteTransaction>[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
  const db = new DatabaseSync(join(folder.path, 'eu-1.db'));
  db.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
  db.close();
});
afterEach(async () => {
  await Promise.all(replicas.splice(0).map((replica) => replica.close()));
  await server.stop();
  folder.remove();
});

async function start(id: string, options: Partial<ReplicaOptions<SqliteTransaction>>): Promise<void> {
  const store = sqlite({ file: join(folder.path, `${id}.db`) });
  replicas.push(await createReplica({ cluster: 'shop', id, servers: server.url, store, ...options }));
}

interface Explained {
  readonly primary: string | null;
  readonly failover: string;
  readonly candidates: readonly {
    readonly id: string;
    readonly place: number | null;
    readonly reason: string;
  }[];
}

it('shows who would take over, and why', { timeout: 2 * PATIENCE_MS }, async () => {
  const failover = {
    topology: { mode: 'primary-replica', primary: 'eu-1' },
    failover: { mode: 'automatic' },
  } as const;
  await start('eu-1', failover);
  await start('eu-2', failover);
  await start('eu-3', { ...failover, failoverPriority: 200 });
  await start('eu-4', { ...failover, failoverPriority: 0 });
  const command = ['explain-candidate', '--servers', server.url, '--cluster', 'shop'];
  const explained = async (): Promise<Explained> => antiphonJson<Explained>(command, { cwd: folder.path });
  expect(await explained()).toMatchObject({
    ...{ cluster: 'shop', failover: 'automatic', primary: 'eu-1' },
    candidates: [
      {
        id: 'eu-3',
        place: 1,
        priority: 200,
        reason: 'first: of eu-2, its priority is 100, that of eu-3 200',
      },
      { id: 'eu-2', place: 2, priority: 100, reason: 'its priority is 100, that of eu-3 200' },
      { id: 'eu-4', place: null, eligible: false, reason: 'its priority is 0' },
      { id: 'eu-1', place: null, reason: 'it is the primary' },
    ],
  });
  await replicas[2]?.close();
  await eventually('eu-3 is away', async () => (await explained()).candidates[0]?.id === 'eu-2', PATIENCE_MS);
  const { code, stdout } = await antiphon(command, { cwd: folder.path });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^cluster shop: eu-1 is the primary\. Another replica takes over when it fails\.\n/);
  expect(stdout).toMatch(/\n +1 {2}eu-2 +100 /);
  expect(stdout).toContain('\neu-2: it is the only candidate\n');
  expect(stdout).toContain('\neu-3: it does not answer (NO_ACTOR)\n');
  // Only one that never does it by itself is left.
  await replicas[0]?.close();
  await eventually('eu-2 is it', () => replicas[1]?.status().role === 'primary', PATIENCE_MS);
  expect((await antiphon(command, { cwd: folder.path })).stdout).toMatch(
    /^cluster shop: eu-2 is the primary\. No replica would take over by itself if it failed now\.\n/,
  );
  await replicas[1]?.close();
  expect((await antiphon(command, { cwd: folder.path })).stdout).toMatch(
    /: eu-2 is the primary, and does not answer\. No replica can take its place by itself: `antiphon failover ID`/,
  );
  const told = /eu-2 has ended.* No replica that answers .*explain-candidate.*`antiphon failover ID`/;
  await eventually(
    'eu-4 says so as well',
    () => replicas[3]?.status().alarms.some(({ message }) => told.test(message)),
    PATIENCE_MS,
  );
});

it('says that nobody takes over where that was not wanted', { timeout: PATIENCE_MS }, async () => {
  await start('eu-1', {});
  const command = ['explain-candidate', '--servers', server.url, '--cluster', 'shop'];
  const { code, stdout } = await antiphon(command, { cwd: folder.path });
  expect(code).toBe(0);
  expect(stdout).toContain('No replica takes over when it fails: the cluster was created without failover.');
  for (const replica of replicas) await replica.close();
  expect((await antiphon(command, { cwd: folder.path })).code).toBe(1);
});
