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

/** What bash offers behind these words. */
function offered(...words: readonly string[]): readonly string[] {
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const ask = `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _antiphon; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const script = `${completionScript('bash', tree)}\n${ask}`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script], {
    encoding: 'utf8',
    cwd: import.meta.dirname,
  });
  expect(stderr).toBe('');
  return stdout.split('\n').filter((line) => line !== '');
}

it('bash completes commands and those below them', () => {
  expect(offered('antiphon', 'sta')).toEqual(['status']);
  expect(offered('antiphon', '')).toEqual(expect.arrayContaining(['demo', 'quarantine', 'completion']));
  expect(offered('antiphon', 'quarantine', 'dis')).toEqual(['discard']);
});

it('bash completes the options of the command, wherever it stands', () => {
  expect(offered('antiphon', 'status', '--wa')).toEqual(['--watch']);
  expect(offered('antiphon', 'init', '--wa')).toEqual([]);
  expect(offered('antiphon', 'status', '--json', '--hist')).toEqual(['--history']);
  expect(offered('antiphon', 'quarantine', 'list', '--rep')).toEqual(['--replica']);
});

it('bash completes files behind an option that takes one, and nothing behind other values', () => {
  expect(offered('antiphon', 'status', '--config', 'shell-scripts.')).toEqual(
    expect.arrayContaining(['shell-scripts.ts', 'shell-scripts.test.ts']),
  );
  expect(offered('antiphon', 'status', '--cluster', '')).toEqual([]);
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
