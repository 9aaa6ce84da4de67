import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/** Where nothing may be loaded from: links of the text may lead there. */
const ELSEWHERE = /^(?:https?:)?\/\//;

/**
 * What is wrong with a built site: links to pages, headings or files that are not there, and what a
 * browser would fetch from elsewhere.
 *
 * @param {string} folder
 * @param {string} base the path under which it will be served, `/` for a site of its own
 * @returns {string[]} a sentence for each
 */
export function faultsOfSite(folder, base = '/') {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const pages = new Map(
    files.filter((file) => file.endsWith('.html')).map((file) => [file, read(join(folder, file))]),
  );
  const styles = files.filter((file) => file.endsWith('.css'));
  const faults = styles
    .filter((file) =>
      /(?:url\(|@import)\s*["']?(?:https?:)?\/\//.test(readFileSync(join(folder, file), 'utf8')),
    )
    .map((file) => `${file} loads something from elsewhere.`);
  for (const [page, { links, loaded }] of pages) {
    for (const address of loaded.filter((one) => ELSEWHERE.test(one)))
      faults.push(`${page} loads ${address} from elsewhere.`);
    for (const link of new Set([...links, ...loaded])) {
      const fault = /^[a-z][a-z\d+.-]*:|^\/\//i.test(link)
        ? undefined
        : faultOf(link, { page, pages, folder, base });
      if (fault !== undefined) faults.push(`${page} links to ${link}: ${fault}.`);
    }
  }
  return faults;
}

/** @param {string} file */
function read(file) {
  const html = readFileSync(file, 'utf8');
  const all = (/** @type {RegExp} */ pattern) =>
    [...html.matchAll(pattern)].map(([, value = '']) => value.replaceAll('&amp;', '&'));
  return {
    ids: new Set(all(/\s(?:id|name)="([^"]+)"/g)),
    links: all(/<a\s[^>]*?href="([^"]*)"/g),
    loaded: [...all(/<link\s[^>]*?href="([^"]*)"/g), ...all(/<(?:script|img|iframe)\s[^>]*?src="([^"]*)"/g)],
  };
}

function faultOf(link, { page, pages, folder, base }) {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : fileOf(decodeURI(path.split('?')[0]), page, base);
  if (target === undefined) return `it is not below ${base}`;
  const found = pages.get(target);
  if (found === undefined) return existsSync(join(folder, target)) ? undefined : 'no such page';
  if (anchor === undefined || anchor === '') return undefined;
  return found.ids.has(decodeURIComponent(anchor)) ? undefined : 'no such heading';
}

/** As a server of static files does it. */
function fileOf(path, page, base) {
  const absolute = posix.join('/', path.startsWith('/') ? path : posix.join(base, posix.dirname(page), path));
  if (!`${absolute}/`.startsWith(base)) return undefined;
  const file = absolute.slice(base.length);
  return file === '' || file.endsWith('/') ? `${file}index.html` : file;
}
