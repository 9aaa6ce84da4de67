import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { createProgram } from '../program.js';
import { commandTree } from './command-tree.js';
import { completionScript } from './shell-scripts.js';

const host = {
  context: () => {
    throw new Error('no command runs here');
  },
  finished: () => undefined,
};
const tree = commandTree(createProgram(host));

/** What bash offers behind each command line; a space at its end asks for a new word. */
function offered(lines: readonly string[]): readonly (readonly string[])[] {
  const asked = lines.map((line) => {
    const words = line.split(' ').map((word) => `'${word}'`);
    return `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _antiphon; echo "\${COMPREPLY[*]}"`;
  });
  const script = [completionScript('bash', tree), ...asked].join('\n');
  const { stdout, stderr } = spawnSync('bash', ['-c', script], {
    encoding: 'utf8',
    cwd: import.meta.dirname,
  });
  expect(stderr).toBe('');
  return stdout.split('\n').map((line) => line.split(' ').filter((word) => word !== ''));
}

it('bash completes commands, their options, and files behind an option that takes one', () => {
  const [status, all, discard, watch, none, history, replica, files, cluster] = offered([
    'antiphon sta',
    'antiphon ',
    'antiphon quarantine dis',
    'antiphon status --wa',
    'antiphon init --wa',
    'antiphon status --json --hist',
    'antiphon quarantine list --rep',
    'antiphon status --config shell-scripts.',
    'antiphon status --cluster ',
  ]);
  expect([status, discard, watch, history]).toEqual([['status'], ['discard'], ['--watch'], ['--history']]);
  expect(all).toEqual(expect.arrayContaining(['demo', 'quarantine', 'completion']));
  expect(none).toEqual([]);
  expect(replica).toEqual(['--replica']);
  expect(files).toEqual(expect.arrayContaining(['shell-scripts.ts', 'shell-scripts.test.ts']));
  expect(cluster).toEqual([]);
});

/** On machines that have it. */
const withFish = it.runIf(spawnSync('fish', ['--version']).status === 0);

withFish('fish completes commands and options, with what they are for', () => {
  const asked = ['antiphon quarantine dis', 'antiphon status --wa', 'antiphon init --wa'];
  const lines = asked.map((words) => `complete -C ${JSON.stringify(words)}; echo .`).join('\n');
  const script = `${completionScript('fish', tree)}\n${lines}`;
  const { stdout, stderr } = spawnSync('fish', ['--no-config', '-c', script], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^discard\t.+\n\.\n--watch\t.+\n\.\n\.\n$/);
});

it.each(['zsh', 'fish'] as const)('%s gets every command', (shell) => {
  const script = completionScript(shell, tree);
  for (const { path } of tree) expect(script).toContain(path);
});
