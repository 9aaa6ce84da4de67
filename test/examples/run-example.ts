import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What an example writes, run to its end as `npm run example:NAME` does. Rejects when it fails. */
export async function runExample(name: string, args: readonly string[] = []): Promise<string> {
  const start = join('examples', name, 'src', 'start.ts');
  const command = ['--disable-warning=ExperimentalWarning', start, ...args];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, command, { cwd: root });
  if (stderr !== '') throw new Error(`${name} complains: ${stderr}`);
  return stdout;
}

/** What its page shows, with the figures that differ from run to run as `N`. */
export function shownBy(name: string): string {
  const page = readFileSync(join(root, 'examples', name, 'README.md'), 'utf8');
  return withoutFigures(/```text\n([^]*?)```/.exec(page)?.[1] ?? '');
}

/** Counts, times and ports. */
export function withoutFigures(output: string): string {
  return output.replaceAll(/\b\d+ (ms|made|refused)/g, 'N $1').replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:N');
}
