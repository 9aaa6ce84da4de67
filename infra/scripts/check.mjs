import { join } from 'node:path';
import { runQuietly } from './child-process.mjs';
import { root, setUp } from './set-up.mjs';
import { runMain, step } from './steps.mjs';
import { goOnUnder, otherNode } from './under-node.mjs';

// Everything that CI checks besides the tests, side by side: none of them writes anything. The exit
// code is the number of checks that failed.
const CHECKS = [
  { name: 'lint', args: ['eslint', '.', '--max-warnings', '0'] },
  { name: 'structure', args: ['depcruise', '--config', 'infra/dependency-cruiser.mjs', 'packages'] },
  { name: 'formatting', args: ['prettier', '--check', '--log-level=warn', '.'] },
  { name: 'types', args: ['tsc', '-p', 'infra/tsconfig.checks.json'] },
  { name: 'types of the console', args: ['tsc', '-p', 'packages/console/page/tsconfig.json'] },
];

process.exitCode = await runMain(async () => {
  const other = await otherNode();
  if (other !== undefined) return goOnUnder(other, import.meta.url);
  await setUp();
  const done = step(`checking ${CHECKS.map(({ name }) => name).join(', ')}`);
  const passed = await Promise.all(CHECKS.map(check));
  done();
  return passed.filter((one) => !one).length;
});

/** Says what it found as soon as it has ended. */
async function check({ name, args: [program, ...rest] }) {
  const { ok, output } = await runQuietly(join(root, 'node_modules', '.bin', program), rest);
  if (!ok) console.error(`${output.trimEnd()}\n  ${name}: failed`);
  return ok;
}
