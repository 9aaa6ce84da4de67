import { createRequire } from 'node:module';
import { join } from 'node:path';
import { defineConfig } from 'vitepress';
import { anchorOf, repositoryLinks } from '../../infra/site/links.mjs';
import { addressOf, ROOT } from '../../infra/site/pages.mjs';
import { sidebars } from '../../infra/site/sidebar.mjs';
import { staticFiles } from '../../infra/site/static-files.mjs';

// The site has the pages of the whole repository, as they lie there: `npm run docs`, or
// `npm run docs:dev`.
const MERMAID = createRequire(import.meta.url).resolve('@mermaid-js/tiny');
const ICON =
  "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>" +
  "<g fill='none' stroke='%232f6f8f' stroke-width='2'><circle cx='5' cy='8' r='3.5'/><circle cx='11' cy='8' r='3.5'/></g></svg>";

/** What pages link to, and what draws their diagrams. */
const files = new Map([['/diagrams/mermaid.js', MERMAID]]);

export default defineConfig({
  srcDir: '..',
  // Vite looks for this folder below srcDir.
  outDir: join(ROOT, '.cache', 'site'),
  cacheDir: join(ROOT, '.cache', 'vitepress'),
  srcExclude: ['test/**', 'coverage/**'],
  rewrites: (page) => addressOf(page) ?? page,
  title: 'Antiphon',
  description: 'Keeps copies of a SQLite database in step over NATS JetStream',
  lang: 'en',
  head: [['link', { rel: 'icon', href: ICON }]],
  markdown: {
    anchor: { slugify: anchorOf },
    config(markdown) {
      repositoryLinks(markdown, (address, file) => files.set(address, file));
      const { fence } = markdown.renderer.rules;
      markdown.renderer.rules.fence = (tokens, index, ...rest) => {
        const { info, content } = tokens[index];
        if (info.trim() !== 'mermaid') return fence(tokens, index, ...rest);
        return `<SiteDiagram text="${encodeURIComponent(content)}" />`;
      };
    },
  },
  themeConfig: {
    sidebar: sidebars(),
    nav: [
      { text: 'Tutorial', link: '/tutorial' },
      { text: 'Command line', link: '/cli' },
      { text: 'API', link: '/api/' },
    ],
    outline: { level: [2, 3] },
    search: { provider: 'local' },
  },
  vite: {
    plugins: [staticFiles(files)],
    // Else it would look for the modules of every page of HTML in the repository.
    optimizeDeps: { entries: [] },
  },
});
