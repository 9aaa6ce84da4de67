import { join } from 'node:path';
import { runQuietly } from './child-process.mjs';
import { isExecutable } from './check-node.mjs';
import { lastLine, step } from './steps.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const INSTALL_LIMIT_MS = 5 * 60_000;

/**
 * The browser that the tests of the console drive: that of `ANTIPHON_CHROMIUM`, or one on PATH. In
 * CI, where nobody minds, it is installed from the distribution first. Undefined: there is none,
 * and the tests that need one say so.
 */
export async function findBrowser({ env = process.env, say = console.log } = {}) {
  const named = env.ANTIPHON_CHROMIUM;
  if (named) return named;
  const found = onPath(env.PATH);
  if (found !== undefined || env.CI !== 'true' || process.getuid?.() !== 0) return found;
  const done = step('installing chromium (apt-get)');
  const options = { limitMs: INSTALL_LIMIT_MS, env: { DEBIAN_FRONTEND: 'noninteractive' } };
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', 'chromium']]) {
    const { ok, output } = await runQuietly('apt-get', ['-q', ...args], options).catch(({ message }) => ({
      ...{ ok: false, output: message },
    }));
    if (!ok) say(`  apt-get ${args[0]} failed: ${lastLine(output)}`);
  }
  done();
  return onPath(env.PATH);
}

function onPath(path = '') {
  return path
    .split(':')
    .flatMap((folder) => NAMES.map((name) => join(folder, name)))
    .find(isExecutable);
}
