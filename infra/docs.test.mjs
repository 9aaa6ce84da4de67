import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { anchorOf } from './site/links.mjs';
import { ROOT, writtenPages } from './site/pages.mjs';

const DECISIONS = 'docs/decisions';
/** Of prose; tables and code blocks cannot be wrapped. */
const MAX_COLUMNS = 120;
const GENERATED = 'docs/errors.md';

const read = (/** @type {string} */ page) => readFileSync(join(ROOT, page), 'utf8');

/** @param {string} folder */
function pagesIn(folder) {
  return readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `${folder}/${name}`);
}

const pages = writtenPages();
const records = pagesIn(DECISIONS).filter((page) => !page.endsWith('/README.md'));

/**
 * Lines outside of fenced code blocks, with their numbers.
 * @param {string} text
 */
function prose(text) {
  let fenced = false;
  return text.split('\n').flatMap((line, index) => {
    const fence = /^\s*(```|~~~)/.test(line);
    if (fence) fenced = !fenced;
    return fence || fenced ? [] : [{ line, number: index + 1 }];
  });
}

/** @param {string} page */
function anchorsOf(page) {
  const headings = prose(read(page)).flatMap(({ line }) => /^#+ (.*)$/.exec(line)?.[1] ?? []);
  return new Set(headings.map(anchorOf));
}

/**
 * What is wrong with one link; undefined: nothing.
 * @param {string} page
 * @param {string} link
 */
function faultOf(page, link) {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path));
  if (!existsSync(join(ROOT, target))) return 'no such file';
  if (anchor === undefined || statSync(join(ROOT, target)).isDirectory()) return undefined;
  return anchorsOf(target).has(anchor) ? undefined : 'no such heading';
}

/** @param {string} page */
function brokenLinks(page) {
  return prose(read(page)).flatMap(({ line, number }) =>
    [...line.replaceAll(/`[^`]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
      const fault = /^[a-z]+:/.test(link) ? undefined : faultOf(page, link);
      return fault === undefined ? [] : [`${page}:${number}: ${link}: ${fault}`];
    }),
  );
}

describe.each(pages)('%s', (page) => {
  it('has no link that leads nowhere', () => {
    expect(brokenLinks(page)).toEqual([]);
  });

  it.skipIf(page === GENERATED)(`keeps its prose within ${MAX_COLUMNS} columns`, () => {
    const wide = prose(read(page)).filter(({ line }) => !line.startsWith('|') && line.length > MAX_COLUMNS);
    expect(wide).toEqual([]);
  });
});

/** A status: `accepted`, perhaps amended by others, or `superseded by` one of them. */
const NUMBERS = String.raw`\[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\)(, \[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\))*`;
const STATUS = new RegExp(`^(accepted|accepted, amended by ${NUMBERS}|superseded by ${NUMBERS})$`);

describe.each(records)('%s', (record) => {
  const name = record.slice(DECISIONS.length + 1);
  const [, number, title] = /^# (\d{4}) (.+)$/m.exec(read(record)) ?? [];
  const [, date] = /^- Date: (\d{4}-\d{2}-\d{2})$/m.exec(read(record)) ?? [];
  const [, status] = /^- Status: (.+)$/m.exec(read(record)) ?? [];

  it('has its number, a date and a status', () => {
    expect(number).toBe(name.slice(0, 4));
    expect(date).toBeDefined();
    expect(status).toMatch(STATUS);
  });

  it('is in the table of all records as it is', () => {
    // Formatting pads the cells of a table.
    const table = read(`${DECISIONS}/README.md`).replaceAll(/ {2,}/g, ' ');
    expect(table).toContain(`| [${number}](${name}) | ${title} | ${date} | ${status} |`);
  });
});

/**
 * As docs/spec.md names files.
 * @param {string} path
 */
const fileOf = (path) => (path.startsWith('test/') ? path : `packages/${path}`);

/**
 * Test files by the number of the invariant that docs/spec.md names them under. A bare file name is
 * in the folder of the file before it. Files that are said to have no number are left out.
 */
function testsOfInvariants() {
  return read('docs/spec.md')
    .split(/^## (?=I\d+ )/m)
    .slice(1)
    .flatMap((section) => {
      const [number = ''] = section.split(' ', 1);
      const [, tests = ''] = /^\*\*Tests\.\*\*(.*?)(?=^#|$(?![^]))/ms.exec(section) ?? [];
      let folder = '';
      return [...tests.matchAll(/`([^`]+\.ts)`(?!\s+covers)/g)].map(([, path = '']) => {
        const file = path.includes('/') ? path : `${folder}/${path}`;
        folder = dirname(file);
        return { number, file: fileOf(file) };
      });
    });
}

describe('docs/spec.md', () => {
  const named = testsOfInvariants();

  it('names tests', () => {
    expect(named.length).toBeGreaterThan(50);
  });

  it('names files that exist', () => {
    const files = [...read('docs/spec.md').matchAll(/`([^`]+\/[^`]+\.ts)`/g)].map(([, file = '']) =>
      fileOf(file),
    );
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });

  it.each(named)('$number is in the title of a test in $file', ({ number, file }) => {
    expect(read(file)).toMatch(new RegExp(String.raw`['"\x60](I\d+,? )*${number}[:, ]`));
  });
});
