import { listConflicts } from '@antiphon/client';
import type { ConflictList, ShownConflict } from '@antiphon/replica';
import type { TargetOptions } from '../cluster/target.js';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { addReplicaOption, Asked, exitOf } from './asked.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import { keyOf, type Said, valueJson } from './quarantine-text.js';
import { moreColumnsOf, rowJson } from './rescue-text.js';

interface ConflictsOptions extends TargetOptions {
  readonly replica?: string;
  readonly limit: number;
}

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 200;

/** `antiphon conflicts`: rows that two replicas changed at once, what stays and what is lost. */
export function defineConflicts(host: CommandHost): void {
  defineCommand<ConflictsOptions>(host, {
    name: 'conflicts',
    description: 'rows that two replicas changed without knowing of each other: what stays, what is lost',
    examples: ['antiphon conflicts', 'antiphon conflicts --replica eu-2 --limit 200 --json'],
    configure: (command) => {
      addReplicaOption(command);
      command.option(
        '--limit <count>',
        'so many of each replica, the newest first; each keeps its last 200',
        wholeNumber(1, MAX_LIMIT),
        DEFAULT_LIMIT,
      );
      addTargetOptions(command);
    },
    run: async ({ limit, ...options }, context) => {
      await using cluster = await Asked.open(options, context);
      const lists = await cluster.each((id) => listConflicts(cluster.ref(id), limit, cluster.wait));
      const { terminal } = context;
      if (terminal.json) terminal.out(`${toJson({ replicas: lists.map(asJson) })}\n`);
      else for (const list of lists) show(list, terminal);
      return exitOf(lists, () => true);
    },
  });
}

function show({ id, answer, error }: Said<ConflictList>, terminal: Terminal): void {
  const name = styled(terminal, 'bold', id);
  if (answer === undefined)
    return terminal.out(`${name}: ${styled(terminal, 'red', error?.message ?? 'no answer')}\n`);
  const { conflicts, total, more } = answer;
  terminal.out(`${name}: ${total === 0 ? 'no conflicts' : `${total} decided`}\n`);
  for (const conflict of conflicts) showConflict(conflict, terminal);
  if (more) terminal.out('  … there are more: --limit\n');
}

function showConflict(conflict: ShownConflict, terminal: Terminal): void {
  const { table, key, columns, winner, loser, kept, lost, here, atMs } = conflict;
  terminal.out(
    `  ${table} ${keyOf(key)}, decided at ${new Date(atMs).toISOString()}: ` +
      `${winner.origin}:${winner.counter} stays, ${loser.origin}:${loser.counter} is lost\n`,
  );
  for (const [title, row] of [
    ['stays', kept],
    ['lost', lost],
    ['here', here],
  ] as const)
    terminal.out(`    ${title.padEnd(5)} ${row === undefined ? 'no row' : toJson(rowJson(columns, row))}\n`);
  terminal.out(moreColumnsOf(conflict));
}

function asJson({ id, answer, error }: Said<ConflictList>): object {
  if (answer === undefined) return { id, error: { code: error?.code, message: error?.message } };
  const conflicts = answer.conflicts.map(({ columns, key, kept, lost, here, ...conflict }) => ({
    ...conflict,
    key: key.map(valueJson),
    ...(kept && { kept: rowJson(columns, kept) }),
    ...(lost && { lost: rowJson(columns, lost) }),
    ...(here && { here: rowJson(columns, here) }),
  }));
  return { id, ...answer, conflicts };
}
