import { runInForeground } from './child-process.mjs';
import { runMain, SetupError } from './steps.mjs';
import { goOnUnder, otherNode } from './under-node.mjs';

const COMMAND_NOT_FOUND = 127;

// `node infra/scripts/with-node.mjs COMMAND ARGUMENTS…`: runs a command of the repository (from
// PATH, which npm extends by node_modules/.bin) with a Node.js that is new enough for it. It
// installs and builds nothing, and leaves stdout to the command.
process.exitCode = await runMain(async () => {
  const other = await otherNode({ say: console.error });
  if (other !== undefined) return goOnUnder(other, import.meta.url);
  const [command, ...args] = process.argv.slice(2);
  if (command === undefined)
    throw new SetupError('Say which command to run: with-node.mjs COMMAND ARGUMENTS…');
  const code = await runInForeground(command, args).then(
    (result) => result.code,
    (error) => (error.code === 'ENOENT' ? COMMAND_NOT_FOUND : Promise.reject(error)),
  );
  if (code === COMMAND_NOT_FOUND)
    throw new SetupError(`${command} is not installed. Run npm ci, then try again.`);
  return code;
});
