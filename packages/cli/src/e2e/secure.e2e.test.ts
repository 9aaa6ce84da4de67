import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findNatsServer } from '@antiphon/nats-server';
import { withParentDeathSignal } from '@antiphon/nats-server/internal';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  antiphon,
  freePort,
  PATIENCE_MS,
  RunningCommand,
  sqlite3,
  temporaryFolder,
  type Ended,
} from './antiphon.js';

let folder: ReturnType<typeof temporaryFolder>;
let natsPort: number;
let nats: ChildProcess | undefined;
const running: RunningCommand[] = [];
/** Everything that any command wrote. */
let written: string;

beforeEach(async () => {
  folder = temporaryFolder();
  natsPort = await freePort();
  written = '';
});
afterEach(async () => {
  for (const command of running.splice(0)) await command.stop();
  nats?.kill('SIGKILL');
  nats = undefined;
  folder.remove();
});

const path = (...names: readonly string[]): string => join(folder.path, ...names);
const text = (...names: readonly string[]): string => readFileSync(path(...names), 'utf8');

async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const ended = await antiphon(args, { cwd: folder.path, env });
  written += ended.stdout + ended.stderr;
  return ended;
}

/** As a shell that has read the file. */
function userOf(name: string): NodeJS.ProcessEnv {
  const lines = [...text('secure', `${name}.env`).matchAll(/^export (\w+)=(.*)$/gm)];
  return Object.fromEntries(
    lines.map(([, variable = '', value = '']) => [variable, value.replace(/^'(.*)'$/, '$1')]),
  );
}

const as = (name: string, ...args: readonly string[]): Promise<Ended> => run(args, userOf(name));

async function startServer(): Promise<void> {
  const found = await findNatsServer({ systemPackage: false, download: false });
  if (found.kind !== 'binary') throw new Error('needs a nats-server binary');
  const { command, args } = withParentDeathSignal(found.binary, [
    '-c',
    path('nats-server.conf'),
    '-l',
    path('log'),
  ]);
  nats = spawn(command, args, { stdio: 'ignore' });
  const isReady = (): boolean => existsSync(path('log')) && text('log').includes('Server is ready');
  await eventually('the server is ready', isReady, PATIENCE_MS);
}

async function reload(): Promise<void> {
  const before = text('log').length;
  nats?.kill('SIGHUP');
  await eventually(
    'the server has its users anew',
    () => /Reloaded: accounts/.test(text('log').slice(before)),
    {
      seen: () => text('log').slice(before),
    },
  );
}

/** On a port that is free: those of the files may not be. Returns its address. */
async function startReplica(id: string): Promise<string> {
  const port = await freePort();
  const file = path(`${id}.yaml`);
  writeFileSync(
    file,
    readFileSync(file, 'utf8').replace(/listen: 127.0.0.1:\d+/, `listen: 127.0.0.1:${port}`),
  );
  const command = new RunningCommand(['run', '--config', `${id}.yaml`], { cwd: folder.path });
  running.push(command);
  await command.says('answers over HTTP');
  return `http://127.0.0.1:${port}`;
}

/** Every file of which only this user may know the content. */
function secrets(): readonly string[] {
  const files = readdirSync(path('secure')).filter((name) => /\.(nk|key|token)$/.test(name));
  return files.map(
    (name) =>
      text('secure', name)
        .replace(/-----[A-Z ]+-----/g, '')
        .trim()
        .split('\n')[0] ?? '',
  );
}

it('init --secure makes a cluster in which everybody may do what their role says, and nobody else anything', async () => {
  sqlite3(path('shop.db'), 'CREATE TABLE item (id TEXT PRIMARY KEY, n)');
  const made = await run([
    ...['init', '--secure', '--ids', 'eu-1,eu-2', '--servers', `nats://127.0.0.1:${natsPort}`],
  ]);
  expect(made).toMatchObject({ code: 0, stderr: '' });

  await startServer();
  const [first] = [await startReplica('eu-1'), await startReplica('eu-2')];
  const done = await as('client', 'exec', "INSERT INTO item VALUES ('a', 1)");
  expect(done).toMatchObject({ code: 0 });
  await eventually('eu-2 has it', async () => {
    const { stdout } = await as(
      'client-reader',
      'query',
      'SELECT n FROM item',
      '--replica',
      'eu-2',
      '--json',
    );
    return stdout.includes('[[1]]');
  });
  const status = await as('reader', 'status');
  expect(status.code).toBe(0);
  expect(status.stdout).toMatch(/eu-1 [^]*eu-2 /);
  expect(status.stdout).not.toContain('!');
  expect((await run(['status', '--config', 'eu-2.yaml'])).code).toBe(0);
  const changes = await as('client-reader', 'changes', '--from', 'beginning', '--max', '1', '--json');
  expect(changes).toMatchObject({ code: 0, stdout: expect.stringContaining('"item"') as string });
  expect((await as('reader', 'doctor')).stdout).toMatch(/0 failed/);
  const refused = await as('client-reader', 'exec', "INSERT INTO item VALUES ('b', 1)");
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/does not permit .*replica\.eu-1\.execute.*ACCESS_DENIED/);
  const { ANTIPHON_TLS_CERT: _c, ANTIPHON_TLS_KEY: _k, ...bare } = userOf('reader');
  expect((await run(['status'], bare)).stderr).toMatch(/certificate.*ACCESS_DENIED/);
  expect((await run(['status'], { ...bare, ...userOf('reader'), ANTIPHON_NKEY: '' })).stderr).toMatch(
    /ACCESS_DENIED/,
  );

  const ask = (token?: string): Promise<Response> =>
    fetch(`${first}/v1/status`, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
  expect((await ask()).status).toBe(401);
  const answer = await ask(text('secure', 'http-read.token'));
  expect(answer.status).toBe(200);
  written += await answer.text();

  expect(await run(['init', '--secure', '--add', 'eu-3'])).toMatchObject({ code: 0, stderr: '' });
  await reload();
  await startReplica('eu-3');
  await eventually('eu-3 has the rows', async () => {
    const { stdout } = await as('reader', 'query', 'SELECT n FROM item', '--replica', 'eu-3', '--json');
    return stdout.includes('[[1]]');
  });

  const before = secrets();
  writeFileSync(path('stolen.nk'), text('secure', 'reader.nk'));
  const thief = { ...userOf('reader'), ANTIPHON_NKEY: path('stolen.nk') };
  expect((await run(['status'], thief)).code).toBe(0);
  expect(await run(['init', '--secure', '--renew', 'reader,server'])).toMatchObject({ code: 0, stderr: '' });
  await reload();
  expect((await run(['status'], thief)).stderr).toMatch(/refuses the login.*ACCESS_DENIED/);
  expect((await as('reader', 'status')).code).toBe(0);

  await run(['doctor', '--config', 'eu-1.yaml', '--json']);
  await as('admin', 'query', 'SELEKT');
  for (const command of running) written += command.stdout + command.stderr;
  const shown = [
    'nats-server.conf',
    'eu-1.yaml',
    'eu-3.yaml',
    'log',
    'secure/users.conf',
    'secure/accounts.conf',
    'secure/access.json',
  ];
  written += shown.map((name) => text(name)).join('\n');
  const all = [...before, ...secrets()];
  expect(all.length).toBeGreaterThan(20);
  expect(all.filter((secret) => secret.length < 20 || written.includes(secret))).toEqual([]);
}, 240_000);
