import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ReadableStream } from 'node:stream/web';
import { AntiphonError, sentence } from '@antiphon/core';
import { lastLine, runCommand } from '../command.js';
import { checksumFor, PINNED_CHECKSUMS, type ReleaseArchive } from './release-archive.js';

/** Where the NATS project publishes its releases. */
export const RELEASES_URL = 'https://github.com/nats-io/nats-server/releases/download';

export interface DownloadOptions {
  readonly archive: ReleaseArchive;
  /** The file to write; its folder is created. */
  readonly target: string;
  readonly baseUrl?: string;
  /** No byte for this long, connecting included, ends the download. */
  readonly idleTimeoutMs?: number;
  readonly onStep?: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

const IDLE_TIMEOUT_MS = 20_000;
const EXTRACT_TIMEOUT_MS = 60_000;
/** A release is about 6 MB; anything this large is not one. */
const MAX_ARCHIVE_BYTES = 128 * 1024 * 1024;
const MAX_SUMS_BYTES = 256 * 1024;

/**
 * Downloads an official release, checks its SHA-256 and puts the binary at `target`. Nothing
 * unchecked is ever at `target`: it appears there by one rename, so that two downloads at once do
 * not disturb each other.
 *
 * @throws AntiphonError NATS_SERVER_NOT_FOUND when it cannot be had or is not what was published.
 */
export async function downloadRelease(options: DownloadOptions): Promise<string> {
  const { archive, target, onStep = () => undefined } = options;
  const releaseUrl = `${options.baseUrl ?? RELEASES_URL}/v${archive.version}`;
  await mkdir(dirname(target), { recursive: true });
  const workDir = await mkdtemp(join(dirname(target), '.download-'));
  try {
    onStep(`downloading ${releaseUrl}/${archive.fileName}`);
    const expected = await publishedChecksum(`${releaseUrl}/SHA256SUMS`, options);
    const file = join(workDir, archive.fileName);
    const actual = await fetchToFile(`${releaseUrl}/${archive.fileName}`, file, options);
    if (actual !== expected) {
      throw failure(
        `${archive.fileName} is not what was published: its SHA-256 is ${actual}, expected ${expected}.`,
      );
    }
    const binary = await extract(file, workDir, archive);
    await chmod(binary, 0o755);
    await rename(binary, target);
    onStep(`checked its SHA-256 and kept it as ${target}`);
    return target;
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

async function publishedChecksum(url: string, options: DownloadOptions): Promise<string> {
  const { fileName } = options.archive;
  const chunks: Uint8Array[] = [];
  for await (const chunk of fetchChunks(url, MAX_SUMS_BYTES, options)) chunks.push(chunk);
  const published = checksumFor(Buffer.concat(chunks).toString('utf8'), fileName);
  if (published === undefined) throw failure(`${url} does not list ${fileName}.`);
  const pinned = PINNED_CHECKSUMS[fileName];
  if (pinned !== undefined && pinned !== published) {
    throw failure(
      `${url} gives ${published} for ${fileName}, but the release had ${pinned}: it was replaced.`,
    );
  }
  return published;
}

/** Writes what the URL answers to a file and returns its SHA-256 in hex. */
async function fetchToFile(url: string, file: string, options: DownloadOptions): Promise<string> {
  const hash = createHash('sha256');
  const handle = await open(file, 'wx');
  try {
    for await (const chunk of fetchChunks(url, MAX_ARCHIVE_BYTES, options)) {
      hash.update(chunk);
      await handle.writeFile(chunk);
    }
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}

async function* fetchChunks(
  url: string,
  maxBytes: number,
  options: DownloadOptions,
): AsyncGenerator<Uint8Array> {
  const idleTimeoutMs = options.idleTimeoutMs ?? IDLE_TIMEOUT_MS;
  const controller = new AbortController();
  const signals = options.signal === undefined ? [] : [options.signal];
  try {
    const request = fetch(url, { signal: AbortSignal.any([controller.signal, ...signals]) });
    const response = await within(request, idleTimeoutMs, url);
    if (!response.ok) throw failure(`${url} answered ${response.status} ${response.statusText}`);
    if (response.body === null) throw failure(`${url} answered without content.`);
    let received = 0;
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    for (;;) {
      const { done, value } = await within(reader.read(), idleTimeoutMs, url);
      if (done) return;
      received += value.byteLength;
      if (received > maxBytes)
        throw failure(`${url} is larger than ${maxBytes} bytes, so it is not a release.`);
      yield value;
    }
  } catch (error) {
    if (error instanceof AntiphonError) throw error;
    throw failure(`${url} cannot be fetched: ${sentence(reasonOf(error))}`, error);
  } finally {
    controller.abort();
  }
}

function within<T>(work: Promise<T>, timeoutMs: number, url: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(failure(`${url} sent nothing for ${timeoutMs} ms.`)), timeoutMs);
    void work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

async function extract(file: string, folder: string, archive: ReleaseArchive): Promise<string> {
  const member = `${archive.folder}/nats-server`;
  const { code, output } = await runCommand('tar', ['-xzf', file, '--no-same-owner', '-C', folder, member], {
    timeoutMs: EXTRACT_TIMEOUT_MS,
  });
  if (code !== 0)
    throw failure(`${archive.fileName} could not be unpacked with tar: ${sentence(lastLine(output))}`);
  return join(folder, member);
}

/** fetch says only "fetch failed"; what went wrong is in its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

function failure(message: string, cause?: unknown): AntiphonError {
  return new AntiphonError('NATS_SERVER_NOT_FOUND', message, cause === undefined ? {} : { cause });
}
