import { readdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';

/** One file of the built page. */
export interface ConsoleFile {
  /** Where it is to be served: `/` is the page, all others have a hash of their content in it. */
  readonly path: string;
  /** Its content type. */
  readonly type: string;
  readonly content: string;
}

/** Where Vite puts the page; the same from `src` and from `dist`. */
const PAGE = new URL('../dist/page/', import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/**
 * All files of the console, to be served as they are. Empty where it was not built, as in a clone
 * of the repository after `tsc -b` alone.
 */
export async function consoleFiles(): Promise<readonly ConsoleFile[]> {
  const names = await readdir(PAGE, { recursive: true }).catch(whenMissing);
  const shown = names.filter((name) => extname(name) in TYPES).sort();
  return Promise.all(
    shown.map(async (name): Promise<ConsoleFile> => {
      const path = name === 'index.html' ? '/' : `/${name.replaceAll('\\', '/')}`;
      const content = await readFile(new URL(name, PAGE), 'utf8');
      return { path, type: TYPES[extname(name)] ?? '', content };
    }),
  );
}

function whenMissing(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT') return [];
  throw error;
}
