import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { shellWord } from './shell-word.js';

it('is one word to a shell, whatever the name is, and plain where it can be', () => {
  expect(shellWord('orders')).toBe('orders');
  expect(shellWord('./shop-1.db')).toBe('./shop-1.db');
  for (const name of [`we'ird "t"[\`;--`, '$(id)', 'two words', '', '*', '~', 'a\nb', '#x', 'ä'])
    expect(execFileSync('sh', ['-c', `printf %s ${shellWord(name)}`], { encoding: 'utf8' })).toBe(name);
});
