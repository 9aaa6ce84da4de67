import { AntiphonError, type RescueChange } from '@antiphon/core';
import { dismissRescued, listRescued, reapplyRescued, rescuedChanges, showRescued } from '@antiphon/client';
import { findRescued } from '@antiphon/client/internal';
import type { RescuedTransaction } from '@antiphon/replica';
import type { TargetOptions } from '../cluster/target.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { addReplicaOption, Asked, exitOf } from './asked.js';
import { confirmed } from './confirm.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import type { Said } from './quarantine-text.js';
import { changeSql } from './rescue-sql.js';
import {
  asAnswerJson,
  asChangeJson,
  asDetailJson,
  asListJson,
  showAnswer,
  showDetail,
  showList,
} from './rescue-text.js';

interface RescueOptions extends TargetOptions {
  readonly replica?: string;
}

interface ListOptions extends RescueOptions {
  readonly limit: number;
  readonly all?: boolean;
}

interface ShowOptions extends RescueOptions {
  readonly limit: number;
}

interface ExportOptions extends RescueOptions {
  readonly sql?: boolean;
}

interface ReapplyOptions extends RescueOptions {
  readonly force?: boolean;
}

interface DismissOptions extends RescueOptions {
  readonly yes?: boolean;
}

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100_000;
const ALL = 'all';
const ID = 'its number, as `antiphon rescue list` shows it';

/**
 * `antiphon rescue list|show|export|reapply|dismiss`: what a deposed primary had committed and the
 * log had not, and the ways out.
 */
export function defineRescue(host: CommandHost): void {
  const program = host.program
    .command('rescue')
    .description('what a deposed primary had committed and the log had not, and the ways out');
  const own = { ...host, program };
  defineList(own);
  defineShow(own);
  defineExport(own);
  defineReapply(own);
  defineDismiss(own);
}

function defineList(host: CommandHost): void {
  defineCommand<ListOptions>(host, {
    name: 'list',
    description: 'the transactions that each replica keeps in its rescue ledger',
    examples: ['antiphon rescue list', 'antiphon rescue list --replica eu-1 --all --json'],
    configure: (command) => {
      addReplicaOption(command);
      command
        .option('-a, --all', 'also those that were written again or dismissed')
        .option('--limit <count>', 'so many of each replica', wholeNumber(1, MAX_LIMIT), DEFAULT_LIMIT);
      addTargetOptions(command);
    },
    run: async ({ limit, all = false, ...options }, context) => {
      await using cluster = await Asked.open(options, context);
      const query = all ? {} : ({ state: 'kept' } as const);
      const lists = await cluster.each((id) => listRescued(cluster.ref(id), limit, cluster.wait, query));
      const { terminal } = context;
      if (terminal.json) terminal.out(`${toJson({ replicas: lists.map(asListJson) })}\n`);
      else for (const list of lists) showList(list, terminal);
      return exitOf(lists, () => true);
    },
  });
}

function defineShow(host: CommandHost): void {
  defineCommand<ShowOptions>(host, {
    name: 'show',
    description: 'what one of them had changed, and what the rows are now',
    examples: ['antiphon rescue show 3', 'antiphon rescue show 3 --replica eu-1 --json'],
    configure: (command) => {
      command.argument('<id>', ID);
      addReplicaOption(command);
      command.option('--limit <count>', 'so many changes', wholeNumber(1, MAX_LIMIT), DEFAULT_LIMIT);
      addTargetOptions(command);
    },
    run: async ({ limit, ...options }, context, [given = '']) => {
      const id = idOf(given);
      await using cluster = await Asked.open(options, context);
      const replica = await ownerOf(cluster, id);
      const detail = await showRescued(cluster.ref(replica), id, limit, cluster.wait);
      const { terminal } = context;
      if (terminal.json) terminal.out(`${toJson(asDetailJson(replica, detail))}\n`);
      else showDetail(replica, detail, terminal);
      return EXIT.ok;
    },
  });
}

function defineExport(host: CommandHost): void {
  defineCommand<ExportOptions>(host, {
    name: 'export',
    description: 'all changes of one of them, as JSON lines or SQL',
    examples: ['antiphon rescue export 3 > lost.jsonl', 'antiphon rescue export 3 --sql > lost.sql'],
    configure: (command) => {
      command
        .argument('<id>', ID)
        .option('--sql', 'statements; each does nothing where the row is not as it was before');
      addReplicaOption(command);
      addTargetOptions(command);
    },
    run: async ({ sql = false, ...options }, context, [given = '']) => {
      const id = idOf(given);
      await using cluster = await Asked.open(options, context);
      const replica = await ownerOf(cluster, id);
      const { terminal } = context;
      if (sql) terminal.out('BEGIN;\n');
      for await (const change of rescuedChanges(cluster.ref(replica), id, cluster.wait)) {
        if (sql) for (const text of changeSql(change)) terminal.out(text);
        else terminal.out(jsonLine(change));
      }
      if (sql) terminal.out('COMMIT;\n');
      return EXIT.ok;
    },
  });
}

function jsonLine(change: RescueChange): string {
  try {
    return `${toJson(asChangeJson(change))}\n`;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const message = `A change of ${change.table} is too long for a line of JSON. Export it with \`--sql\`.`;
    throw new AntiphonError('MESSAGE_TOO_LARGE', message, { cause });
  }
}

function defineReapply(host: CommandHost): void {
  defineCommand<ReapplyOptions>(host, {
    name: 'reapply',
    description: 'write them again on the primary, each as one ordinary transaction',
    examples: ['antiphon rescue reapply 3', 'antiphon rescue reapply 3 4 5 --replica eu-1'],
    configure: (command) => {
      command
        .argument('<id...>', 'their numbers, in their order; it ends with the first that is not written')
        .option('--force', 'also over rows that others have changed since');
      addReplicaOption(command);
      addTargetOptions(command);
    },
    run: async ({ force = false, ...options }, context, given) => {
      const ids = given.map(idOf);
      await using cluster = await Asked.open(options, context);
      for (const id of ids) {
        const replica = await ownerOf(cluster, id);
        const answer = await reapplyRescued(cluster.ref(replica), id, { force }, cluster.wait);
        const { terminal } = context;
        if (terminal.json) terminal.out(`${toJson(asAnswerJson(replica, answer))}\n`);
        else showAnswer(replica, answer, terminal);
        if (answer.outcome === 'conflicts') return EXIT.failed;
      }
      return EXIT.ok;
    },
  });
}

function defineDismiss(host: CommandHost): void {
  defineCommand<DismissOptions>(host, {
    name: 'dismiss',
    description: 'note that nobody needs them: they are not alarmed any more, and stay readable',
    examples: ['antiphon rescue dismiss 3', 'antiphon rescue dismiss all --replica eu-1 --yes'],
    configure: (command) => {
      command
        .argument('<id...>', 'their numbers, or `all`')
        .option('-y, --yes', 'without asking; needed where nobody can answer');
      addReplicaOption(command);
      addTargetOptions(command);
    },
    run: async ({ yes = false, ...options }, context, given) => {
      const ids = given.includes(ALL) ? undefined : given.map(idOf);
      const { terminal } = context;
      const what =
        ids === undefined ? 'everything that was rescued' : `what was rescued as ${ids.join(', ')}`;
      const question = `Dismiss ${what} on ${options.replica ?? 'whichever replica has it'}? Nobody is reminded of it any more.`;
      if (!yes && !(await confirmed(terminal, question, context.signal))) {
        terminal.out('Nothing was dismissed.\n');
        return EXIT.failed;
      }
      await using cluster = await Asked.open(options, context);
      // Awaited here: the connection is closed with this block.
      return ids === undefined
        ? await dismissAll(cluster, terminal)
        : await dismissEach(cluster, ids, terminal);
    },
  });
}

type Out = Parameters<typeof showList>[1];

async function dismissEach(cluster: Asked, ids: readonly number[], terminal: Out): Promise<ExitCode> {
  for (const id of ids) {
    const replica = await ownerOf(cluster, id);
    showDismissed(replica, await dismissRescued(cluster.ref(replica), id, cluster.wait), terminal);
  }
  return EXIT.ok;
}

async function dismissAll(cluster: Asked, terminal: Out): Promise<ExitCode> {
  const query = { state: 'kept' } as const;
  const said: readonly Said<number>[] = await cluster.each(async (replica) => {
    const ref = cluster.ref(replica);
    const { transactions } = await listRescued(ref, MAX_LIMIT, cluster.wait, query);
    for (const { id } of transactions)
      showDismissed(replica, await dismissRescued(ref, id, cluster.wait), terminal);
    return transactions.length;
  });
  for (const { id, error } of said) if (error !== undefined) terminal.err(`${id}: ${error.message}\n`);
  return exitOf(said, () => true);
}

function showDismissed(
  replica: string,
  { id, transaction, state, reappliedAs }: RescuedTransaction,
  terminal: Out,
): void {
  if (terminal.json) return terminal.out(`${toJson({ replica, id, transaction, state, reappliedAs })}\n`);
  const as = reappliedAs === undefined ? '' : ` as ${reappliedAs}`;
  const what =
    state === 'dismissed' ? 'is dismissed' : `was written again before${as}: nothing is left to do`;
  terminal.out(`${replica}: ${transaction} (${id}) ${what}\n`);
}

/** Each ledger has numbers of its own. */
async function ownerOf(cluster: Asked, id: number): Promise<string> {
  const answers = await cluster.each((replica) => findRescued(cluster.ref(replica), id, cluster.wait));
  const [first, second] = answers.filter(({ answer }) => answer !== undefined);
  if (first === undefined) throw answers[0]?.error ?? notThere(id);
  if (second === undefined) return first.id;
  throw new AntiphonError(
    'BAD_OPTION',
    `${first.id} and ${second.id} have both rescued something as ${id}. Say which one is meant with \`--replica\`.`,
    { context: { option: '--replica' } },
  );
}

function notThere(id: number): AntiphonError {
  return new AntiphonError('BAD_OPTION', `Nothing was rescued as ${id}. See \`antiphon rescue list\`.`);
}

function idOf(text: string): number {
  const id = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (id > 0) return id;
  throw new AntiphonError(
    'BAD_OPTION',
    `"${text}" is not the number of a rescued transaction. Give one as \`antiphon rescue list\` shows it.`,
  );
}
