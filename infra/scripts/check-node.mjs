import { accessSync, constants, statSync } from 'node:fs';
import { runQuietly } from './child-process.mjs';
import { isAtLeast, NEEDED_NODE } from './node-version.mjs';
import { lastLine } from './steps.mjs';

/** A cold disk takes its time over a binary of 120 MB. */
const VERSION_LIMIT_MS = 30_000;

/**
 * Runs a binary to see whether it is a Node.js that is new enough.
 * @returns {Promise<{ binary: string, version: string } | { reason: string }>}
 */
export async function checkNode(binary) {
  if (!isExecutable(binary)) return { reason: `${binary} is not an executable file` };
  const { ok, output } = await runQuietly(binary, ['--version'], { limitMs: VERSION_LIMIT_MS });
  const version = /^v(\d+\.\d+\.\d+)/m.exec(output)?.[1];
  if (!ok || version === undefined) {
    return { reason: `${binary} does not run on this machine: ${whyNot(output)}` };
  }
  if (isAtLeast(version, NEEDED_NODE)) return { binary, version };
  return { reason: `${binary} is Node.js ${version}` };
}

export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function whyNot(output) {
  // The file itself is there: what the system does not find is the loader that the file names.
  if (/ENOENT|No such file/.test(output)) {
    return 'its C library is missing (official builds need glibc; on Alpine: apk add nodejs npm)';
  }
  return lastLine(output) || 'it does not print a version';
}
