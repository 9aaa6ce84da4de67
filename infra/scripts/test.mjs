import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findBrowser } from './browser.mjs';
import { runInForeground } from './child-process.mjs';
import { root, setUp } from './set-up.mjs';
import { runMain } from './steps.mjs';
import { goOnUnder, otherNode } from './under-node.mjs';

// `npm test [-- arguments of vitest]`: from a fresh clone, gets what the tests need and runs them.
// The last line reads `N passed, N failed`, whatever happened; what is no test (a set-up or a check
// that failed) counts as a failed one.
const MINUTE_MS = 60_000;

let passed = 0;
let failed = Number(process.env.ANTIPHON_FAILED_CHECKS ?? 0);
/** Has another process, under a newer Node.js, run the tests and printed the last line? */
let reported = false;

const code = await runMain(async () => {
  const other = await otherNode();
  if (other !== undefined) {
    const exitCode = await goOnUnder(other, import.meta.url);
    // When it was killed, it could not print anything.
    reported = exitCode <= 1;
    return exitCode;
  }
  await setUp();
  const [natsServer, browser] = await Promise.all([findNatsServer(), findBrowser()]);
  await runTests({ natsServer, browser });
  return 0;
});
if (reported) {
  process.exitCode = code;
} else {
  if (code !== 0) failed += 1;
  process.exitCode = failed > 0 ? 1 : 0;
  console.log(`${passed} passed, ${failed} failed`);
}

/**
 * Finds or obtains a nats-server before the tests, so that each of them only has to look on this
 * machine.
 */
async function findNatsServer() {
  const module = join(root, 'packages', 'nats-server', 'dist', 'index.js');
  const { findNatsServer: find } = await import(pathToFileURL(module).href);
  try {
    const found = await find({ onStep: (message) => console.log(`• ${message}`) });
    return found.binary;
  } catch (error) {
    // The tests that need none still run; the others fail with this same message.
    console.error(error.message);
    return undefined;
  }
}

async function runTests({ natsServer, browser }) {
  const workDir = mkdtempSync(join(tmpdir(), 'antiphon-test-'));
  const countsFile = join(workDir, 'counts.json');
  try {
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const reporters = [
      '--reporter=default',
      `--reporter=${join(root, 'infra', 'scripts', 'count-reporter.mjs')}`,
    ];
    const limitMinutes = Number(process.env.ANTIPHON_TEST_LIMIT_MINUTES ?? Infinity);
    const result = await runInForeground(
      process.execPath,
      [vitest, 'run', ...reporters, ...process.argv.slice(2)],
      {
        env: {
          ANTIPHON_TEST_COUNTS: countsFile,
          // Hundreds of processes load the same modules.
          NODE_COMPILE_CACHE: join(workDir, 'compiled'),
          ...(natsServer === undefined ? {} : { ANTIPHON_NATS_SERVER: natsServer }),
          ...(browser === undefined ? {} : { ANTIPHON_CHROMIUM: browser }),
        },
        ...(Number.isFinite(limitMinutes) ? { limitMs: limitMinutes * MINUTE_MS } : {}),
      },
    );
    count(readCounts(countsFile), result, limitMinutes);
  } finally {
    rmSync(workDir, { recursive: true, force: true });
  }
}

function count(counts, { code: exitCode, timedOut }, limitMinutes) {
  passed += counts.passed;
  failed += counts.failed;
  if (counts.skipped > 0) console.log(`${counts.skipped} skipped`);
  if (timedOut) {
    console.log(`The tests took longer than ${limitMinutes} minutes and were ended.`);
    failed += 1;
  } else if (!counts.finished) {
    console.log(`vitest ended with exit code ${exitCode} before it had run every test.`);
    failed += 1;
  } else if (counts.passed + counts.failed === 0) {
    console.log('No test ran: nothing matches the arguments.');
    failed += 1;
  } else if (exitCode !== 0 && counts.failed === 0) {
    console.log(`vitest ended with exit code ${exitCode} although no test failed.`);
    failed += 1;
  }
}

function readCounts(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // It ended before the first file was through.
    return { passed: 0, failed: 0, skipped: 0, finished: false };
  }
}
