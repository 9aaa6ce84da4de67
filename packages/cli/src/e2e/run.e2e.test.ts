import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { newId } from '@antiphon/replica';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  antiphon,
  antiphonJson,
  freePort,
  RunningCommand,
  sqlite3,
  temporaryFolder,
  type Ended,
  PATIENCE_MS,
} from './antiphon.js';
import { eventually } from '@antiphon/testing';

let folder: ReturnType<typeof temporaryFolder>;
let port: number;
let server: NatsServer | undefined;
const running: RunningCommand[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  port = await freePort();
});

afterEach(async () => {
  for (const command of running.splice(0)) if (command.child.exitCode === null) await command.stop();
  await server?.stop();
  server = undefined;
  folder.remove();
});

const path = (name: string): string => join(folder.path, name);

async function startServer(): Promise<void> {
  server = await NatsServer.start({ storeDir: path('nats'), port });
}

function config(id: string, more = ''): string {
  const text = `cluster: shop
id: ${id}
nats: { servers: nats://127.0.0.1:${port} }
store: { sqlite: { file: ./${id}.db } }
topology: { mode: primary-replica, primary: eu-1 }
${more}`;
  writeFileSync(path(`${id}.yaml`), text);
  return `${id}.yaml`;
}

function run(file: string, ...args: string[]): RunningCommand {
  const command = new RunningCommand(['run', '--config', file, ...args], { cwd: folder.path });
  running.push(command);
  return command;
}

function createOrders(): void {
  sqlite3(
    path('eu-1.db'),
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT); INSERT INTO orders VALUES (1, 'new')",
  );
}

describe('a cluster with failover', () => {
  it('takes exec on every replica, once under one request id', async () => {
    createOrders();
    await startServer();
    const more = 'failover: { mode: manual }';
    const primary = run(config('eu-1', more));
    await primary.says('takes part in shop');
    const follower = run(config('eu-2', more));
    await follower.says('takes part in shop');
    const where = { cwd: folder.path };
    const requestId = newId();
    const sql = "INSERT INTO orders VALUES (2, 'new')";
    const args = ['exec', '--config', 'eu-1.yaml', '--replica', 'eu-2', '--request-id', requestId, sql];
    const first = await antiphonJson(args, where);
    expect(first).toMatchObject({
      replica: 'eu-1',
      changes: [1],
      transaction: expect.stringMatching(/^eu-1:/) as string,
    });
    expect(first).not.toHaveProperty('repeated');
    expect(await antiphonJson(args, where)).toMatchObject({ changes: [1], repeated: true });
    const outcome = await antiphonJson(['outcome', requestId, '--config', 'eu-2.yaml'], where);
    expect(outcome).toMatchObject({ outcome: 'committed', transaction: requestId });
    const named = ['exec', '--config', 'eu-1.yaml', '--request-id', 'order 3'];
    await antiphonJson([...named, "INSERT INTO orders VALUES (3, 'new')"], where);
    const other = await antiphonJson([...named, 'DELETE FROM orders'], where);
    expect(other).toMatchObject({ changes: [1], repeated: true, requestId: 'order 3' });
    expect(await antiphonJson(['outcome', 'order 3', '--config', 'eu-2.yaml'], where)).toMatchObject({
      ...{ outcome: 'committed', transaction: 'order 3' },
    });
    const unknown = await antiphon(['outcome', 'order 4', '--config', 'eu-2.yaml'], where);
    expect(unknown).toMatchObject({ code: 1, stdout: expect.stringMatching(/^order 4 unknown/) as string });
    const doctor = await antiphon(['doctor', '--config', 'eu-2.yaml'], where);
    expect(doctor.stdout).toMatch(/ok +the file agrees with the cluster: 1 table\b/);
    const verified = await antiphon(['verify', '--config', 'eu-1.yaml'], where);
    expect(verified.stdout).toMatch(/equal/);
    expect(verified.stdout).not.toContain('_antiphon');
  });
});

describe('run', () => {
  it('waits for NATS and for the cluster, replicates, and ends cleanly with SIGTERM', async () => {
    createOrders();
    const follower = run(config('eu-2'));
    const primary = run(config('eu-1'), '--json');
    await follower.says(/Trying again until it works/);
    await startServer();
    await primary.says('takes part in shop');
    await follower.says('takes part in shop');
    const state = (): string => sqlite3(path('eu-2.db'), 'SELECT state FROM orders WHERE id = 1').stdout;
    await eventually('the first rows have arrived', () => state() === 'new', PATIENCE_MS);

    // The primary is found without being named.
    const where = { cwd: folder.path };
    const written = await antiphonJson(
      ['exec', '--config', 'eu-1.yaml', "UPDATE orders SET state = 'paid'"],
      where,
    );
    expect(written).toMatchObject({ replica: 'eu-1', changes: [1] });
    await eventually('the update has arrived', () => state() === 'paid', PATIENCE_MS);

    const refused = await antiphon(
      ['exec', '--config', 'eu-1.yaml', '--replica', 'eu-2', "UPDATE orders SET state = 'x'", '--json'],
      where,
    );
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'NOT_WRITABLE' } });
    expect(sqlite3(path('eu-2.db'), "UPDATE orders SET state = 'x'").stderr).toContain('eu-1');

    const doctor = await antiphon(['doctor', '--config', 'eu-2.yaml'], where);
    expect(doctor.stdout).toMatch(/ok +the file agrees with the cluster: 1 table\b/);
    expect(doctor.code).toBe(0);

    expect((await follower.stop()).code).toBe(0);
    const ended = await primary.stop();
    expect(ended.code).toBe(0);
    for (const line of ended.stdout.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('msg');
  });

  it('kill -9 loses nothing: it goes on where it was', async () => {
    createOrders();
    await startServer();
    const primary = run(config('eu-1'));
    const follower = run(config('eu-2'));
    await follower.says('takes part in shop');
    await follower.stop('SIGKILL');
    sqlite3(path('eu-1.db'), "INSERT INTO orders VALUES (2, 'written while eu-2 was dead')");
    await primary.stop('SIGKILL');
    run('eu-1.yaml');
    run('eu-2.yaml');
    await eventually(
      'the row has arrived',
      () => sqlite3(path('eu-2.db'), 'SELECT count(*) FROM orders').stdout === '2',
      PATIENCE_MS,
    );
  });

  it('ends with an error for what waiting cannot mend', async () => {
    createOrders();
    await startServer();
    const primary = run(config('eu-1'));
    await primary.says('takes part in shop');

    const fails = async (file: string): Promise<Ended> => run(file, '--json').ended;
    const error = ({ stderr }: Ended): unknown => (JSON.parse(stderr) as { error: unknown }).error;

    const second = await fails('eu-1.yaml');
    expect(second.code).toBe(1);
    expect(error(second)).toMatchObject({ code: 'DUPLICATE_REPLICA' });

    sqlite3(path('eu-3.db'), 'CREATE TABLE other (id INTEGER PRIMARY KEY)');
    const content = await fails(config('eu-3'));
    expect(content.code).toBe(1);
    expect(error(content)).toMatchObject({ code: 'STORE_CONTENT' });

    writeFileSync(
      path('eu-4.yaml'),
      config('eu-4') &&
        `cluster: shop\nid: eu-4\nnats: { servers: nats://127.0.0.1:${port} }\nstore: { sqlite: { file: eu-4.db } }\ntopology: { mode: multi-primary }\n`,
    );
    const mismatch = await fails('eu-4.yaml');
    expect(mismatch.code).toBe(1);
    expect(error(mismatch)).toMatchObject({ code: 'CLUSTER_MISMATCH' });
  });

  it.each([
    ['a file that is missing', undefined, 'does not exist. `antiphon init` writes one'],
    ['malformed YAML', 'cluster: [', 'is not valid YAML'],
    ['an unknown key', 'clutser: shop', 'Did you mean "cluster"?'],
    ['what is not in this version', 'conflicts: { orders: {} }', 'is not in this version'],
  ])('%s is a usage error', async (_, text, message) => {
    if (text !== undefined) writeFileSync(path('bad.yaml'), text);
    const { code, stderr } = await run('bad.yaml').ended;
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe('init and up', () => {
  it('init writes a file that run understands, and never overwrites one', async () => {
    const where = { cwd: folder.path };
    const init = await antiphon(['init', '--cluster', 'notes'], where);
    expect(init).toMatchObject({ code: 0, stdout: expect.stringContaining('`BEGIN IMMEDIATE`') as string });
    const again = await antiphon(['init'], where);
    expect(again.code).toBe(2);
    expect(again.stderr).toContain('--force');
    // Read, and found right, by a command that uses it.
    const status = await antiphon(['status', '--json'], where);
    expect(JSON.parse(status.stderr)).toMatchObject({
      error: { code: expect.stringMatching(/LOG_UNAVAILABLE|NO_ACTOR/) as string },
    });
  });

  it('up makes a cluster out of a database, and goes on with it the next time', async () => {
    const where = { cwd: folder.path };
    const empty = await antiphon(['up', '--file', 'shop.db'], where);
    expect(empty.code).toBe(2);
    expect(empty.stderr).toContain(
      'There is no file shop.db: a cluster begins with the tables of a database',
    );
    sqlite3(path('empty.db'), 'PRAGMA user_version = 1');
    const bare = await antiphon(['up', '--file', 'empty.db'], where);
    expect(bare.stderr).toContain('empty.db has no tables');

    sqlite3(
      path('shop.db'),
      "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes VALUES (1, 'a')",
    );
    const start = (): RunningCommand => {
      const up = new RunningCommand(
        ['up', '--file', 'shop.db', '--replicas', '2', '--topology', 'multi-primary'],
        where,
      );
      running.push(up);
      return up;
    };
    const first = start();
    await first.says('Ctrl-C stops everything');
    const copy = (sql: string): string => sqlite3(path('.antiphon/up/eu-2.db'), sql).stdout;
    await eventually('the first row has arrived', () => copy('SELECT text FROM notes') === 'a', PATIENCE_MS);
    expect((await first.stop('SIGINT')).code).toBe(0);

    sqlite3(path('.antiphon/up/eu-2.db'), "INSERT INTO notes VALUES (2, 'written while nothing ran')");
    const second = start();
    await second.says('Ctrl-C stops everything');
    await eventually(
      'the row has arrived',
      () => sqlite3(path('shop.db'), 'SELECT count(*) FROM notes').stdout === '2',
      PATIENCE_MS,
    );
    expect((await antiphon(['verify'], where)).code).toBe(0);
    await second.stop();
  });
});
