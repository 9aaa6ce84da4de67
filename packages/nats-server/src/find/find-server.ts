import {
  AntiphonError,
  checkOptions,
  isVersionAtLeast,
  OLDEST_SERVER_VERSION,
  type OptionNames,
  withoutStop,
} from '@antiphon/core';
import { cachedBinary, defaultCacheDir } from './binary-cache.js';
import { throwIfGivenUp } from '../given-up.js';
import { releaseArchive } from './release-archive.js';
import { downloadRelease } from './release-download.js';
import { findOnPath, isExecutable } from './search-path.js';
import { PINNED_SERVER_VERSION, readServerVersion } from './server-version.js';
import { installSystemPackage } from './system-package.js';

export type NatsServerSource = 'given' | 'path' | 'cache' | 'package' | 'download';

export type FoundNatsServer =
  /** A server that already runs somewhere: there is nothing to start. */
  | { readonly kind: 'url'; readonly url: string }
  | {
      readonly kind: 'binary';
      readonly source: NatsServerSource;
      readonly binary: string;
      readonly version: string;
    };

export interface FindNatsServerOptions {
  /** A server that runs already. */
  readonly url?: string | undefined;
  /** A binary that must be used; default: the environment variable ANTIPHON_NATS_SERVER. */
  readonly binary?: string | undefined;
  /**
   * May the distribution's package be installed (as root, or by a sudo that asks for nothing)?
   * Default: yes.
   */
  readonly systemPackage?: boolean;
  /** May an official release be downloaded into the cache folder? Default: yes. */
  readonly download?: boolean;
  /** The release to download. */
  readonly version?: string;
  readonly releasesUrl?: string;
  readonly downloadIdleTimeoutMs?: number;
  readonly cacheDir?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Folders searched after PATH; default: the system's. */
  readonly systemFolders?: readonly string[];
  /** One sentence for each thing tried, for people. */
  readonly onStep?: (message: string) => void;
  readonly signal?: AbortSignal;
}

const FIND_OPTIONS: OptionNames<FindNatsServerOptions> = {
  ...{ url: true, binary: true, systemPackage: true, download: true, version: true, releasesUrl: true },
  ...{ downloadIdleTimeoutMs: true, cacheDir: true, env: true, systemFolders: true, onStep: true },
  signal: true,
};

type FoundBinary = Extract<FoundNatsServer, { kind: 'binary' }>;

/** What one way of finding it came to: a binary, or the reason why not. */
type Attempt = FoundBinary | { readonly kind: 'none'; readonly reason: string };

interface Search {
  readonly options: FindNatsServerOptions;
  readonly env: NodeJS.ProcessEnv;
  readonly cacheDir: string;
  readonly version: string;
  readonly onStep: (message: string) => void;
}

/**
 * Finds a nats-server, or obtains one: given URL, given binary (or ANTIPHON_NATS_SERVER), PATH,
 * cache, system package, download of an official release, in that order. A given binary that does
 * not work is an error, never passed over.
 *
 * @throws AntiphonError NATS_SERVER_NOT_FOUND, naming everything that was tried and what can be
 *   done by hand.
 */
export async function findNatsServer(options: FindNatsServerOptions = {}): Promise<FoundNatsServer> {
  checkOptions(options, FIND_OPTIONS, 'findNatsServer()');
  const { onStep = () => undefined, env = process.env } = options;
  if (options.url !== undefined) {
    onStep(`using the NATS server at ${options.url}`);
    return { kind: 'url', url: options.url };
  }
  const search: Search = {
    options,
    env,
    onStep,
    cacheDir: options.cacheDir ?? defaultCacheDir(env),
    version: options.version ?? PINNED_SERVER_VERSION,
  };
  const given = options.binary ?? env['ANTIPHON_NATS_SERVER'];
  if (given !== undefined && given !== '') return useGiven(given, search);

  const reasons: string[] = [];
  for (const attempt of [onPath, inCache, fromPackage, fromDownload]) {
    const found = await attempt(search);
    throwIfGivenUp(options.signal, 'Looking for a nats-server');
    if (found.kind === 'binary') {
      onStep(`using nats-server ${found.version}: ${found.binary}`);
      return found;
    }
    onStep(found.reason);
    reasons.push(found.reason);
  }
  throw notFound(reasons);
}

async function useGiven(binary: string, search: Search): Promise<FoundBinary> {
  const found = await check(binary, 'given', search);
  if (found.kind === 'none') {
    const advice = 'Correct the path (ANTIPHON_NATS_SERVER), or leave it out to have one looked for';
    throw new AntiphonError('NATS_SERVER_NOT_FOUND', `${found.reason}. ${advice}.`, { context: { binary } });
  }
  search.onStep(`using nats-server ${found.version}: ${binary}`);
  return found;
}

async function onPath(search: Search): Promise<Attempt> {
  const folders = search.options.systemFolders;
  const binary = findOnPath('nats-server', {
    path: search.env['PATH'],
    ...(folders === undefined ? {} : { folders }),
  });
  if (binary === undefined) return { kind: 'none', reason: 'nats-server is not on PATH' };
  return check(binary, 'path', search);
}

async function inCache(search: Search): Promise<Attempt> {
  const binary = cachedBinary(search.cacheDir, search.version);
  if (!isExecutable(binary)) return { kind: 'none', reason: `nats-server is not in the cache (${binary})` };
  return check(binary, 'cache', search);
}

async function fromPackage(search: Search): Promise<Attempt> {
  const { systemPackage = true, systemFolders: folders, signal } = search.options;
  if (!systemPackage) return { kind: 'none', reason: 'installing the system package is switched off' };
  const tools = { path: search.env['PATH'], ...(folders === undefined ? {} : { folders }) };
  const outcome = await installSystemPackage({ ...tools, onStep: search.onStep, signal });
  if (outcome.kind !== 'installed') return { kind: 'none', reason: `no system package: ${outcome.reason}` };
  const found = await onPath(search);
  return found.kind === 'binary' ? { ...found, source: 'package' } : found;
}

async function fromDownload(search: Search): Promise<Attempt> {
  const { download = true, releasesUrl, downloadIdleTimeoutMs, signal } = search.options;
  if (!download) return { kind: 'none', reason: 'downloading a release is switched off' };
  const archive = releaseArchive(search.version, process.platform, process.arch);
  if (archive === undefined) {
    return { kind: 'none', reason: `there is no release for ${process.platform} on ${process.arch}` };
  }
  try {
    const target = cachedBinary(search.cacheDir, search.version);
    const limits = downloadIdleTimeoutMs === undefined ? {} : { idleTimeoutMs: downloadIdleTimeoutMs };
    const from = releasesUrl === undefined ? {} : { baseUrl: releasesUrl };
    await downloadRelease({ archive, target, onStep: search.onStep, signal, ...limits, ...from });
    return await check(target, 'download', search);
  } catch (error) {
    throwIfGivenUp(signal, 'Looking for a nats-server');
    // Whatever it is (no network, a full or read-only disk), the answer is the same: this way is
    // closed.
    return {
      kind: 'none',
      reason: `no download: ${withoutStop(error instanceof Error ? error.message : String(error))}`,
    };
  }
}

async function check(binary: string, source: NatsServerSource, search: Search): Promise<Attempt> {
  const version = await readServerVersion(binary, search.options.signal);
  throwIfGivenUp(search.options.signal, 'Looking for a nats-server');
  if (version === undefined) {
    return { kind: 'none', reason: `${binary} is not a nats-server that runs on this machine` };
  }
  if (!isVersionAtLeast(version, OLDEST_SERVER_VERSION)) {
    return {
      kind: 'none',
      reason: `${binary} is version ${version}; Antiphon needs ${OLDEST_SERVER_VERSION} or later`,
    };
  }
  return { kind: 'binary', source, binary, version };
}

function notFound(reasons: readonly string[]): AntiphonError {
  const tried = reasons.map((reason) => `  - ${reason}`).join('\n');
  const advice =
    'Do one of these: install nats-server (apt-get install nats-server, brew install nats-server), ' +
    'set ANTIPHON_NATS_SERVER to the path of a binary, or give the URL of a server that runs already.';
  return new AntiphonError('NATS_SERVER_NOT_FOUND', `There is no nats-server to use:\n${tried}\n${advice}`);
}
