import { createRequire } from 'node:module';
import { Command } from 'commander';
import { defineInit } from './commands/init.js';
import type { CommandHost } from './commands/define.js';

/** The whole command line. Throws CommanderError instead of ending the process. */
export function createProgram(settings: Omit<CommandHost, 'program'>): Command {
  const program = new Command('antiphon')
    .description('Keeps copies of a database in step over NATS JetStream.')
    .version(packageVersion(), '-V, --version')
    .exitOverride()
    .showSuggestionAfterError(true)
    // `main` reports errors, as text or as JSON.
    .configureOutput({ writeErr: () => undefined, outputError: () => undefined })
    .addHelpText('after', '\nStart with:\n  $ antiphon demo          a cluster of three on this machine, with real data\n');
  const host: CommandHost = { program, ...settings };
  for (const define of [defineInit]) define(host);
  return program;
}

export function packageVersion(): string {
  const { version } = createRequire(import.meta.url)('../package.json') as { version: string };
  return version;
}
