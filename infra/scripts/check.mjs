import { join } from 'node:path';
import { runInForeground } from './child-process.mjs';
import { root, setUp } from './set-up.mjs';
import { runMain, step } from './steps.mjs';
import { goOnUnder, otherNode } from './under-node.mjs';

// Everything that CI checks besides the tests. The exit code is the number of checks that failed.
const CHECKS = [
  { name: 'lint', args: ['eslint', '.', '--max-warnings', '0'] },
  { name: 'structure', args: ['depcruise', '--config', 'infra/dependency-cruiser.mjs', 'packages'] },
  { name: 'formatting', args: ['prettier', '--check', '--log-level=warn', '.'] },
  { name: 'types', args: ['tsc', '-p', 'infra/tsconfig.checks.json'] },
];

process.exitCode = await runMain(async () => {
  const other = await otherNode();
  if (other !== undefined) return goOnUnder(other, import.meta.url);
  await setUp();
  let failed = 0;
  for (const { name, args } of CHECKS) {
    const done = step(name);
    const [program, ...rest] = args;
    const { code } = await runInForeground(join(root, 'node_modules', '.bin', program), rest);
    if (code === 0) done();
    else console.error(`  ${name}: failed`);
    failed += code === 0 ? 0 : 1;
  }
  return failed;
});
