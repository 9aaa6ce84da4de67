import { readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join } from 'node:path';
import { isExecutable } from './check-node.mjs';
import { runQuietly } from './child-process.mjs';
import { cachedBinaries, defaultCacheDir } from './node-cache.mjs';

const VERSION_LIMIT_MS = 30_000;
/** Below this folder: unpacked packages of Debian, of npm, or official archives, under any name. */
const DEPTH = 4;

/** The folder in which a developer keeps other versions: `~/.cache/antiphon-test`. */
export function testCacheDir(env = process.env) {
  const xdg = env.XDG_CACHE_HOME;
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'antiphon-test');
}

/**
 * The newest binary of each wanted line: on PATH, among what the scripts have obtained, below
 * `~/.cache/antiphon-test`, or named by ANTIPHON_MATRIX_BINARIES (paths, as in PATH).
 * @param {'node' | 'nats-server'} name
 * @param {readonly string[]} lines such as `22` or `2.10`
 * @returns {Promise<readonly { line: string, binary?: string, version?: string }[]>}
 */
export async function findBinaries(name, lines, env = process.env) {
  const found = [];
  for (const binary of new Set(candidates(name, env))) {
    if (!isExecutable(binary)) continue;
    const version = await versionOf(binary);
    if (version !== undefined) found.push({ binary, version });
  }
  return lines.map((line) => {
    const fitting = found.filter(({ version }) => version.startsWith(`${line}.`));
    fitting.sort((a, b) => compare(b.version, a.version));
    return { line, ...fitting[0] };
  });
}

function candidates(name, env) {
  const paths = (list) => (list ?? '').split(delimiter).filter((path) => isAbsolute(path));
  return [
    ...paths(env.ANTIPHON_MATRIX_BINARIES),
    ...paths(env.PATH).map((folder) => join(folder, name)),
    ...(name === 'node' ? cachedBinaries(defaultCacheDir(env), process) : []),
    ...below(defaultCacheDir(env), name, DEPTH),
    ...below(testCacheDir(env), name, DEPTH),
  ];
}

function below(folder, name, depth) {
  let entries;
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return depth > 0 ? below(path, name, depth - 1) : [];
    return entry.name === name || entry.name.startsWith(`${name}-v`) ? [path] : [];
  });
}

/** `v24.16.0` of node, `nats-server: v2.10.27` of a server. */
async function versionOf(binary) {
  const { ok, output } = await runQuietly(binary, ['--version'], { limitMs: VERSION_LIMIT_MS });
  return ok ? /\bv?(\d+\.\d+\.\d+)/.exec(output)?.[1] : undefined;
}

function compare(first, second) {
  const [a, b] = [first, second].map((version) => version.split('.').map(Number));
  return a.map((number, at) => number - b[at]).find((difference) => difference !== 0) ?? 0;
}
