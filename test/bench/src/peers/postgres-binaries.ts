import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface PostgresBinaries {
  readonly folder: string;
  /** As it calls itself, like `15.18`. */
  readonly version: string;
  readonly hasPgbench: boolean;
}

const NEEDED = ['postgres', 'initdb', 'pg_basebackup'];
const DEBIAN_FOLDER = '/usr/lib/postgresql';

/**
 * Looks on PATH and where Debian puts it; the newest version wins. Undefined when it is not
 * installed.
 */
export function findPostgres(): PostgresBinaries | undefined {
  const debian = existsSync(DEBIAN_FOLDER)
    ? readdirSync(DEBIAN_FOLDER).map((v) => join(DEBIAN_FOLDER, v, 'bin'))
    : [];
  const folders = [...debian.sort().reverse(), ...(process.env['PATH'] ?? '').split(delimiter)];
  for (const folder of folders) {
    if (!NEEDED.every((name) => existsSync(join(folder, name)))) continue;
    const { stdout } = spawnSync(join(folder, 'postgres'), ['--version'], { encoding: 'utf8' });
    const version = /(\d+(?:\.\d+)?)/.exec(stdout ?? '')?.[1];
    if (version !== undefined) return { folder, version, hasPgbench: existsSync(join(folder, 'pgbench')) };
  }
  return undefined;
}
