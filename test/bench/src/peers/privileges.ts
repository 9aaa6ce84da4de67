import { spawnSync } from 'node:child_process';
import { chownSync, existsSync } from 'node:fs';

const SETPRIV = '/usr/bin/setpriv';

/** How programs are run that refuse to run as root, as PostgreSQL does. */
export interface Account {
  /** Words to put before a command. */
  readonly prefix: readonly string[];
  /** Gives a folder to the account. */
  own(folder: string): void;
}

/**
 * This account, or when it is root: `postgres` or `nobody`. Undefined when root has no way to step
 * down. `stopSignal` is what the server takes for a request to shut down.
 */
export function unprivilegedAccount(stopSignal: 'INT' | 'TERM' = 'INT'): Account | undefined {
  if (process.getuid?.() !== 0) return { prefix: [], own: () => undefined };
  if (!existsSync(SETPRIV)) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = [idOf('-u', name), idOf('-g', name)];
    if (uid === undefined || gid === undefined) continue;
    // The kernel tells the server when this process is gone, also by kill -9.
    const prefix = [
      SETPRIV,
      `--reuid=${uid}`,
      `--regid=${gid}`,
      '--clear-groups',
      '--pdeathsig',
      stopSignal,
      '--',
    ];
    return { prefix, own: (folder) => chownSync(folder, uid, gid) };
  }
  return undefined;
}

function idOf(flag: '-u' | '-g', name: string): number | undefined {
  const { status, stdout } = spawnSync('id', [flag, name], { encoding: 'utf8' });
  return status === 0 ? Number(stdout.trim()) : undefined;
}
