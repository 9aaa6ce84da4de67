import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Where typedoc writes the reference of the API: not in git. */
export const API = 'docs/api';

const SINGLE = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'infra/README.md'];
const FOLDERS = ['docs', 'docs/how-to', 'docs/decisions'];
const WITH_READMES = ['packages', 'examples'];
/** README.md introduces the repository, docs/README.md the site. */
const ADDRESSES = { 'README.md': 'overview.md', 'infra/README.md': 'infra.md' };

/** The pages that people write, as paths in the repository. */
export function writtenPages() {
  const ofFolders = FOLDERS.filter((folder) => existsSync(join(ROOT, folder))).flatMap((folder) =>
    readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`),
  );
  const readmes = WITH_READMES.flatMap((folder) =>
    readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}/README.md`),
  );
  return [...SINGLE, ...ofFolders, ...readmes].filter(
    (page) => page.endsWith('.md') && existsSync(join(ROOT, page)),
  );
}

/**
 * Where a page is on the site, which has no `docs/`: `docs/cli.md` is `cli.md`, `docs/README.md`
 * `index.md`, `packages/core/README.md` `packages/core.md`. Undefined for what is no page.
 *
 * @param {string} file a path in the repository
 * @returns {string | undefined}
 */
export function addressOf(file) {
  if (SINGLE.includes(file)) return ADDRESSES[file] ?? file.toLowerCase();
  const [, readme] = /^((?:packages|examples)\/[^/]+)\/README\.md$/.exec(file) ?? [];
  if (readme !== undefined) return `${readme}.md`;
  const [, page] = /^docs\/((?!\.).*\.md)$/.exec(file) ?? [];
  return page?.replace(/(^|\/)README\.md$/, '$1index.md');
}

/**
 * The first heading.
 *
 * @param {string} page
 */
export function titleOf(page) {
  const [, title] = /^# (.+)$/m.exec(readFileSync(join(ROOT, page), 'utf8')) ?? [];
  return title?.replaceAll('`', '') ?? page;
}
