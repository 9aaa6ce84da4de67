import { join } from 'node:path';
import { runInForeground } from './child-process.mjs';
import { root, setUp } from './set-up.mjs';
import { runMain } from './steps.mjs';
import { goOnUnder, otherNode } from './under-node.mjs';

/** How to run the command on this machine, whose own Node.js is too old for `npx antiphon`. */
const COMMAND = 'npm run -s antiphon --';

// `npm start [-- options of antiphon demo]`: from a fresh clone to three replicas of a real
// database on this machine.
process.exitCode = await runMain(async () => {
  const other = await otherNode();
  if (other !== undefined) return goOnUnder(other, import.meta.url, { env: { ANTIPHON_COMMAND: COMMAND } });
  await setUp();
  const command = join(root, 'packages', 'cli', 'dist', 'bin.js');
  const { code } = await runInForeground(process.execPath, [command, 'demo', ...process.argv.slice(2)]);
  return code;
});
