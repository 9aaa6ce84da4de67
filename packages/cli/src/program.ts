import { createRequire } from 'node:module';
import { Command } from 'commander';
import { defineBench } from './commands/bench.js';
import { defineChanges } from './commands/changes.js';
import { defineCheck } from './commands/check.js';
import { defineCompletion } from './commands/completion.js';
import { defineConflicts } from './commands/conflicts.js';
import { defineDemo } from './commands/demo.js';
import { defineDoctor } from './commands/doctor.js';
import { defineExec } from './commands/exec.js';
import { defineExplain } from './commands/explain.js';
import { defineExplainCandidate } from './commands/explain-candidate.js';
import { defineExplainRead } from './commands/explain-read.js';
import { defineFailover } from './commands/failover.js';
import { defineHealth } from './commands/health.js';
import { defineInit } from './commands/init.js';
import { defineMember } from './commands/member.js';
import { defineOutcome } from './commands/outcome.js';
import { defineQuery } from './commands/query.js';
import { defineQuarantine } from './commands/quarantine.js';
import { defineRecapture } from './commands/recapture.js';
import { defineRescue } from './commands/rescue.js';
import { defineDrain, defineResume } from './commands/drain.js';
import { defineRun } from './commands/run.js';
import { defineSettings } from './commands/settings.js';
import { defineStatus } from './commands/status.js';
import { defineSwitchover } from './commands/switchover.js';
import { defineSubscriptions } from './commands/subscriptions.js';
import { defineUp } from './commands/up.js';
import { defineVerify } from './commands/verify.js';
import type { CommandHost } from './commands/define.js';

/** In the order of the help. */
const COMMANDS = [
  defineDemo,
  defineInit,
  defineCheck,
  defineUp,
  defineRun,
  defineStatus,
  defineHealth,
  defineExplain,
  defineExec,
  defineQuery,
  defineOutcome,
  defineChanges,
  defineSubscriptions,
  defineVerify,
  defineRecapture,
  defineMember,
  defineExplainCandidate,
  defineExplainRead,
  defineConflicts,
  defineQuarantine,
  defineFailover,
  defineSwitchover,
  defineDrain,
  defineResume,
  defineRescue,
  defineSettings,
  defineDoctor,
  defineBench,
  defineCompletion,
];

/** The whole command line. Throws CommanderError instead of ending the process. */
export function createProgram(settings: Omit<CommandHost, 'program'>): Command {
  const program = new Command('antiphon')
    .description('Keeps copies of a database in step over NATS JetStream.')
    .version(packageVersion(), '-V, --version')
    .exitOverride()
    // `usageError` suggests.
    .showSuggestionAfterError(false)
    // `main` reports errors, as text or as JSON.
    .configureOutput({ writeErr: () => undefined, outputError: () => undefined })
    .addHelpText(
      'after',
      '\nStart with:\n  $ antiphon demo          a cluster of three on this machine, with real data\n',
    );
  const host: CommandHost = { program, ...settings };
  for (const define of COMMANDS) define(host);
  return program;
}

export function packageVersion(): string {
  const { version } = createRequire(import.meta.url)('../package.json') as { version: string };
  return version;
}
