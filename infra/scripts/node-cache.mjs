import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { checkNode } from './check-node.mjs';
import { compareVersions } from './node-version.mjs';

const WORK_PREFIX = '.node-';
/**
 * A work folder that is older belonged to a run that was killed; obtaining a Node.js takes minutes
 * at most.
 */
const ABANDONED_AFTER_MS = 60 * 60_000;
const MAX_MOVES = 3;

/**
 * `~/.cache/antiphon`, or what XDG_CACHE_HOME says (the XDG rules ignore a relative path).
 * nats-server is kept there too.
 */
export function defaultCacheDir(env) {
  const xdg = env.XDG_CACHE_HOME;
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.cache');
  return join(base, 'antiphon');
}

/**
 * The name of the official archive and of the folder inside it; a cache may be shared by machines
 * of several kinds.
 */
export function releaseName(version, { platform, arch }) {
  return `node-v${version}-${platform}-${arch}`;
}

export function binaryIn(folder) {
  return join(folder, 'bin', 'node');
}

/**
 * The binaries that were obtained for this kind of machine, the newest first. They may still turn
 * out not to run.
 */
export function cachedBinaries(cacheDir, { platform, arch }) {
  const pattern = new RegExp(`^node-v(\\d+\\.\\d+\\.\\d+)-${platform}-${arch}$`);
  return namesIn(cacheDir)
    .map((name) => ({ name, version: pattern.exec(name)?.[1] }))
    .filter(({ version }) => version !== undefined)
    .sort((a, b) => compareVersions(b.version, a.version))
    .map(({ name }) => binaryIn(join(cacheDir, name)));
}

/**
 * Calls `fill` with an empty folder inside the cache folder, which is gone afterwards, whatever
 * happened. Only what `keepInCache` moves out of it stays.
 */
export async function inWorkFolder(cacheDir, fill) {
  mkdirSync(cacheDir, { recursive: true });
  removeAbandoned(cacheDir);
  const folder = mkdtempSync(join(cacheDir, WORK_PREFIX));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  // A Ctrl-C ends the process between two awaits.
  process.once('exit', remove);
  try {
    return await fill(folder);
  } finally {
    remove();
    process.off('exit', remove);
  }
}

/**
 * Checks what was unpacked, and moves it to its place in the cache by one rename: another run sees
 * all of it or nothing. What another run has put there meanwhile stays, since it may be running
 * already; only what does not run is replaced.
 * @returns {Promise<{ binary: string, version: string } | { reason: string }>}
 */
export async function keepInCache({ folder, workFolder, cacheDir, machine }) {
  const unpacked = await checkNode(binaryIn(folder));
  if (unpacked.binary === undefined) return unpacked;
  const place = join(cacheDir, releaseName(unpacked.version, machine));
  const kept = { binary: binaryIn(place), version: unpacked.version };
  for (let attempt = 1; ; attempt++) {
    try {
      renameSync(folder, place);
      return kept;
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes(error.code) || attempt === MAX_MOVES) throw error;
    }
    if ((await checkNode(kept.binary)).binary !== undefined) return kept;
    try {
      renameSync(place, join(workFolder, `replaced-${attempt}`));
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
}

function removeAbandoned(cacheDir) {
  for (const name of namesIn(cacheDir)) {
    if (!name.startsWith(WORK_PREFIX)) continue;
    const folder = join(cacheDir, name);
    const { mtimeMs } = statSync(folder, { throwIfNoEntry: false }) ?? { mtimeMs: Infinity };
    if (Date.now() - mtimeMs > ABANDONED_AFTER_MS) rmSync(folder, { recursive: true, force: true });
  }
}

function namesIn(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
