import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { faultsOfSite } from './built-site.mjs';
import { anchorOf, linkOnSite } from './links.mjs';
import { addressOf, writtenPages } from './pages.mjs';
import { pagesOfSections } from './sidebar.mjs';

describe('the pages of the site', () => {
  it('have an address each', () => {
    const addresses = writtenPages().map(addressOf);
    expect(addresses).not.toContain(undefined);
    expect(new Set(addresses).size).toBe(addresses.length);
    expect(addresses).toEqual(
      expect.arrayContaining(['index.md', 'overview.md', 'cli.md', 'packages/core.md']),
    );
  });

  it('are in the side bar, whoever writes one', () => {
    const sections = pagesOfSections();
    const listed = (page) =>
      /^(packages|examples)\/|^docs\/decisions\/0/.test(page) || sections.includes(page);
    const hint = 'Name it in a section of infra/site/sidebar.mjs, and in docs/README.md.';
    expect(
      writtenPages().filter((page) => !listed(page)),
      hint,
    ).toEqual([]);
  });
});

describe('a link of a page', () => {
  it.each([
    ['README.md', 'docs/cli.md', '/cli.md'],
    ['docs/cli.md', 'wire.md#entries', '/wire.md#entries'],
    ['docs/cli.md', '../README.md#watching-it', '/overview.md#watching-it'],
    ['docs/how-to/choose-a-size.md', '../README.md', '/index.md'],
    ['CHANGELOG.md', 'docs/decisions/', '/decisions/index.md'],
    ['docs/cli.md', '../packages/sqlite', '/packages/sqlite.md'],
  ])('from %s to %s leads to a page', (page, link, href) => {
    expect(linkOnSite(page, link)).toEqual({ href });
  });

  it('to a folder of sources leads to the page of its package', () => {
    expect(linkOnSite('docs/architecture.md', '../packages/replica/src/sync').href).toBe(
      '/packages/replica.md',
    );
  });

  it('to a source leads to its text, which the site serves', () => {
    expect(linkOnSite('docs/security.md', '../infra/nats/cluster.conf')).toEqual({
      href: '/source/infra/nats/cluster.conf.txt',
      source: 'infra/nats/cluster.conf',
    });
  });

  it.each(['https://nats.io', 'mailto:a@example.org', '#watching-it', '/cli'])(
    '%s stays as it is',
    (href) => {
      expect(linkOnSite('README.md', href)).toEqual({ href });
    },
  );
});

it.each([
  ['What is lost, and when', 'what-is-lost-and-when'],
  ['`antiphon.yaml`', 'antiphonyaml'],
  ['I2 Exactly once, in order', 'i2-exactly-once-in-order'],
  ['exec, query', 'exec-query'],
  ['6. A test', '6-a-test'],
])('the anchor of "%s" is that of a forge', (heading, anchor) => {
  expect(anchorOf(heading)).toBe(anchor);
});

describe('a built site', () => {
  let folder;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'antiphon-site-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (file, text) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  };

  it('without faults has none', () => {
    write('style.css', 'a { background: url(/a.svg) }');
    write('a.svg', '');
    write(
      'index.html',
      '<link rel="stylesheet" href="/style.css"><a class="x" href="/how/to.html?a&amp;b#da%C3%9F">a</a> <a href="https://nats.io">b</a>',
    );
    write(
      'how/to.html',
      '<h2 id="daß">a</h2><a href="../">up</a> <a href="#daß">here</a> <img src="../a.svg">',
    );
    expect(faultsOfSite(folder)).toEqual([]);
  });

  it('below a path: its links lie there', () => {
    write('index.html', '<a href="/docs/to.html">a</a> <a href="/to.html">b</a>');
    write('to.html', '');
    expect(faultsOfSite(folder, '/docs/')).toEqual(['index.html links to /to.html: it is not below /docs/.']);
  });

  it('names links that lead nowhere', () => {
    write('index.html', '<a href="/none.html">a</a> <a href="to.html#none">b</a> <img src="/none.png">');
    write('to.html', '<h2 id="some">a</h2>');
    expect(faultsOfSite(folder)).toEqual([
      'index.html links to /none.html: no such page.',
      'index.html links to to.html#none: no such heading.',
      'index.html links to /none.png: no such page.',
    ]);
  });

  it('names what a browser would fetch from elsewhere', () => {
    write('fonts.css', "@import url('https://fonts.example/inter.css');");
    write(
      'index.html',
      '<script src="//cdn.example/a.js"></script><link rel="icon" href="https://cdn.example/i.svg">',
    );
    expect(faultsOfSite(folder)).toEqual([
      'fonts.css loads something from elsewhere.',
      'index.html loads https://cdn.example/i.svg from elsewhere.',
      'index.html loads //cdn.example/a.js from elsewhere.',
    ]);
  });
});
