import { execFileSync, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { nodeProblem } from '@antiphon/core';

const SYSTEM_FOLDERS = ['/usr/local/bin', '/usr/bin', '/opt/homebrew/bin'];
/** What is older has no `fetch`: it can't even obtain a newer one. */
const OLDEST_MAJOR = 18;

export interface OldNode {
  readonly binary: string;
  readonly version: string;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A Node.js of this machine that is too old for Antiphon (ANTIPHON_OLD_NODE, or on PATH); undefined
 * when there is none.
 */
export function findOldNode(): OldNode | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  const given = process.env['ANTIPHON_OLD_NODE'];
  const binaries = given === undefined ? folders.map((folder) => join(folder, 'node')) : [given];
  for (const binary of binaries) {
    const version = versionOf(binary);
    if (version === undefined || Number(version.split('.')[0]) < OLDEST_MAJOR) continue;
    if (nodeProblem({ version, execPath: binary }) !== undefined) return { binary, version };
  }
  return undefined;
}

function versionOf(binary: string): string | undefined {
  try {
    accessSync(binary, constants.X_OK);
    return execFileSync(binary, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

/** Starts a program; `ended` settles when it has, with all that it wrote. */
export function start(binary: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(binary, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // An undefined value removes a variable.
    env: { ...process.env, NODE_OPTIONS: undefined, npm_lifecycle_event: undefined, ...env },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { child, ended, output: () => stdout };
}
