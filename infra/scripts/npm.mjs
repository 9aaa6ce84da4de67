import { runQuietly } from './child-process.mjs';
import { lastLine } from './steps.mjs';

const QUIET = ['--no-audit', '--no-fund', '--loglevel=warn'];

/**
 * Runs the npm that runs us, when one does, else the one on PATH. It uses the user's settings
 * (registry, proxy).
 */
export function npm(args, { limitMs, env = {} }) {
  const program = process.env.npm_execpath;
  const [command, ...first] = program?.endsWith('.js') === true ? [process.execPath, program] : ['npm'];
  return runQuietly(command, [...first, ...args, ...QUIET], { limitMs, env });
}

/** What npm says went wrong, in one line: its error code and the first sentence. */
export function npmError(output) {
  const errors = output
    .split('\n')
    .flatMap((line) => /^npm (?:error|ERR!) (.+)$/.exec(line.trim())?.[1] ?? []);
  const code = errors.find((line) => line.startsWith('code '))?.slice('code '.length);
  const sentence = errors
    .filter((line) => !/^(code|syscall|errno|path|dest) /.test(line))
    .map((line) => line.replace(/^(\d+|[a-z]+) +/, ''))[0];
  const told = [code, sentence].filter((part) => part !== undefined).join(': ');
  return told === '' ? lastLine(output) : told;
}

/** What to do about a failed npm command. */
export function npmAdvice(output) {
  if (/EUSAGE/.test(output)) {
    return 'A package.json was changed without package-lock.json: run npm install and commit both.';
  }
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ECONNRESET|network/i.test(output)) {
    return 'The package registry could not be reached: check the network, and the proxy settings of npm.';
  }
  if (/ENOSPC/.test(output)) return 'The disk is full: free some space and try again.';
  if (/EACCES|EPERM/.test(output)) return 'This user may not write here: check who owns this folder.';
  return 'See the output above.';
}
