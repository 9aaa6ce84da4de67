import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadConfig } from '../config/load-config.js';
import type { Terminal } from '../output/terminal.js';
import { createProgram } from '../program.js';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'antiphon-secure-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const text = (...names: readonly string[]): string => readFileSync(join(cwd, ...names), 'utf8');

/** `antiphon init …` in this process. Throws what it fails with. */
async function init(...args: readonly string[]): Promise<string> {
  let said = '';
  const terminal: Terminal = {
    out: (output) => void (said += output),
    err: () => undefined,
    ...{
      interactive: false,
      color: false,
      columns: 80,
      waitingFor: () => undefined,
      json: args.includes('--json'),
    },
  };
  const { signal } = new AbortController();
  const program = createProgram({
    context: () => ({ terminal, env: {}, cwd, signal }),
    finished: () => undefined,
  });
  await program.parseAsync(['init', ...args], { from: 'user' });
  return said;
}

/** Every file with what is in it. */
function contents(): Readonly<Record<string, string>> {
  const names = readdirSync(cwd, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    names.map(({ parentPath, name }) => [
      join(parentPath, name),
      readFileSync(join(parentPath, name), 'utf8'),
    ]),
  );
}

const SECURE = ['--secure', '--ids', 'eu-1,eu-2'];

it('writes files that the commands understand, and secrets that only this user can read', async () => {
  const said = await init(...SECURE, '--servers', 'h.example,nats://[::1]:4333', '--hosts', 'Other.example');
  expect(said).toContain('nats-server -c nats-server.conf');
  expect(said).toContain('. ./secure/reader.env && antiphon status');
  for (const id of ['eu-1', 'eu-2']) {
    const { cluster, nats, http } = loadConfig(join(cwd, `${id}.yaml`), {});
    const own = (ending: string): string => join(cwd, 'secure', `${id}.${ending}`);
    expect({ cluster, nats }).toEqual({
      cluster: 'shop',
      nats: {
        ...{
          servers: ['tls://h.example:4222', 'tls://[::1]:4333'],
          nkey: own('nk'),
          inboxPrefix: `_INBOX.${id}`,
        },
        tls: { ca: join(cwd, 'secure', 'ca.pem'), cert: own('pem'), key: own('key') },
      },
    });
    expect(http?.tokens?.map(({ role }) => role)).toEqual(['read', 'write', 'admin']);
  }
  expect(text('nats-server.conf')).toContain('listen: "0.0.0.0:4222"');
  const hosts = ['localhost', '127.0.0.1', '::1', 'h.example', 'other.example'];
  expect(JSON.parse(text('secure', 'access.json'))).toMatchObject({ cluster: 'shop', hosts });
  expect(statSync(join(cwd, 'secure')).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(join(cwd, 'secure'))) {
    const mode = (statSync(join(cwd, 'secure', name)).mode & 0o777).toString(8);
    expect({ name, mode }).toEqual({ name, mode: /\.(nk|key|token)$/.test(name) ? '600' : '644' });
  }
  expect(text('secure', '.gitignore')).toBe('*\n');
});

it('adds replicas, and leaves everything else as it is', async () => {
  await init(...SECURE);
  const before = contents();
  expect(JSON.parse(await init('--secure', '--add', 'eu-3,eu-4', '--json'))).toMatchObject({
    ...{ cluster: 'shop', replicas: ['eu-3', 'eu-4'] },
  });
  expect(contents()).toMatchObject({
    ...before,
    ...{ [join(cwd, 'secure/users.conf')]: expect.stringContaining('# eu-4: replica') as string },
    [join(cwd, 'secure/accounts.conf')]: expect.any(String) as string,
    [join(cwd, 'secure/access.json')]: expect.any(String) as string,
  });
  expect(loadConfig(join(cwd, 'eu-4.yaml'), {}).http?.listen).toBe('127.0.0.1:7073');
});

it('renews the keys of those that are named, and of nobody else', async () => {
  await init(...SECURE);
  const before = contents();
  expect(await init('--secure', '--renew', 'eu-2,server')).toMatch(/^Wrote in secure: eu-2\.nk, eu-2\.pem/);
  const after = contents();
  const changed = Object.keys(before).filter((file) => before[file] !== after[file]);
  expect(changed.map((file) => file.slice(cwd.length + 1)).sort()).toEqual([
    ...['access.json', 'eu-2.key', 'eu-2.nk', 'eu-2.pem', 'server.key', 'server.pem', 'users.conf'].map(
      (name) => `secure/${name}`,
    ),
  ]);
  expect(statSync(join(cwd, 'secure', 'eu-2.nk')).mode & 0o777).toBe(0o600);
});

it('grants what the files of the replicas ask for, once it is told', async () => {
  await init(...SECURE);
  writeFileSync(join(cwd, 'eu-2.yaml'), `${text('eu-2.yaml')}\npublish: { subject: 'shop.{table}.{op}' }\n`);
  expect(text('secure', 'users.conf')).not.toContain('shop.*.*');
  await init('--secure', '--update');
  expect(text('secure', 'users.conf').match(/"shop\.\*\.\*"/g)).toHaveLength(1);
  writeFileSync(join(cwd, 'eu-2.yaml'), text('eu-2.yaml').replace('cluster: shop', 'cluster: ${NONE}'));
  const before = contents();
  await expect(init('--secure', '--renew', 'eu-1')).rejects.toThrow(/NONE is not set/);
  expect(contents()).toEqual(before);
});

it('keeps who asks out of the account of the replicas', async () => {
  await init(...SECURE);
  const commentsIn = (name: string): readonly string[] =>
    [...text('secure', name).matchAll(/^ +# (.*)$/gm)].map(([, comment = '']) => comment);
  expect(commentsIn('users.conf')).toEqual(['eu-1: creator', 'eu-2: replica', 'admin: admin']);
  expect(commentsIn('accounts.conf')).toEqual([
    'reader: reader',
    'client: client',
    'client-reader: client-reader',
  ]);
  const server = text('nats-server.conf');
  const include = 'include "secure/accounts.conf"';
  expect(server).toContain(`\n  ${include}\n`);
  // As it was written before there were accounts.
  writeFileSync(join(cwd, 'nats-server.conf'), server.replace(include, ''));
  const before = contents();
  for (const change of [['--update'], ['--renew', 'reader'], ['--add', 'eu-3']])
    await expect(init('--secure', ...change)).rejects.toThrow(`Write \`${include}\` as a line of its own`);
  expect(contents()).toEqual(before);
  writeFileSync(join(cwd, 'nats-server.conf'), server);
  await init('--secure', '--update');
});

it('overwrites nothing', async () => {
  await init(...SECURE);
  const before = contents();
  await expect(init(...SECURE)).rejects.toThrow(
    /nats-server\.conf already exists, and `--secure` overwrites nothing.*`--dir`/,
  );
  writeFileSync(join(cwd, 'eu-9.yaml'), 'mine');
  await expect(init('--secure', '--add', 'eu-9')).rejects.toThrow(/eu-9\.yaml already exists/);
  expect(contents()).toEqual({ ...before, [join(cwd, 'eu-9.yaml')]: 'mine' });
  rmSync(join(cwd, 'nats-server.conf'));
  await expect(init(...SECURE)).rejects.toThrow(/eu-1\.yaml already exists/);
});

it.each<[readonly string[], RegExp]>([
  [['--secure', '--add', 'eu-2'], /"eu-2" is a user already\..*`--renew eu-2`/],
  [['--secure', '--renew', 'eu-9'], /"eu-9" is not a user\. Name one of eu-1, eu-2, reader, admin/],
  [['--secure', '--renew', 'eu-1', '--add', 'eu-9'], /`--add` and `--renew` do not go together/],
  [['--secure', '--dir', 'other', '--add', 'eu-9'], /access\.json cannot be read \(ENOENT\)/],
  [['--secure', '--dir', 'other', '--ids', 'admin'], /"admin" is the name of another user/],
  [['--secure', '--dir', 'other', '--ids', 'a,a'], /Two replicas are called "a"/],
  [['--secure', '--dir', 'other', '--ids', 'a.b'], /"a\.b" is not a valid replica id/],
  [['--secure', '--dir', 'other', '--hosts', 'a:1'], /neither a host name nor an IP address/],
  [['--secure', '--dir', 'other', '--servers', 'me:hunter2@h'], /without a user name, password or token/],
  [['--secure', '--force'], /Leave out `--force`/],
  [['--secure', '--output', 'x.yaml'], /`--dir` in place of `--output`/],
  [['--ids', 'a,b'], /`--ids` goes with `--secure`/],
])('init %j is refused', async (args, message) => {
  await init(...SECURE);
  const before = contents();
  const error: unknown = await init(...args).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'BAD_OPTION', message: expect.stringMatching(message) as string });
  expect(String(error)).not.toContain('hunter2');
  expect(contents()).toEqual(before);
});
