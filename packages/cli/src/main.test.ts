import type { Command } from 'commander';
import { expect, it } from 'vitest';
import { createProgram } from './program.js';

const program = (): Command =>
  createProgram({
    context: () => {
      throw new Error('no command runs here');
    },
    finished: () => undefined,
  });

it('every command has --json, a description and an example in its help', () => {
  // What only groups others has no options of its own.
  const commands = program().commands.flatMap((command) =>
    command.commands.length === 0 ? [command] : command.commands,
  );
  for (const command of commands) {
    let help = '';
    command.configureOutput({ writeOut: (text) => void (help += text) });
    command.outputHelp();
    expect(command.description(), command.name()).not.toBe('');
    expect(help, command.name()).toContain('--json');
    expect(help, command.name()).toMatch(
      new RegExp(`Example:\\n  \\$ antiphon (${command.parent?.name() ?? ''} )?${command.name()}`),
    );
  }
});

it('has the commands of this version', () => {
  expect(program().commands.map((command) => command.name())).toEqual([
    'demo',
    'init',
    'check',
    'up',
    'run',
    'status',
    'health',
    'explain',
    'exec',
    'query',
    'outcome',
    'changes',
    'subscriptions',
    'verify',
    'recapture',
    'member',
    'explain-candidate',
    'explain-read',
    'conflicts',
    'quarantine',
    'failover',
    'switchover',
    'drain',
    'resume',
    'rescue',
    'settings',
    'doctor',
    'bench',
    'completion',
  ]);
});
