import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cachedBinary } from './binary-cache.js';
import { findNatsServer, type FindNatsServerOptions } from './find-server.js';
import { NatsServer } from '../run/nats-server.js';
import { releaseArchive } from './release-archive.js';

/** The real binary of this machine. */
let real: { readonly binary: string; readonly version: string };
let dir: string;
let steps: string[];

beforeAll(async () => {
  const found = await findNatsServer({ systemPackage: false, download: false });
  if (found.kind !== 'binary') throw new Error('expected a binary');
  real = found;
});
const folders: string[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-find-'));
  folders.push(dir);
  steps = [];
});
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** A search that sees nothing of this machine but the tools it needs. */
function find(options: FindNatsServerOptions = {}): ReturnType<typeof findNatsServer> {
  return findNatsServer({
    env: { PATH: '/nowhere' },
    systemFolders: [],
    cacheDir: join(dir, 'cache'),
    systemPackage: false,
    download: false,
    onStep: (message) => steps.push(message),
    ...options,
  });
}

function script(file: string, body: string): string {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
  return file;
}

describe('finding a nats-server', () => {
  it('takes a given URL and looks no further', async () => {
    expect(await find({ url: 'nats://example:4222' })).toEqual({ kind: 'url', url: 'nats://example:4222' });
    expect(steps).toEqual(['using the NATS server at nats://example:4222']);
  });

  it('takes a given binary, or the one in ANTIPHON_NATS_SERVER', async () => {
    const expected = { kind: 'binary', source: 'given', ...pick(real) };
    expect(await find({ binary: real.binary })).toEqual(expected);
    expect(await find({ env: { ANTIPHON_NATS_SERVER: real.binary } })).toEqual(expected);
  });

  it('never passes over a given binary that does not work', async () => {
    const env = { PATH: dirname(real.binary), ANTIPHON_NATS_SERVER: '/nowhere/nats-server' };
    await expect(find({ env })).rejects.toMatchObject({
      code: 'NATS_SERVER_NOT_FOUND',
      message: expect.stringContaining('ANTIPHON_NATS_SERVER'),
    });
  });

  it('finds one on PATH, and passes over one that is too old', async () => {
    symlinkSync(real.binary, join(dir, 'nats-server'));
    expect(await find({ env: { PATH: dir } })).toMatchObject({
      source: 'path',
      binary: join(dir, 'nats-server'),
    });
    script(join(dir, 'old', 'nats-server'), 'echo "nats-server: v2.8.4"');
    await expect(find({ env: { PATH: join(dir, 'old') } })).rejects.toThrow(
      /version 2\.8\.4; Antiphon needs 2\.9\.0/,
    );
  });

  it('finds one in the cache, below XDG_CACHE_HOME', async () => {
    const binary = cachedBinary(join(dir, 'xdg', 'antiphon'), '2.10.29');
    mkdirSync(dirname(binary), { recursive: true });
    symlinkSync(real.binary, binary);
    const env = { PATH: '/nowhere', XDG_CACHE_HOME: join(dir, 'xdg') };
    const found = await findNatsServer({ env, systemFolders: [], systemPackage: false, download: false });
    expect(found).toEqual({ kind: 'binary', source: 'cache', binary, version: real.version });
  });

  it('uses what the system package brought', async () => {
    script(join(dir, 'apt-get'), `ln -s ${real.binary} ${join(dir, 'nats-server')}`);
    script(join(dir, 'sudo'), 'shift; exec "$@"');
    expect(await find({ env: { PATH: dir }, systemPackage: true })).toMatchObject({ source: 'package' });
  });

  it('says everything it tried when there is none, and what to do', async () => {
    const error: unknown = await find({ systemPackage: true, env: { PATH: '/nowhere' } }).catch(
      (e: unknown) => e,
    );
    expect(error).toMatchObject({ code: 'NATS_SERVER_NOT_FOUND' });
    const { message } = error as Error;
    const parts = ['not on PATH', 'not in the cache', 'no apt-get', 'switched off', 'Do one of these'];
    for (const part of parts) expect(message).toContain(part);
    expect(steps).toHaveLength(4);
  });

  it('stops with ABORTED when the caller gives up', async () => {
    const signal = AbortSignal.abort();
    await expect(find({ signal })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(find({ signal, binary: real.binary })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(find({ signal, download: true })).rejects.toMatchObject({ code: 'ABORTED' });
    const reason = new Error('not needed any more');
    await expect(find({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe('a downloaded release', () => {
  it('is fetched, checked, kept, started, and found in the cache the next time', async () => {
    const version = '2.10.98';
    const archive = releaseArchive(version, process.platform, process.arch)!;
    mkdirSync(join(dir, 'release', archive.folder), { recursive: true });
    cpSync(real.binary, join(dir, 'release', archive.folder, 'nats-server'));
    execFileSync('tar', ['-czf', join(dir, archive.fileName), '-C', join(dir, 'release'), archive.folder]);
    const content = readFileSync(join(dir, archive.fileName));
    const sums = `${createHash('sha256').update(content).digest('hex')}  ${archive.fileName}\n`;
    let requests = 0;
    const http = createServer((request, response) => {
      requests += 1;
      response.end(request.url?.endsWith('/SHA256SUMS') === true ? sums : content);
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    try {
      const releasesUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
      const options = { download: true, releasesUrl, version };
      const first = await find(options);
      expect(first).toMatchObject({ kind: 'binary', source: 'download', version: real.version });
      expect(await find(options)).toMatchObject({ source: 'cache' });
      expect(requests).toBe(2);
      if (first.kind !== 'binary') throw new Error('expected a binary');
      await using server = await NatsServer.start({ storeDir: join(dir, 'store'), binary: first.binary });
      expect(server.state).toBe('running');
    } finally {
      http.close();
    }
  });
});

function pick({ binary, version }: { readonly binary: string; readonly version: string }): object {
  return { binary, version };
}
