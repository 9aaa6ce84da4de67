import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface GaleraBinaries {
  readonly mariadbd: string;
  readonly installer: string;
  /** The library that replicates: `wsrep_provider`. */
  readonly provider: string;
  /** MariaDB's, like `10.11.18`. */
  readonly version: string;
}

const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin'];
const PROVIDERS = ['/usr/lib/galera', '/usr/lib64/galera-4', '/usr/lib64/galera', '/usr/lib'].map((folder) =>
  join(folder, 'libgalera_smm.so'),
);

/** Undefined when MariaDB or its Galera library is not installed. */
export function findGalera(): GaleraBinaries | undefined {
  const mariadbd = find('mariadbd');
  const installer = find('mariadb-install-db');
  const provider = PROVIDERS.find((file) => existsSync(file));
  if (mariadbd === undefined || installer === undefined || provider === undefined) return undefined;
  const { stdout } = spawnSync(mariadbd, ['--version'], { encoding: 'utf8' });
  const version = /(\d+\.\d+\.\d+)-MariaDB/.exec(stdout ?? '')?.[1];
  return version === undefined ? undefined : { mariadbd, installer, provider, version };
}

function find(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  return folders.map((folder) => join(folder, program)).find((file) => existsSync(file));
}
