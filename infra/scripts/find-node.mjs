import { realpathSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { checkNode, isExecutable } from './check-node.mjs';
import { cachedBinaries, defaultCacheDir } from './node-cache.mjs';
import { nodeFromRegistry } from './node-package.mjs';
import { nodeFromRelease } from './node-release.mjs';
import { isAtLeast, NEEDED_NODE, OBTAINED_MAJOR } from './node-version.mjs';
import { SetupError } from './steps.mjs';

/** Where system packages put programs; an ordinary user's PATH may leave these out. */
const SYSTEM_FOLDERS = ['/usr/local/bin', '/usr/bin', '/opt/homebrew/bin'];

/**
 * Finds a Node.js that is new enough, or obtains one: the given one (ANTIPHON_NODE), the one that
 * runs this, PATH, the cache, the package of the npm registry that holds the official binary, the
 * official release, in that order. A given one that does not fit is an error, never passed over.
 *
 * @param {object} options
 * @param {NodeJS.ProcessEnv} [options.env] npm gets it as well
 * @param {string} [options.path] the folders that are searched
 * @param {{ version: string, execPath: string }} [options.running] the Node.js that runs this
 * @param {{ platform: string, arch: string }} [options.machine]
 * @param {readonly string[]} [options.systemFolders] searched after PATH
 * @param {string} [options.cacheDir]
 * @param {string} [options.releasesUrl] where official releases are
 * @returns {Promise<{ binary: string, version: string, source:
 *   'given'|'running'|'path'|'cache'|'registry'|'release' }>}
 * @throws {SetupError} naming everything that was tried, and what to do
 */
export async function findNode({
  env = process.env,
  path = env.PATH ?? '',
  running = { version: process.versions.node, execPath: process.execPath },
  machine = { platform: process.platform, arch: process.arch },
  systemFolders = SYSTEM_FOLDERS,
  cacheDir = defaultCacheDir(env),
  releasesUrl,
} = {}) {
  const given = env.ANTIPHON_NODE;
  if (given !== undefined && given !== '') return useGiven(given);
  if (isAtLeast(running.version, NEEDED_NODE)) {
    return { binary: running.execPath, version: running.version, source: 'running' };
  }

  const reasons = [`${running.execPath}, which runs this, is Node.js ${running.version}`];
  const search = { env, machine, cacheDir };
  const ways = {
    path: () => firstThatFits(nodesOnPath(path, systemFolders, running.execPath), 'PATH has no other node'),
    cache: () => firstThatFits(cachedBinaries(cacheDir, machine), `the cache (${cacheDir}) has none yet`),
    registry: () => nodeFromRegistry(search),
    release: () => nodeFromRelease({ ...search, releasesUrl }),
  };
  for (const [source, attempt] of Object.entries(ways)) {
    const outcome = await attempt();
    if (outcome.binary !== undefined) return { ...outcome, source };
    reasons.push(outcome.reason);
  }
  throw notFound(reasons);
}

async function useGiven(binary) {
  const outcome = await checkNode(binary);
  if (outcome.binary !== undefined) return { ...outcome, source: 'given' };
  throw new SetupError(
    `ANTIPHON_NODE must name a Node.js ${NEEDED_NODE} or newer, but ${outcome.reason}.\n` +
      'Correct the path, or unset ANTIPHON_NODE to have a suitable Node.js found or obtained.',
  );
}

async function firstThatFits(binaries, whenNone) {
  const reasons = [];
  for (const binary of binaries) {
    const outcome = await checkNode(binary);
    if (outcome.binary !== undefined) return outcome;
    reasons.push(outcome.reason);
  }
  return { reason: reasons.join('; ') || whenNone };
}

/**
 * Every other `node` on PATH and in the system's folders, each once however many links lead to it.
 */
function nodesOnPath(path, systemFolders, running) {
  // A relative entry would make the answer depend on the current folder, and run whatever lies
  // there.
  const onPath = path.split(delimiter).filter((folder) => isAbsolute(folder));
  const seen = new Set([realpathSync(running)]);
  return [...onPath, ...systemFolders]
    .map((folder) => join(folder, 'node'))
    .filter((binary) => {
      if (!isExecutable(binary)) return false;
      const real = realpathSync(binary);
      if (seen.has(real)) return false;
      seen.add(real);
      return true;
    });
}

function notFound(reasons) {
  const tried = reasons.map((reason) => `  - ${reason}`).join('\n');
  return new SetupError(
    `Working on this repository needs Node.js ${NEEDED_NODE} or newer; none was found or could be obtained:\n${tried}\n` +
      `Do one of these: install Node.js ${OBTAINED_MAJOR} (https://nodejs.org; with nvm: nvm install ${OBTAINED_MAJOR}), ` +
      'or set ANTIPHON_NODE to the path of its binary. Then try again.',
  );
}
