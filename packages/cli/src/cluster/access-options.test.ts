import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { resolveTarget } from './target.js';
import { writeContext } from './context-file.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antiphon-access-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const where = { cluster: 'shop', servers: 'nats://h:1' };
const environment = { ANTIPHON_USER: 'env', ANTIPHON_PASSWORD: 'env-pw', ANTIPHON_TLS_CA: '/env/ca.pem' };

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

function nats(options: object, env: NodeJS.ProcessEnv = {}): unknown {
  return resolveTarget({ ...where, ...options }, env, folder).nats;
}

it('takes a login from the command line, secrets from files', () => {
  write('pw', 'hunter2\n');
  const servers = ['nats://h:1'];
  expect(nats({ user: 'me', passwordFile: 'pw' })).toEqual({ servers, user: 'me', password: 'hunter2' });
  expect(nats({ tokenFile: 'pw' })).toEqual({ servers, token: 'hunter2' });
  expect(nats({ creds: 'me.creds', tlsCa: 'ca.pem' })).toEqual({
    servers,
    creds: join(folder, 'me.creds'),
    tls: { ca: join(folder, 'ca.pem') },
  });
});

it('takes all of a login from one place: the command line, the file, the environment', () => {
  const text =
    'cluster: shop\nid: eu-1\nnats: { servers: nats://h:1, token: of-the-file }\nstore: { sqlite: { file: a.db } }\ntopology: { mode: multi-primary }\n';
  const config = write('replica.yaml', text);
  expect(nats({ nkey: 'me.nk' }, environment)).toMatchObject({
    nkey: join(folder, 'me.nk'),
    tls: { ca: '/env/ca.pem' },
  });
  expect(nats({ nkey: 'me.nk' }, environment)).not.toHaveProperty('user');
  expect(nats({ config }, environment)).toMatchObject({ token: 'of-the-file' });
  expect(nats({ config }, environment)).not.toHaveProperty('user');
  expect(nats({}, environment)).toMatchObject({ user: 'env', password: 'env-pw' });
});

it('takes what the address holds before the file and the environment', () => {
  const target = nats({ servers: 'nats://me:hunter2@h:1' }, environment);
  expect(target).toEqual({ servers: ['nats://me:hunter2@h:1'], tls: { ca: '/env/ca.pem' } });
});

it('does not use what is set for another cluster at the one that runs in this folder', () => {
  writeContext(folder, { cluster: 'here', servers: ['nats://here:1'], pid: process.pid, replicas: [] });
  expect(resolveTarget({}, environment, folder).nats).toEqual({ servers: ['nats://here:1'] });
});

it('refuses a seed on the command line, an empty file and one that is not there', () => {
  expect(() => nats({ nkey: `SU${'A'.repeat(56)}` })).toThrow(/`--nkey` takes the path of a file/);
  write('empty', '\n');
  expect(() => nats({ user: 'u', passwordFile: 'empty' })).toThrow(/--password-file is empty/);
  expect(() => nats({ tokenFile: 'none' })).toThrow(/--token-file cannot be read.*ENOENT/);
});
