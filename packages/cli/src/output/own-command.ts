import { existsSync } from 'node:fs';
import { delimiter, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const NAME = 'antiphon';

/**
 * What a user types in this folder to run this very command: what it is called depends on how it
 * was installed.
 */
export function ownCommand(cwd: string, env: NodeJS.ProcessEnv): string {
  // Whoever started us knows better, and says so.
  const given = env['ANTIPHON_COMMAND'];
  if (given !== undefined && given !== '') return given;
  if (isLinkedFrom(cwd)) return `npx ${NAME}`;
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  if (folders.some((folder) => existsSync(join(folder, NAME)))) return NAME;
  return `node ${relative(cwd, fileURLToPath(new URL('../bin.js', import.meta.url)))}`;
}

/** `npx` without this would look the name up in the registry. */
function isLinkedFrom(folder: string): boolean {
  for (let current = resolve(folder); ; current = dirname(current)) {
    if (existsSync(join(current, 'node_modules', '.bin', NAME))) return true;
    if (dirname(current) === current) return false;
  }
}
