import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ReleaseArchive } from './release-archive.js';
import { downloadRelease } from './release-download.js';

const archive: ReleaseArchive = {
  version: '2.10.99',
  folder: 'nats-server-v2.10.99-linux-amd64',
  fileName: 'nats-server-v2.10.99-linux-amd64.tar.gz',
};
const CONTENT = '#!/bin/sh\necho nats-server: v2.10.99\n';

let dir: string;
let target: string;
let http: Server | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-download-'));
  target = join(dir, 'cache', 'nats-server-2.10.99', 'nats-server');
});
afterEach(() => {
  http?.closeAllConnections();
  http?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** A real archive in the layout of the official ones. */
function makeArchive(): Buffer {
  const folder = join(dir, 'release', archive.folder);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'nats-server'), CONTENT);
  writeFileSync(join(folder, 'README.md'), 'read me');
  execFileSync('tar', ['-czf', join(dir, archive.fileName), '-C', join(dir, 'release'), archive.folder]);
  return readFileSync(join(dir, archive.fileName));
}

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  http = server;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/releases`;
}

function sumsOf(content: Buffer): string {
  return `${createHash('sha256').update(content).digest('hex')}  ${archive.fileName}\n`;
}

/** Serves a release folder: file name to content. */
function release(files: Readonly<Record<string, Buffer | string>>): RequestListener {
  return (request, response) => {
    const name = request.url?.replace(`/releases/v${archive.version}/`, '') ?? '';
    const content = files[name];
    response.writeHead(content === undefined ? 404 : 200).end(content);
  };
}

async function expectFailure(baseUrl: string, message: RegExp): Promise<void> {
  const attempt = downloadRelease({ archive, target, baseUrl, idleTimeoutMs: 300 });
  await expect(attempt).rejects.toMatchObject({
    code: 'NATS_SERVER_NOT_FOUND',
    message: expect.stringMatching(message),
  });
  expect(existsSync(target)).toBe(false);
  // Nothing half done stays in the cache.
  expect(readdirSync(join(dir, 'cache', 'nats-server-2.10.99'))).toEqual([]);
}

describe('download of a release', () => {
  it('keeps the checked, executable binary in the cache, also when two download at once', async () => {
    const content = makeArchive();
    const baseUrl = await serve(release({ SHA256SUMS: sumsOf(content), [archive.fileName]: content }));
    const steps: string[] = [];
    const one = downloadRelease({ archive, target, baseUrl, onStep: (message) => steps.push(message) });
    await Promise.all([one, downloadRelease({ archive, target, baseUrl })]);
    expect(readFileSync(target, 'utf8')).toBe(CONTENT);
    expect(statSync(target).mode & 0o777).toBe(0o755);
    expect(readdirSync(join(dir, 'cache', 'nats-server-2.10.99'))).toEqual(['nats-server']);
    expect(steps[0]).toContain(`${baseUrl}/v2.10.99/${archive.fileName}`);
  });

  it('refuses an archive whose checksum differs', async () => {
    const content = makeArchive();
    const sums = `${'0'.repeat(64)}  ${archive.fileName}\n`;
    const baseUrl = await serve(release({ SHA256SUMS: sums, [archive.fileName]: content }));
    await expectFailure(baseUrl, /not what was published/);
  });

  it('refuses a pinned release that was published again with other content', async () => {
    const fileName = 'nats-server-v2.10.29-linux-amd64.tar.gz';
    const baseUrl = await serve((_, response) => response.end(`${'0'.repeat(64)}  ${fileName}\n`));
    const pinned = { version: '2.10.29', folder: 'nats-server-v2.10.29-linux-amd64', fileName };
    await expect(downloadRelease({ archive: pinned, target, baseUrl })).rejects.toThrow(/it was replaced/);
  });

  it('refuses a release that does not list the archive', async () => {
    await expectFailure(await serve(release({ SHA256SUMS: 'nothing here' })), /does not list/);
  });

  it('says what the server answered', async () => {
    await expectFailure(await serve(release({})), /answered 404/);
    const content = makeArchive();
    http?.close();
    await expectFailure(await serve(release({ SHA256SUMS: sumsOf(content) })), /tar\.gz answered 404/);
  });

  it('gives up on a server that never answers, or stops in the middle', async () => {
    await expectFailure(await serve(() => undefined), /sent nothing for 300 ms/);
    http?.closeAllConnections();
    http?.close();
    const content = makeArchive();
    const stuck = await serve((request, response) => {
      if (request.url?.endsWith('SHA256SUMS') === true) response.end(sumsOf(content));
      else response.writeHead(200, { 'content-length': content.length }).write(content.subarray(0, 10));
    });
    await expectFailure(stuck, /sent nothing for 300 ms/);
  });

  it('says why when a connection is refused or cut', async () => {
    const baseUrl = await serve(() => undefined);
    http?.close();
    await expectFailure(baseUrl, /cannot be fetched: .*ECONNREFUSED/);
    await expectFailure(await serve((request) => request.socket.destroy()), /cannot be fetched/);
  });

  it('refuses something that is no archive', async () => {
    const content = Buffer.from('<html>please log in</html>');
    const baseUrl = await serve(release({ SHA256SUMS: sumsOf(content), [archive.fileName]: content }));
    await expectFailure(baseUrl, /could not be unpacked with tar/);
  });

  it('ends at once when the caller gives up', async () => {
    const baseUrl = await serve(() => undefined);
    const controller = new AbortController();
    const attempt = downloadRelease({ archive, target, baseUrl, signal: controller.signal });
    controller.abort();
    await expect(attempt).rejects.toMatchObject({ code: 'NATS_SERVER_NOT_FOUND' });
  });
});
