import { existsSync, statSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { addressOf, ROOT } from './pages.mjs';

/** Browsers show a source as text by this ending, whatever language it is in. */
const AS_TEXT = '.txt';

/**
 * The anchor that a forge gives to a heading, so that a link leads to the same place on both.
 *
 * @param {string} heading
 */
export function anchorOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{M}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

/**
 * Where a link of a page leads on the site. Pages link to files as they lie in the repository: to
 * other pages, to folders, and to sources, which the site then has as text.
 *
 * @param {string} page a path in the repository
 * @param {string} href
 * @returns {{ href: string, source?: string }} `source`: the file that the site has to serve there
 */
export function linkOnSite(page, href) {
  if (/^([a-z][a-z\d+.-]*:|\/|#)/i.test(href)) return { href };
  const [path = '', anchor] = href.split('#');
  const target = posix.join(posix.dirname(page), decodeURI(path)).replace(/\/$/, '');
  const address = addressOf(isFolder(target) ? readmeFor(target) : target);
  if (address !== undefined) return { href: `/${address}${anchor === undefined ? '' : `#${anchor}`}` };
  return { href: `/source/${target}${AS_TEXT}`, source: target };
}

/** The README of a folder of sources is that of the folder in which it lies. */
function readmeFor(folder) {
  const readme = posix.join(folder, 'README.md');
  return folder === '.' || existsSync(join(ROOT, readme)) ? readme : readmeFor(posix.dirname(folder));
}

function isFolder(target) {
  return statSync(join(ROOT, target), { throwIfNoEntry: false })?.isDirectory() === true;
}

/**
 * For markdown-it: rewrites the links of a page, before VitePress looks at them.
 *
 * @param {import('markdown-it').default} markdown
 * @param {(address: string, file: string) => void} serve
 */
export function repositoryLinks(markdown, serve) {
  markdown.core.ruler.push('repository-links', ({ tokens, env }) => {
    const page = relative(ROOT, env.realPath ?? env.path);
    for (const { children } of tokens)
      for (const token of children ?? []) {
        const href = token.type === 'link_open' ? token.attrGet('href') : null;
        if (href === null) continue;
        const found = linkOnSite(page, href);
        token.attrSet('href', found.href);
        if (found.source !== undefined) serve(found.href, join(ROOT, found.source));
      }
  });
}
