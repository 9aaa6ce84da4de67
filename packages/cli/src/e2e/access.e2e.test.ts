import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { permissionsOf, type Permissions } from '@antiphon/nats';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GuardedServer } from '../../../nats/src/testing/guarded-server.js';
import { antiphon, RunningCommand, sqlite3, temporaryFolder, PATIENCE_MS } from './antiphon.js';
import { eventually } from '@antiphon/testing';

let folder: ReturnType<typeof temporaryFolder>;
let server: GuardedServer | undefined;
const running: RunningCommand[] = [];
/** Everything that any command wrote. */
let written: string;

beforeEach(() => {
  folder = temporaryFolder();
  written = '';
});
afterEach(async () => {
  for (const command of running.splice(0)) {
    const { stdout, stderr } = await command.stop();
    written += stdout + stderr;
  }
  await server?.[Symbol.asyncDispose]();
  server = undefined;
  folder.remove();
  expect(written).not.toContain('hunter2');
});

function users(list: Readonly<Record<string, Permissions | undefined>>): string {
  const texts = Object.entries(list).map(([user, permissions]) => {
    const limits = permissions === undefined ? '' : `, permissions: ${JSON.stringify(permissions)}`;
    return `{ user: "${user}", password: hunter2${limits} }`;
  });
  return `authorization { users: [${texts.join(', ')}] }`;
}

function config(nats: string): string {
  const file = join(folder.path, 'antiphon.yaml');
  const lines = [
    'cluster: shop',
    'id: eu-1',
    `nats: ${nats}`,
    'store: { sqlite: { file: shop.db } }',
    'topology: { mode: primary-replica, primary: eu-1 }',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  if (!existsSync(join(folder.path, 'shop.db'))) {
    sqlite3(join(folder.path, 'shop.db'), 'CREATE TABLE item (id TEXT PRIMARY KEY, n)');
  }
  return file;
}

async function run(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const ended = await antiphon(args, { cwd: folder.path });
  written += ended.stdout + ended.stderr;
  return ended;
}

function start(...args: string[]): RunningCommand {
  const command = new RunningCommand(args, { cwd: folder.path });
  running.push(command);
  return command;
}

it('shows no password: not of the address, the file or the environment, in nothing that it says', async () => {
  server = await GuardedServer.start(users({ me: undefined }));
  const file = config(`{ servers: '${server.url('me:hunter2')}' }`);
  const replica = start('run', '--config', file);
  await replica.says('takes part in');
  const commands = [
    ['status', '--config', file],
    ['doctor', '--config', file],
    ['doctor', '--config', file, '--json', '--monitor', 'http://me:hunter2@127.0.0.1:1/'],
    ['exec', '--config', file, "INSERT INTO item VALUES ('a', 1)"],
    ['query', '--config', file, 'SELEKT'],
    ['status', '--servers', server.url('me:hunter2'), '--cluster', 'other', '--json'],
    ['status', '--servers', 'nats://me:hunter2@127.0.0.1:1', '--cluster', 'shop'],
    ['status', '--servers', 'nats://me:hunter2', '--cluster', 'shop'],
    ['status', `--server=${server.url('me:hunter2')}`],
    [server.url('me:hunter2')],
    ['status', server.url('me:hunter2')],
    ['init', '--servers', server.url('me:hunter2'), '--output', 'other.yaml'],
  ];
  await Promise.all(commands.map((args) => run(...args)));
  const initialised = readFileSync(join(folder.path, 'other.yaml'), 'utf8');
  expect(initialised).not.toContain('hunter2');
  expect(initialised).toContain("password: '${ANTIPHON_PASSWORD}'");
  const { stdout } = await run('status', '--config', file, '--json');
  expect(JSON.parse(stdout)).toMatchObject({ servers: [server.url()] });
  const wrong = await run('status', '--servers', server.url('me:hunter23'), '--cluster', 'shop');
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toMatch(/refuses the login.*\[ACCESS_DENIED\]\n$/);
});

it('ends at once when NATS refuses the login, and does not try for ever', async () => {
  server = await GuardedServer.start(users({ me: undefined }));
  const file = config(`{ servers: ${server.url()}, user: me, password: '\${PW}' }`);
  const ended = await antiphon(['run', '--config', file], { cwd: folder.path, env: { PW: 'hunter23' } });
  written += ended.stdout + ended.stderr;
  expect(ended.code).toBe(1);
  expect(ended.stderr.trim().split('\n')).toHaveLength(1);
  expect(ended.stderr).toMatch(/refuses the login.*ACCESS_DENIED/);
});

it('says once what is not permitted: at the start, and while it runs for as long as it lasts', async () => {
  const all = permissionsOf('creator', 'shop', { id: 'eu-1' });
  const less = { ...all, publish: all.publish.filter((subject) => subject !== 'antiphon.shop.beat.eu-1') };
  const reader = permissionsOf('reader', 'shop');
  server = await GuardedServer.start(
    users({ 'eu-1': less, reader, nobody: { publish: ['x'], subscribe: ['_INBOX.>'] } }),
  );
  const file = config(`{ servers: ${server.url()}, user: eu-1, password: hunter2 }`);
  const refused = await run('run', '--config', file);
  expect(refused.code).toBe(1);
  expect(refused.stderr.trim().split('\n')).toHaveLength(1);
  expect(refused.stderr).toMatch(
    /publish to "antiphon\.shop\.beat\.eu-1".*docs\/access\.md.*\[ACCESS_DENIED\]/,
  );

  await server.reload(users({ 'eu-1': all, reader, nobody: { publish: ['x'], subscribe: ['_INBOX.>'] } }));
  const replica = start('run', '--config', file);
  await replica.says('takes part in');
  writeFileSync(join(folder.path, 'pw'), 'hunter2\n');
  const as = (user: string): string[] => [
    ...['--servers', server?.url() ?? '', '--cluster', 'shop'],
    ...['--user', user, '--password-file', 'pw'],
  ];
  await server.reload(users({ 'eu-1': less, reader, nobody: { publish: ['x'], subscribe: ['_INBOX.>'] } }));
  await replica.says('does not permit');
  await eventually(
    'status shows it',
    async () => {
      const { stdout } = await run('status', ...as('reader'));
      return /! eu-1: NATS at .* does not permit .*antiphon\.shop\.beat\.eu-1/.test(stdout);
    },
    PATIENCE_MS,
  );
  await new Promise((resolve) => setTimeout(resolve, 3000));
  expect(replica.stdout.match(/does not permit/g)).toHaveLength(1);
  const doctor = await run('doctor', ...as('reader'));
  expect(doctor.stdout).toMatch(/warn {2}eu-1: NATS at .* does not permit .*\n {6}→ Grant it/);

  const denied = await run('exec', "INSERT INTO item VALUES ('x', 1)", ...as('reader'));
  expect(denied.code).toBe(1);
  expect(denied.stderr).toMatch(/does not permit .*"antiphon\.shop\.replica\.eu-1\.execute".*ACCESS_DENIED/);
  for (const args of [['status'], ['query', 'SELECT 1']]) {
    const { code, stderr } = await run(...args, ...as('nobody'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/does not permit .*\[ACCESS_DENIED\]\n$/);
  }

  await server.reload(users({ 'eu-1': all, reader }));
  await replica.says('NATS permits it again');
  await eventually(
    'status no longer shows it',
    async () => {
      const { stdout } = await run('status', ...as('reader'));
      return !stdout.includes('does not permit');
    },
    PATIENCE_MS,
  );
}, 240_000);
