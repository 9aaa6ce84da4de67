import { realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isExecutable } from './check-node.mjs';
import { runInForeground } from './child-process.mjs';
import { findNode } from './find-node.mjs';
import { isAtLeast, NEEDED_NODE, OLDEST_FOR_SCRIPTS } from './node-version.mjs';
import { SetupError } from './steps.mjs';

/**
 * Names the version that a first process has chosen: whatever that binary then says of itself, it
 * runs once, not for ever.
 */
const CHOSEN = 'ANTIPHON_NODE_CHOSEN';

/**
 * Finds or obtains a Node.js that is new enough for what comes, and sees to it that everything we
 * start runs with it too.
 * @param {{ say?: (line: string) => void }} [options] where the line goes that another Node.js
 *   takes over; default: stdout
 * @returns the one to go on under with `goOnUnder`; undefined when this process may go on itself
 * @throws {SetupError} when there is none
 */
export async function otherNode({ say = console.log } = {}) {
  const { node: version } = process.versions;
  if (!isAtLeast(version, OLDEST_FOR_SCRIPTS)) {
    throw new SetupError(
      `This is Node.js ${version} (${process.execPath}), which is too old even to obtain a newer one. ` +
        `Install Node.js ${NEEDED_NODE} or newer and try again.`,
    );
  }
  const chosen = process.env[CHOSEN] === version && isAtLeast(version, NEEDED_NODE);
  const found = chosen ? { source: 'running' } : await findNode();
  if (found.source !== 'running' && found.binary !== process.execPath) {
    say(`• going on under Node.js ${found.version} (${found.binary}); this is ${version}`);
    return found;
  }
  Object.assign(process.env, environmentFor({ binary: process.execPath, version }));
  return undefined;
}

/**
 * Runs a script of ours again, under another Node.js, with the same arguments. Returns its exit
 * code.
 */
export async function goOnUnder(found, scriptUrl, { env = {} } = {}) {
  const args = [fileURLToPath(scriptUrl), ...process.argv.slice(2)];
  const { code } = await runInForeground(found.binary, args, { env: { ...environmentFor(found), ...env } });
  return code;
}

/** With this, `node` means that binary, for npm, turbo, vitest and whatever they start. */
function environmentFor({ binary, version }) {
  const path = process.env.PATH ?? '';
  const first = path
    .split(delimiter)
    .map((folder) => join(folder, 'node'))
    .find(isExecutable);
  // Only when needed: what else lies in that folder comes first too.
  const isFirst = first !== undefined && realpathSync(first) === realpathSync(binary);
  return {
    PATH: isFirst ? path : [dirname(binary), path].join(delimiter),
    NODE: binary,
    npm_node_execpath: binary,
    [CHOSEN]: version,
  };
}
