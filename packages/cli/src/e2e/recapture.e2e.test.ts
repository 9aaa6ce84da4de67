import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NatsServer } from '@antiphon/nats-server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  antiphon,
  antiphonJson,
  freePort,
  RunningCommand,
  sqlite3,
  temporaryFolder,
  type Where,
  PATIENCE_MS,
} from './antiphon.js';
import { eventually } from '@antiphon/testing';

let folder: ReturnType<typeof temporaryFolder>;
let where: Where;
let port: number;
let server: NatsServer;
const running: RunningCommand[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  where = { cwd: folder.path };
  port = await freePort();
  server = await NatsServer.start({ storeDir: path('nats'), port });
});

afterEach(async () => {
  for (const command of running.splice(0))
    if (command.child.exitCode === null && command.child.signalCode === null) await command.stop('SIGKILL');
  await server.stop();
  folder.remove();
});

const path = (name: string): string => join(folder.path, name);

async function run(id: string): Promise<RunningCommand> {
  writeFileSync(
    path(`${id}.yaml`),
    `cluster: shop\nid: ${id}\nnats: { servers: nats://127.0.0.1:${port} }\n` +
      `store: { sqlite: { file: ./${id}.db } }\ntopology: { mode: multi-primary }\n`,
  );
  const command = new RunningCommand(['run', '--config', `${id}.yaml`], where);
  running.push(command);
  await command.says('takes part in shop');
  return command;
}

const ROWS = 20_000;
const SCHEMA = `CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS}) INSERT INTO orders SELECT i, 'new' FROM n;`;
/** As migration tools do it. */
const REBUILD = `BEGIN; CREATE TABLE new_orders (id INTEGER PRIMARY KEY, state TEXT); INSERT INTO new_orders SELECT * FROM orders;
  DROP TABLE orders; ALTER TABLE new_orders RENAME TO orders; COMMIT;
  UPDATE orders SET state = 'unseen' WHERE id % 2; DELETE FROM orders WHERE id <= 100;`;

interface Status {
  readonly replicas: readonly { readonly id: string; readonly lifecycle?: string }[];
}

async function lifecycleOf(id: string): Promise<string | undefined> {
  const { replicas } = await antiphonJson<Status>(['status', '--config', 'eu-2.yaml'], where);
  return replicas.find((replica) => replica.id === id)?.lifecycle;
}

async function expectEqual(): Promise<void> {
  await eventually(
    'it replicates again',
    async () => (await lifecycleOf('eu-1')) === 'following',
    PATIENCE_MS,
  );
  await eventually(
    'all replicas are equal',
    async () => (await antiphon(['verify', '--config', 'eu-2.yaml'], where)).code === 0,
    PATIENCE_MS,
  );
  const count = `SELECT count(*), sum(state = 'unseen') FROM orders`;
  expect(sqlite3(path('eu-2.db'), count).stdout).toBe(`${ROWS - 100}|${ROWS / 2 - 50}`);
}

describe('antiphon recapture', { timeout: 600_000 }, () => {
  it('shows what differs, makes it good, and says when there is nothing to do', async () => {
    sqlite3(path('eu-1.db'), SCHEMA);
    await run('eu-1');
    await run('eu-2');
    const recapture = (...args: string[]) =>
      antiphon(['recapture', 'orders', '--config', 'eu-2.yaml', ...args], where);
    expect((await recapture('--dry-run')).stdout).toMatch(/^Nothing to recapture/);
    sqlite3(path('eu-1.db'), REBUILD);
    await eventually('it is noticed', async () => (await lifecycleOf('eu-1')) === 'stalled', PATIENCE_MS);
    expect((await antiphon(['status', '--config', 'eu-2.yaml'], where)).stdout).toContain(
      'antiphon recapture orders --dry-run',
    );
    const dry = await recapture('--dry-run');
    expect(dry.stdout).toMatch(
      /^orders on eu-1, since its trigger .* is missing:\n {2}9,950 rows changed: 101, 103, .*, …\n {2}0 rows only here\n {2}100 rows missing here: 1, 2, .*\nNothing was changed\./,
    );
    expect(dry.code).toBe(0);
    expect(await lifecycleOf('eu-1')).toBe('stalled');
    const done = await recapture('--json');
    expect(JSON.parse(done.stdout)).toMatchObject({
      ...{ outcome: 'recaptured', replica: 'eu-1', replicating: true, remaining: [] },
      ...{ changed: { count: 9950 }, onlyHere: { count: 0 }, missingHere: { count: 100 } },
    });
    await expectEqual();
    const unknown = await antiphon(['recapture', 'invoices', '--config', 'eu-2.yaml', '--json'], where);
    expect(unknown.code).toBe(1);
    expect(JSON.parse(unknown.stderr)).toMatchObject({ error: { code: 'UNKNOWN_TABLE' } });
    const followed = await antiphon(
      ['changes', '--config', 'eu-2.yaml', '--tables', 'orders,invoices'],
      where,
    );
    expect([followed.code, followed.stdout]).toEqual([1, '']);
    expect(followed.stderr).toMatch(/shop does not replicate table invoices\. It replicates orders\./);
  });

  it('I1: is done or not, whenever the replica is killed', async () => {
    sqlite3(path('eu-1.db'), SCHEMA);
    const first = await run('eu-1');
    await run('eu-2');
    await first.stop();
    sqlite3(path('eu-1.db'), REBUILD);
    // While the log is read, and about when the differences are written.
    for (const afterMs of [0, 100, 250]) {
      const replica = await run('eu-1');
      const args = ['recapture', 'orders', '--config', 'eu-2.yaml', '--replica', 'eu-1'];
      const asking = new RunningCommand(args, where);
      let answered = false;
      void asking.ended.then(() => (answered = true));
      await eventually('it has begun', () => answered || existsSync(path('eu-1.db-recapture')), PATIENCE_MS);
      await sleep(afterMs);
      await replica.stop('SIGKILL');
      // Nobody answers it any more.
      await asking.stop('SIGKILL');
    }
    await run('eu-1');
    const { code, stdout } = await antiphon(['recapture', 'orders', '--config', 'eu-1.yaml'], where);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/replicates again|Nothing to recapture/)]);
    await expectEqual();
    expect(sqlite3(path('eu-1.db'), 'PRAGMA integrity_check').stdout).toBe('ok');
    expect(existsSync(path('eu-1.db-recapture'))).toBe(false);
  });

  it('says where a table is gone, and takes the rows from nobody without being told to', async () => {
    sqlite3(
      path('eu-1.db'),
      "CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT); INSERT INTO orders VALUES (1, 'new')",
    );
    await run('eu-1');
    await run('eu-2');
    await eventually('eu-2 has it', async () => (await lifecycleOf('eu-2')) === 'following', PATIENCE_MS);
    const recapture = (...args: string[]) =>
      antiphon(['recapture', 'orders', '--config', 'eu-1.yaml', ...args], where);
    sqlite3(path('eu-2.db'), 'DROP TABLE orders');
    await eventually('it is noticed', async () => (await lifecycleOf('eu-2')) === 'holding', PATIENCE_MS);
    expect((await recapture('--dry-run')).stderr).toMatch(/orders of eu-2.*is gone.*put its rows back/s);
    sqlite3(path('eu-2.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
    await eventually('it may lack rows', async () => (await lifecycleOf('eu-2')) === 'stalled', PATIENCE_MS);
    expect((await recapture('--dry-run')).stdout).toMatch(
      /most rows of the table, or all.*--delete-rows`\n/s,
    );
    const refused = await recapture();
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('DELETES_ROWS')]);
    const done = await recapture('--delete-rows');
    expect([done.code, done.stdout + done.stderr]).toEqual([
      0,
      expect.stringContaining('eu-2 replicates again'),
    ]);
  });
});
