import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectNats } from '@antiphon/nats';
import { NatsServer } from '@antiphon/nats-server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { antiphon, RunningCommand, sqlite3, temporaryFolder, type Ended, PATIENCE_MS } from './antiphon.js';
import { eventually } from '@antiphon/testing';

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer | undefined;
const running: RunningCommand[] = [];

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(async () => {
  for (const command of running.splice(0)) {
    if (command.child.exitCode === null && command.child.signalCode === null) await command.stop('SIGKILL');
  }
  await server?.stop();
  server = undefined;
  folder.remove();
});

const path = (name: string): string => join(folder.path, name);

/** A replica `a` of a table `t`, as a service. */
async function run(more = ''): Promise<RunningCommand> {
  server ??= await NatsServer.start({ storeDir: path('nats') });
  sqlite3(path('a.db'), 'CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v TEXT)');
  writeFileSync(
    path('antiphon.yaml'),
    `cluster: shop\nid: a\nnats: { servers: ${server.url} }\nstore: { sqlite: { file: ./a.db } }\n${more}`,
  );
  const command = new RunningCommand(['run'], { cwd: folder.path });
  running.push(command);
  await command.says('takes part in shop');
  return command;
}

const ask = (...args: string[]): Promise<Ended> => antiphon(args, { cwd: folder.path });

/** Another stream in the place of the log. */
async function replaceLog(): Promise<void> {
  const nats = await connectNats({ servers: server?.url ?? '' });
  const manager = await nats.connection.jetstreamManager();
  await manager.streams.delete('ANTIPHON_shop');
  await nats.log('shop').open({ create: true });
  await nats.close();
}

describe('a replica that has stalled', () => {
  it('answers, says so in health and status --check, and fails when it is stopped', async () => {
    const replica = await run();
    await eventually('it is healthy', async () => (await ask('health')).code === 0, PATIENCE_MS);
    expect((await ask('health')).stdout).toBe('a is primary\n');
    expect((await ask('status', '--check')).code).toBe(0);
    await replaceLog();
    await eventually('it is not healthy', async () => (await ask('health')).code === 1, PATIENCE_MS);
    expect((await ask('health')).stdout).toMatch(/^a has stalled: .*\[LOG_REPLACED\]\n/);
    const { stdout } = await ask('health', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ id: 'a', healthy: false, lifecycle: 'stalled' });
    const checked = await ask('status', '--check');
    expect(checked).toMatchObject({ code: 1, stderr: expect.stringMatching(/a has stalled/) as unknown });
    expect(replica.child.exitCode).toBeNull();
    expect(await replica.stop()).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/has stalled\. .*LOG_REPLACED/) as unknown,
    });
    expect((await ask('health')).code).toBe(1);
  });

  it('ends with exit code 1 where that is asked for', async () => {
    const replica = await run('onStall: exit\n');
    await replaceLog();
    expect(await replica.ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/has stalled\. .*LOG_REPLACED/) as unknown,
    });
  });

  it('is named by `up`, which fails at the end', async () => {
    sqlite3(path('mine.db'), 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const up = new RunningCommand(['up', '--file', 'mine.db', '--replicas', '2'], { cwd: folder.path });
    running.push(up);
    await up.says('Ctrl-C stops everything');
    sqlite3(
      path('mine.db'),
      'BEGIN; CREATE TABLE copy (id INTEGER PRIMARY KEY, v TEXT); DROP TABLE t; ALTER TABLE copy RENAME TO t; COMMIT;',
    );
    await up.says(/replica \S+ has stalled: /);
    const { code, stdout } = await up.stop('SIGINT');
    expect(stdout).toMatch(/at the end, replica \S+ has stalled: /);
    expect(code).toBe(1);
  });
});

describe('a write that does not end', () => {
  const ENDLESS =
    'INSERT INTO t SELECT x, 1 FROM (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0)';

  it('ends the process, whose last words name the statement; nothing of it is left', async () => {
    const replica = await run('limits: { blockedMs: 3000 }\n');
    expect((await ask('exec', "INSERT INTO t VALUES (1, 'kept')")).code).toBe(0);
    const beganAtMs = performance.now();
    const writing = ask('exec', ENDLESS, '--timeout', '5');
    await eventually('it is noticed', () => replica.stderr.includes('hears no signal'), PATIENCE_MS);
    // Nobody can hear it now.
    replica.child.kill('SIGTERM');
    await replica.ended;
    expect(performance.now() - beganAtMs).toBeLessThan(20_000);
    expect(replica.child.signalCode).toBe('SIGKILL');
    expect(replica.stderr).toMatch(
      /replica a is ended: nothing has moved for 3 s \(limits\.blockedMs\)\. It runs, or has just run: INSERT INTO t SELECT x, 1 FROM \(WITH RECURSIVE/,
    );
    expect((await writing).code).toBe(1);
    const again = await run('limits: { blockedMs: 3000 }\n');
    expect((await ask('query', 'SELECT * FROM t', '--json')).stdout).toMatch(/kept/);
    expect(sqlite3(path('a.db'), 'SELECT count(*) FROM t').stdout).toBe('1');
    expect((await again.stop()).code).toBe(0);
  });

  it('is named by `up`, which starts the replica again', async () => {
    sqlite3(path('mine.db'), 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    writeFileSync(
      path('up.yaml'),
      'cluster: shop\nid: a\nnats: { servers: nats://127.0.0.1:4222 }\nstore: { sqlite: { file: ./mine.db } }\n' +
        'limits: { blockedMs: 3000 }\n',
    );
    const up = new RunningCommand(['up', '--config', 'up.yaml', '--replicas', '1'], { cwd: folder.path });
    running.push(up);
    await up.says('Ctrl-C stops everything');
    const writing = ask('exec', ENDLESS, '--timeout', '5');
    await up.says(/replica a ended with SIGKILL \(replica a is ended: .*INSERT INTO t SELECT x, 1/);
    await up.says('replica a is back');
    expect((await writing).code).toBe(1);
    expect((await up.stop('SIGINT')).code).toBe(0);
  });

  it('a process that was paused is not taken for one that is blocked', async () => {
    const replica = await run('limits: { blockedMs: 2000 }\n');
    replica.child.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 4000));
    replica.child.kill('SIGCONT');
    await eventually(
      'it writes again',
      async () => (await ask('exec', "INSERT INTO t VALUES (2, 'x')")).code === 0,
      PATIENCE_MS,
    );
    expect(replica.child.signalCode).toBeNull();
    expect((await replica.stop()).code).toBe(0);
  });
});
