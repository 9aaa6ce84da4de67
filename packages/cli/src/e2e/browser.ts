import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Chromium of this machine; undefined where there is none. `npm test` installs one in CI. */
export const CHROMIUM = process.env['ANTIPHON_CHROMIUM'] ?? onPath();
export const NO_CHROMIUM =
  'There is no chromium. Install it (apt-get install chromium), or name one with ANTIPHON_CHROMIUM.';

function onPath(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM ?? '', args: ['--no-sandbox', '--disable-gpu'] });
}

/** A tab, and what must not be there: errors on its console, and requests to elsewhere. */
export class WatchedPage {
  readonly faults: string[] = [];

  private constructor(readonly page: Page) {}

  static async open(
    browser: Browser,
    url: string,
    options: BrowserContextOptions = {},
  ): Promise<WatchedPage> {
    const context = await browser.newContext({ viewport: DESKTOP, colorScheme: 'light', ...options });
    const watched = new WatchedPage(await context.newPage());
    const { page, faults } = watched;
    // What fails because a server was killed is what these tests are about; the page shows it.
    const isExpected = (text: string): boolean => /^Failed to load resource: (net::|the server)/.test(text);
    page.on('console', (message) => {
      const text = message.text();
      if (['error', 'warning'].includes(message.type()) && !isExpected(text)) faults.push(text);
    });
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) faults.push(`a request to ${request.url()}`);
    });
    await page.goto(url);
    return watched;
  }

  /** Where the environment names a folder for pictures: to look at them. */
  async picture(name: string): Promise<void> {
    const folder = process.env['ANTIPHON_SCREENSHOTS'];
    if (folder === undefined) return;
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  }

  close(): Promise<void> {
    return this.page.context().close();
  }
}

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 360, height: 740 };

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly target: unknown; readonly failureSummary: string }[];
}

/** What axe finds that is serious, a line each. */
export async function seriousFaults(page: Page): Promise<readonly string[]> {
  await page.evaluate(AXE);
  const script = 'axe.run(document).then(({ violations }) => violations)';
  const found = await page.evaluate<readonly Violation[]>(script);
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id} at ${JSON.stringify(target)}: ${failureSummary}`),
    );
}

/** How far the page is wider than its window. */
export async function overflow(page: Page): Promise<number> {
  const script = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
  return page.evaluate<number>(script);
}
