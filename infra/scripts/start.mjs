import { join } from 'node:path';
import { runInForeground } from './child-process.mjs';
import { requireNode } from './node-version.mjs';
import { root, setUp } from './set-up.mjs';
import { runMain } from './steps.mjs';

// `npm start [-- options of antiphon demo]`: from a fresh clone to three replicas of a real database on this machine.
process.exitCode = await runMain(async () => {
  requireNode('20.0', 'Antiphon');
  await setUp();
  const command = join(root, 'packages', 'cli', 'dist', 'bin.js');
  const { code } = await runInForeground(process.execPath, [command, 'demo', ...process.argv.slice(2)]);
  return code;
});
