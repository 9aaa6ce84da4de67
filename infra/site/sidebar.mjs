import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { addressOf, API, ROOT, titleOf, writtenPages } from './pages.mjs';

/** Pages by what a reader wants: paths in the repository, perhaps with a shorter title. */
const SECTIONS = [
  {
    text: 'Start',
    pages: [
      ['docs/README.md', 'What it is'],
      ['docs/tutorial.md', 'Tutorial'],
      ['README.md', 'Overview'],
      ['examples/shop/README.md', 'Example: two services'],
      ['examples/kysely/README.md', 'Example: Kysely'],
    ],
  },
  {
    text: 'Concepts',
    pages: [
      ['docs/concepts.md', 'Terms'],
      ['docs/architecture.md'],
      ['docs/several-writers.md', 'Several writers'],
      ['docs/subscriptions.md'],
      ['docs/publishing.md'],
    ],
  },
  {
    text: 'How-to',
    pages: [
      ['docs/how-to/test-your-service.md'],
      ['docs/other-programs.md', 'Write from other programs'],
      ['docs/orms.md'],
      ['docs/how-to/change-the-schema.md'],
      ['docs/how-to/back-up-and-restore.md'],
      ['docs/upgrading.md', 'Upgrade'],
      ['docs/how-to/practise-a-failover.md'],
      ['docs/how-to/choose-a-size.md'],
    ],
  },
  {
    text: 'Operations',
    pages: [
      ['docs/operations.md'],
      ['docs/failover.md'],
      ['docs/lost-log.md', 'A lost log'],
      ['docs/console.md', 'Console'],
      ['docs/tracing.md', 'Traces'],
      ['docs/versions.md'],
      ['docs/benchmarks.md'],
      ['infra/README.md', 'Files to deploy with'],
    ],
  },
  { text: 'Security', pages: [['docs/security.md', 'Threats and defences'], ['docs/access.md']] },
  {
    text: 'Reference',
    pages: [
      ['docs/cli.md', 'Command line'],
      ['docs/http.md', 'HTTP'],
      ['docs/subjects.md', 'NATS subjects'],
      ['docs/errors.md'],
      ['docs/spec.md', 'Invariants'],
      ['docs/wire.md'],
      ['docs/sync-machine.md', 'Machine of synchronous writes'],
    ],
  },
];
const BACK = { text: '← All pages', link: '/' };
const PROJECT = [['CHANGELOG.md'], ['CONTRIBUTING.md'], ['docs/releasing.md'], ['docs/decisions/README.md']];

/** As paths in the repository. */
export function pagesOfSections() {
  return [...SECTIONS.flatMap(({ pages }) => pages), ...PROJECT].map(([page]) => page);
}

/**
 * What VitePress shows beside a page, by the start of its address: long lists are only where they
 * are of use.
 */
export function sidebars() {
  const api = [{ text: 'API', link: '/api/', items: items(modulesOfApi()) }];
  const decisions = [
    { text: 'Decisions', link: '/decisions/', items: items(pagesBelow('docs/decisions/0')) },
  ];
  return {
    '/api/': [BACK, ...api],
    '/decisions/': [BACK, ...decisions],
    '/': [
      ...SECTIONS.map(({ text, pages }) => ({ text, items: items(pages) })),
      ...api,
      { text: 'Packages', collapsed: true, items: items(pagesBelow('packages/')) },
      { text: 'Project', items: items(PROJECT) },
    ],
  };
}

function items(pages) {
  return pages
    .filter(([page]) => existsSync(join(ROOT, page)))
    .map(([page, title = titleOf(page)]) => ({ text: title, link: linkTo(page) }));
}

function pagesBelow(start) {
  return writtenPages()
    .filter((page) => page.startsWith(start))
    .sort()
    .map((page) => [page]);
}

/** What typedoc has written; nothing before it has run. */
function modulesOfApi() {
  const folder = join(ROOT, API);
  if (!existsSync(folder)) return [];
  const pages = readdirSync(folder, { recursive: true }).filter((file) => /\/index\.md$/.test(file));
  return pages.sort().map((file) => [`${API}/${file}`]);
}

function linkTo(page) {
  return `/${addressOf(page)}`.replace(/index\.md$/, '').replace(/\.md$/, '.html');
}
