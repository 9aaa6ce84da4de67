import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

/** Where system packages put servers; an ordinary user's PATH often leaves these out. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/opt/homebrew/bin'];

/**
 * The first executable of that name on PATH or in the system's folders; undefined when there is
 * none.
 */
export function findOnPath(
  name: string,
  {
    path = '',
    folders = SYSTEM_FOLDERS,
  }: { readonly path?: string | undefined; readonly folders?: readonly string[] },
): string | undefined {
  // A relative entry would make the answer depend on the current folder, and run whatever lies
  // there.
  const entries = [...path.split(delimiter).filter((entry) => isAbsolute(entry)), ...folders];
  return entries.map((folder) => join(folder, name)).find(isExecutable);
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
