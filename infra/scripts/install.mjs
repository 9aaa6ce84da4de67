import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runQuietly } from './child-process.mjs';
import { step, SetupError } from './steps.mjs';

const INSTALL_LIMIT_MS = 20 * 60_000;
const CHECK_LIMIT_MS = 60_000;
const SHOWN_LINES = 15;

/** Brings node_modules in line with package-lock.json and makes sure that the SQLite driver loads. */
export async function installDependencies(root) {
  if (!isInstalled(root)) {
    const done = step(
      'installing dependencies (npm ci; about a minute when the SQLite driver has to be compiled)',
    );
    await withBuildTools(() => npm(['ci', '--include=dev']), 'npm ci');
    done();
  }
  if (await driverLoads(root)) return;
  // After an upgrade of Node.js, or an install that was interrupted while compiling.
  const done = step(
    'compiling the SQLite driver for this Node.js (npm rebuild better-sqlite3; about a minute)',
  );
  await withBuildTools(() => npm(['rebuild', 'better-sqlite3']), 'npm rebuild better-sqlite3');
  done();
  if (!(await driverLoads(root))) {
    throw new SetupError(
      `better-sqlite3 does not load with ${process.version}. Remove node_modules and try again; ` +
        'if that does not help, try the current LTS release of Node.js.',
    );
  }
}

/**
 * Is everything of package-lock.json in node_modules? npm writes what it installed, at the very end, into
 * node_modules/.package-lock.json: an interrupted install has none.
 */
export function isInstalled(root) {
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const installed = packagesOf(join(root, 'node_modules', '.package-lock.json'));
  if (wanted === undefined)
    throw new SetupError(`${root} has no package-lock.json: this is not a whole clone.`);
  if (installed === undefined) return false;
  return Object.entries(wanted).every(([path, { version, link, optional }]) => {
    if (!path.startsWith('node_modules/') || optional === true) return true;
    const found = installed[path];
    return found !== undefined && found.version === version && found.link === link;
  });
}

function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

async function driverLoads(root) {
  // In a process of its own: a native module of another Node.js can take the process down.
  const script = `new (require(${JSON.stringify(join(root, 'node_modules', 'better-sqlite3'))}))(':memory:').close()`;
  return (await runQuietly(process.execPath, ['-e', script], { limitMs: CHECK_LIMIT_MS })).ok;
}

/** The npm that runs us, when one does; else the one on PATH. */
function npm(args) {
  const quiet = ['--no-audit', '--no-fund', '--loglevel=warn'];
  const program = process.env.npm_execpath;
  const [command, ...first] = program?.endsWith('.js') === true ? [process.execPath, program] : ['npm'];
  return runQuietly(command, [...first, ...args, ...quiet], {
    limitMs: INSTALL_LIMIT_MS,
    env: headersOfThisNode(),
  });
}

/** When Node's own headers are on this machine, compiling uses them and downloads none. */
function headersOfThisNode() {
  if (process.env.npm_config_nodedir !== undefined) return {};
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  return existsSync(join(prefix, 'include', 'node', 'node.h')) ? { npm_config_nodedir: prefix } : {};
}

/** Runs an install; when it failed for want of a compiler, gets one where that needs no password, and runs it again. */
async function withBuildTools(run, name) {
  const first = await run();
  if (first.ok) return;
  if (failedToCompile(first.output) && (await installBuildTools())) {
    const second = await run();
    if (second.ok) return;
    throw installFailure(name, second.output);
  }
  throw installFailure(name, first.output);
}

function failedToCompile(output) {
  return /gyp ERR/.test(output);
}

async function installBuildTools() {
  if (process.getuid?.() !== 0) return false;
  const apt = (...args) =>
    runQuietly('apt-get', ['-o', 'DPkg::Lock::Timeout=60', ...args], {
      env: { DEBIAN_FRONTEND: 'noninteractive' },
      limitMs: INSTALL_LIMIT_MS,
    });
  const tools = ['install', '-y', '--no-install-recommends', 'make', 'g++', 'python3'];
  const done = step('compiling needs tools: apt-get install -y make g++ python3');
  let result = await apt(...tools);
  if (!result.ok) {
    await apt('update');
    result = await apt(...tools);
  }
  if (result.ok) done();
  return result.ok;
}

function installFailure(name, output) {
  return new SetupError(`${excerpt(output)}\n\n${name} failed. ${advice(output)}`);
}

/** npm says what is wrong either first (and then explains its options) or last (after all that went well). */
function excerpt(output) {
  const lines = output.trim().split('\n');
  if (lines.length <= 2 * SHOWN_LINES) return lines.join('\n');
  return [...lines.slice(0, SHOWN_LINES), '…', ...lines.slice(-SHOWN_LINES)].join('\n');
}

function advice(output) {
  if (/EUSAGE/.test(output)) {
    return 'A package.json was changed without package-lock.json: run npm install and commit both.';
  }
  if (failedToCompile(output)) {
    const headers = /network connectivity|http fetch|headers/i.test(output)
      ? ' Compiling also needs the headers of Node.js, which node-gyp could not download: check the network and proxy.'
      : '';
    return (
      'No prebuilt SQLite driver fits or could be downloaded, and compiling it did not work. Install make, g++ and ' +
      'python3 (Debian, Ubuntu: sudo apt-get install build-essential python3; macOS: xcode-select --install) and ' +
      `try again.${headers}`
    );
  }
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ECONNRESET|network/i.test(output)) {
    return 'The package registry could not be reached: check the network, and the proxy settings of npm.';
  }
  if (/ENOSPC/.test(output)) return 'The disk is full: make room and try again.';
  if (/EACCES|EPERM/.test(output)) return 'This user may not write here: check who owns this folder.';
  return 'See the output above.';
}
