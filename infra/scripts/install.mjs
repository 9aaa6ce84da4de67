import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { npm, npmAdvice } from './npm.mjs';
import { step, SetupError } from './steps.mjs';

const INSTALL_LIMIT_MS = 20 * 60_000;
const SHOWN_LINES = 15;

/**
 * Brings node_modules in line with package-lock.json. Nothing is compiled: `.npmrc` allows no
 * package to run a script.
 */
export async function installDependencies(root) {
  if (isInstalled(root)) return;
  const done = step('installing dependencies (npm ci)');
  const { ok, output } = await npm(['ci', '--include=dev'], {
    limitMs: INSTALL_LIMIT_MS,
  });
  if (!ok) throw new SetupError(`${excerpt(output)}\n\nnpm ci failed. ${npmAdvice(output)}`);
  done();
}

/**
 * Is everything of package-lock.json in node_modules? npm writes what it installed, at the very
 * end, into node_modules/.package-lock.json: an interrupted install has none.
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

/**
 * npm says what is wrong either first (and then explains its options) or last (after all that went
 * well).
 */
function excerpt(output) {
  const lines = output.trim().split('\n');
  if (lines.length <= 2 * SHOWN_LINES) return lines.join('\n');
  return [...lines.slice(0, SHOWN_LINES), '…', ...lines.slice(-SHOWN_LINES)].join('\n');
}
