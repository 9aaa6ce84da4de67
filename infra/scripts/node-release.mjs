import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { inWorkFolder, keepInCache, releaseName } from './node-cache.mjs';
import { unpack } from './node-package.mjs';
import { OBTAINED_MAJOR } from './node-version.mjs';
import { step } from './steps.mjs';

/** Where the Node.js project publishes its releases. */
const RELEASES_URL = 'https://nodejs.org/dist';
/** No byte for this long, connecting included, ends the download. */
const IDLE_LIMIT_MS = 20_000;
/** A release is about 55 MB; anything this large is not one. */
const MAX_ARCHIVE_BYTES = 256 * 1024 * 1024;
const MAX_SUMS_BYTES = 256 * 1024;

/**
 * Downloads the newest official release of the line, checks its SHA-256 and keeps it in the cache
 * folder.
 * @returns {Promise<{ binary: string, version: string } | { reason: string }>}
 */
export async function nodeFromRelease({ machine, cacheDir, releasesUrl = RELEASES_URL }) {
  const folderUrl = `${releasesUrl}/latest-v${OBTAINED_MAJOR}.x`;
  const done = step(`obtaining Node.js ${OBTAINED_MAJOR}: ${folderUrl} (about 55 MB, kept in ${cacheDir})`);
  try {
    const release = releaseIn(await fetchText(`${folderUrl}/SHASUMS256.txt`), machine);
    if (release === undefined) {
      return {
        reason: `there is no official release for ${machine.platform} on ${machine.arch} at ${folderUrl}`,
      };
    }
    return await inWorkFolder(cacheDir, async (workFolder) => {
      const archive = join(workFolder, release.fileName);
      const actual = await fetchToFile(`${folderUrl}/${release.fileName}`, archive);
      if (actual !== release.checksum) {
        return {
          reason: `${release.fileName} is not what was published: SHA-256 ${actual}, not ${release.checksum}`,
        };
      }
      const folder = join(workFolder, 'release');
      const failure = await unpack(archive, folder);
      if (failure !== undefined) return { reason: failure };
      return keepInCache({ folder, workFolder, cacheDir, machine });
    });
  } catch (error) {
    // fetch says only "fetch failed"; what went wrong is in its cause.
    return { reason: `no official release: ${error.cause?.message ?? error.message}` };
  } finally {
    done();
  }
}

/**
 * The archive for a kind of machine in the text of SHASUMS256.txt; undefined when it lists none.
 */
export function releaseIn(sums, machine) {
  for (const line of sums.split('\n')) {
    const [, checksum, fileName, version] =
      /^([0-9a-f]{64})\s+(node-v([\d.]+)-\S+\.tar\.gz)$/.exec(line.trim()) ?? [];
    if (version !== undefined && fileName === `${releaseName(version, machine)}.tar.gz`)
      return { fileName, checksum };
  }
  return undefined;
}

async function fetchText(url) {
  const chunks = [];
  for await (const chunk of fetchChunks(url, MAX_SUMS_BYTES)) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** Writes what the URL answers to a file and returns its SHA-256 in hex. */
async function fetchToFile(url, file) {
  const hash = createHash('sha256');
  const handle = await open(file, 'wx');
  try {
    for await (const chunk of fetchChunks(url, MAX_ARCHIVE_BYTES)) {
      hash.update(chunk);
      await handle.writeFile(chunk);
    }
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}

async function* fetchChunks(url, maxBytes) {
  const controller = new AbortController();
  const idle = setTimeout(
    () => controller.abort(new Error(`${url} sent nothing for ${IDLE_LIMIT_MS} ms`)),
    IDLE_LIMIT_MS,
  );
  try {
    const response = await fetch(url, { signal: controller.signal });
    if (!response.ok) throw new Error(`${url} answered ${response.status} ${response.statusText}`);
    let received = 0;
    for await (const chunk of response.body) {
      idle.refresh();
      received += chunk.byteLength;
      if (received > maxBytes) throw new Error(`${url} is larger than ${maxBytes} bytes: that is no release`);
      yield chunk;
    }
  } finally {
    clearTimeout(idle);
    controller.abort();
  }
}
