import { join } from 'node:path';
import { runInForeground, runQuietly } from '../scripts/child-process.mjs';
import { installDependencies } from '../scripts/install.mjs';
import { root } from '../scripts/set-up.mjs';
import { runMain, step, SetupError } from '../scripts/steps.mjs';
import { goOnUnder, otherNode } from '../scripts/under-node.mjs';
import { faultsOfSite } from './built-site.mjs';

// `npm run docs [-- --base /antiphon/]` builds the site into .cache/site, and checks its links;
// `npm run docs:dev [-- --port N]` serves it on this machine while pages are written.
const FOLDER = join(root, '.cache', 'site');

process.exitCode = await runMain(async () => {
  const other = await otherNode();
  if (other !== undefined) return goOnUnder(other, import.meta.url);
  process.chdir(root);
  await installDependencies(root);
  const [command = 'build', ...args] = process.argv.slice(2);
  await quietly('writing the reference of the API', 'typedoc', ['--options', 'infra/site/typedoc.mjs']);
  if (command === 'dev') return serve(args);
  await quietly('building the site', 'vitepress', ['build', 'docs', ...args]);
  const at = args.indexOf('--base');
  return check(at < 0 ? '/' : args[at + 1]);
});

async function quietly(what, program, args) {
  const done = step(what);
  const { ok, output } = await runQuietly(join(root, 'node_modules', '.bin', program), args);
  if (!ok) throw new SetupError(`${output.trim()}\n\n${program} failed; see above.`);
  done();
}

async function serve(args) {
  const vitepress = join(root, 'node_modules', '.bin', 'vitepress');
  const { code } = await runInForeground(vitepress, ['dev', 'docs', '--host', '127.0.0.1', ...args]);
  return code;
}

function check(base) {
  const faults = faultsOfSite(FOLDER, base);
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) return 1;
  console.log(`The site is in ${FOLDER}. Any server of static files can serve it.`);
  return 0;
}
