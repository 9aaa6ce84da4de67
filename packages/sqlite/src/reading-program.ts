import { fork, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AntiphonError } from '@antiphon/core';
import { environmentOfHelpers } from './helper-environment.js';

/**
 * A process that reads the file. It ends with this process at the latest. `others`: what it gets
 * behind the channel. Throws INTERNAL.
 */
export function startProgram(
  name: 'reader-process' | 'stream-process',
  file: string,
  others: readonly 'pipe'[] = [],
): ChildProcess {
  return fork(programPath(name), [file, String(process.pid)], {
    serialization: 'advanced',
    execArgv: [],
    env: environmentOfHelpers(),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc', ...others],
  });
}

/** Plain JavaScript: beside this file when it is built, in `dist` when the sources run. */
function programPath(name: string): string {
  const here = import.meta.url;
  const path = fileURLToPath(new URL(here.endsWith('.ts') ? `../dist/${name}.js` : `./${name}.js`, here));
  if (existsSync(path)) return path;
  throw new AntiphonError(
    'INTERNAL',
    'The reader of @antiphon/sqlite is not built. Run `npm run build` first.',
  );
}
