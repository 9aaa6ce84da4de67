import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { antiphonJson, freePort, RunningCommand, sqlite3, temporaryFolder, PATIENCE_MS } from './antiphon.js';
import { eventually } from '@antiphon/testing';

interface Shown {
  readonly id: string;
  readonly lifecycle: string;
  readonly holding?: { readonly code: string };
  readonly alarms: readonly { readonly name: string; readonly message: string }[];
}

let folder: ReturnType<typeof temporaryFolder>;
let port: number;
let server: NatsServer;
const running: RunningCommand[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  port = await freePort();
  server = await NatsServer.start({ storeDir: path('nats'), port });
});

afterEach(async () => {
  for (const command of running.splice(0)) await command.stop('SIGKILL');
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
  const command = new RunningCommand(['run', '--config', `${id}.yaml`], { cwd: folder.path });
  running.push(command);
  await command.says('takes part in shop');
  return command;
}

async function shown(id: string): Promise<Shown | undefined> {
  const status = await antiphonJson<{ replicas: readonly Shown[] }>(['status', '--config', `${id}.yaml`], {
    cwd: folder.path,
  });
  return status.replicas.find((one) => one.id === id);
}

/**
 * The kernel refuses to let files of the process grow over so many bytes, which SQLite reports as
 * SQLITE_IOERR_WRITE.
 */
function limitFiles(pid: number, bytes: string): void {
  const { status, stderr } = spawnSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:unlimited`]);
  expect(`${status} ${String(stderr)}`).toBe('0 ');
}

const insert = (from: number): string =>
  `WITH RECURSIVE n(i) AS (VALUES (${from}) UNION ALL SELECT i + 1 FROM n WHERE i < ${from + 9})
   INSERT INTO t SELECT i, hex(zeroblob(10000)) FROM n`;

describe.runIf(process.platform === 'linux')('a disk that gives I/O errors for a while', () => {
  it('holds own writes and those of others, says so, and resumes automatically', async () => {
    sqlite3(path('a.db'), 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    await run('a');
    const b = await run('b');
    limitFiles(b.pid, '50000');
    sqlite3(path('b.db'), insert(100));
    sqlite3(path('a.db'), insert(200));
    let status: Shown | undefined;
    await eventually(
      'b holds and has an alarm',
      async () => {
        status = await shown('b');
        return status?.holding !== undefined && status.alarms.some(({ name }) => name === 'seal');
      },
      PATIENCE_MS,
    );
    expect(status?.lifecycle).toBe('holding');
    expect(status?.holding?.code).toBe('STORE_UNAVAILABLE');
    expect(status?.alarms.map(({ message }) => message).join()).toMatch(
      /wait to be published: .*disk I\/O error.*resumes automatically/,
    );
    limitFiles(b.pid, 'unlimited');
    const rows = (id: string): string => sqlite3(path(`${id}.db`), 'SELECT count(*) FROM t').stdout;
    await eventually('both have all rows', () => rows('a') === '20' && rows('b') === '20', PATIENCE_MS);
    await eventually(
      'b follows without an alarm',
      async () => {
        status = await shown('b');
        return status?.lifecycle === 'following' && status.alarms.length === 0;
      },
      PATIENCE_MS,
    );
  }, 120_000);
});
