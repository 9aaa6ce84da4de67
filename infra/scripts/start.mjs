import { join } from 'node:path';
import { runInForeground } from './child-process.mjs';
import { root, setUp } from './set-up.mjs';
import { runMain } from './steps.mjs';
import { goOnUnder, otherNode } from './under-node.mjs';

// `npm start [-- options of antiphon demo]`: from a fresh clone to three replicas of a real database on this machine.
process.exitCode = await runMain(async () => {
  const other = await otherNode();
  if (other !== undefined) return goOnUnder(other, import.meta.url);
  await setUp();
  const command = join(root, 'packages', 'cli', 'dist', 'bin.js');
  const { code } = await runInForeground(process.execPath, [command, 'demo', ...process.argv.slice(2)]);
  return code;
});
