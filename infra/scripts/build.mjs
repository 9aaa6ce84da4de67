import { join } from 'node:path';
import { runQuietly } from './child-process.mjs';
import { step, SetupError } from './steps.mjs';

const BUILD_LIMIT_MS = 10 * 60_000;

/** Builds every package; what has not changed comes from turbo's cache. */
export async function buildPackages(root) {
  const done = step('building');
  const turbo = join(root, 'node_modules', '.bin', 'turbo');
  const { ok, output } = await runQuietly(
    turbo,
    ['run', 'build', '--output-logs=errors-only', '--ui=stream'],
    {
      env: { TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1', TURBO_NO_UPDATE_NOTIFIER: '1' },
      limitMs: BUILD_LIMIT_MS,
    },
  );
  if (!ok) throw new SetupError(`${output.trimEnd()}\n\nThe build failed; see the errors above.`);
  done();
}
