import { fork, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AntiphonError } from '@antiphon/core';
import { environmentOfHelpers } from './helper-environment.js';

/** Each is a file beside this one. */
const PROGRAMS = ['reader-process', 'stream-process'] as const;

/** Throws INTERNAL when one is missing, as where a bundler has put everything into one file. */
export function assertPrograms(): void {
  for (const name of PROGRAMS) programPath(name);
}

/**
 * A process that reads the file. It ends with this process at the latest. `others`: what it gets
 * behind the channel. Throws INTERNAL, STORE_FAILED.
 */
export function startProgram(
  name: (typeof PROGRAMS)[number],
  file: string,
  others: readonly 'pipe'[] = [],
): ChildProcess {
  const path = programPath(name);
  try {
    return fork(path, [file, String(process.pid)], {
      serialization: 'advanced',
      execArgv: [],
      env: environmentOfHelpers(),
      stdio: ['ignore', 'ignore', 'pipe', 'ipc', ...others],
    });
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    const message = `No process that reads the database can be started (${why}). See the limits of memory and processes.`;
    throw new AntiphonError('STORE_FAILED', message, { cause });
  }
}

/** A killed process that is amid a read from a dead disk stays for as long as that does. */
const GONE_MS = 1000;

/** Until all have ended that were killed; bounded in time, whatever they do. */
export function programsGone(gone: readonly Promise<void>[]): Promise<void> {
  return new Promise((resolve) => {
    // Processes that nobody waits for do not keep this one alive; without this timer it would end
    // before they have.
    const limit = setTimeout(resolve, GONE_MS);
    void Promise.all(gone).then(() => {
      clearTimeout(limit);
      resolve();
    });
  });
}

/** One that could not be started has no number: Node.js would end another process, any one. */
export function endProgram(program: ChildProcess): void {
  if (program.pid !== undefined) program.kill('SIGKILL');
}

/** Plain JavaScript: beside this file when it is built, in `dist` when the sources run. */
function programPath(name: string): string {
  const here = import.meta.url;
  const path = fileURLToPath(new URL(here.endsWith('.ts') ? `../dist/${name}.js` : `./${name}.js`, here));
  if (existsSync(path)) return path;
  throw new AntiphonError(
    'INTERNAL',
    'The reader of @antiphon/sqlite is missing. Install the packages with all of their files: a bundler has to leave them external. In a checkout, run `npm run build`.',
  );
}
