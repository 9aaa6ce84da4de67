import { AntiphonError } from '@antiphon/core';
import type { DiscardAnswer, RetryAnswer } from '@antiphon/replica';
import { listQuarantine, retryQuarantine } from '@antiphon/client';
import { nobodyAnswers } from '@antiphon/client/internal';
import type { TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { addReplicaOption, Asked, exitOf } from './asked.js';
import { confirmed } from './confirm.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import {
  asListJson,
  asDetailJson,
  showDetail,
  showDiscarded,
  showList,
  showRetried,
  type Said,
} from './quarantine-text.js';

interface QuarantineOptions extends TargetOptions {
  readonly replica?: string;
}

interface ListOptions extends QuarantineOptions {
  readonly limit: number;
}

interface DiscardOptions extends QuarantineOptions {
  readonly yes?: boolean;
}

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100_000;
const ALL = 'all';

/**
 * `antiphon quarantine list|show|retry|discard`: what was quarantined, what is held, and the ways
 * out of both.
 */
export function defineQuarantine(host: CommandHost): void {
  const program = host.program
    .command('quarantine')
    .description('what was quarantined because no replica can accept it, what is held, and the ways out');
  const own = { ...host, program };
  defineList(own);
  defineShow(own);
  defineRetry(own);
  defineDiscard(own);
}

function defineList(host: CommandHost): void {
  defineCommand<ListOptions>(host, {
    name: 'list',
    description: 'what each replica has quarantined, what it holds, and what it waits for',
    examples: ['antiphon quarantine list', 'antiphon quarantine list --replica eu-2 --json'],
    configure: (command) => {
      addReplicaOption(command);
      command.option(
        '--limit <count>',
        'so many messages of each replica',
        wholeNumber(1, MAX_LIMIT),
        DEFAULT_LIMIT,
      );
      addTargetOptions(command);
    },
    run: async ({ limit, ...options }, context) => {
      await using cluster = await Asked.open(options, context);
      const lists = await cluster.each((id) => listQuarantine(cluster.ref(id), limit, cluster.wait));
      const { terminal } = context;
      if (terminal.json) terminal.out(`${toJson({ replicas: lists.map(asListJson) })}\n`);
      else for (const list of lists) showList(list, terminal);
      return exitOf(lists, () => true);
    },
  });
}

function defineShow(host: CommandHost): void {
  defineCommand<QuarantineOptions>(host, {
    name: 'show',
    description: 'one message that was quarantined, as far as it can be read',
    examples: ['antiphon quarantine show 4711'],
    configure: (command) => {
      command.argument('<entry>', 'of the log, as `antiphon quarantine list` shows it');
      addReplicaOption(command);
      addTargetOptions(command);
    },
    run: async (options, context, [entry = '']) => {
      const seq = entryOf(entry);
      await using cluster = await Asked.open(options, context);
      const answers = await cluster.each((id) => cluster.ref(id).ask('quarantined', { seq }, cluster.wait));
      const found = answers.find(({ answer }) => answer !== undefined);
      if (found?.answer === undefined) throw answers[0]?.error ?? nobodyAnswers(cluster.name);
      const { terminal } = context;
      if (terminal.json) terminal.out(`${toJson(asDetailJson(found.id, found.answer))}\n`);
      else showDetail(found.id, found.answer, terminal);
      return EXIT.ok;
    },
  });
}

function defineRetry(host: CommandHost): void {
  defineCommand<QuarantineOptions>(host, {
    name: 'retry',
    description: 'judge anew what was quarantined, and try at once what is held',
    examples: ['antiphon quarantine retry', 'antiphon quarantine retry 4711 --replica eu-2'],
    configure: (command) => {
      command.argument('[entry]', 'of the log; everything when absent');
      addReplicaOption(command);
      addTargetOptions(command);
    },
    run: async (options, context, [entry]) => {
      const seq = entry === undefined || entry === ALL ? undefined : entryOf(entry);
      await using cluster = await Asked.open(options, context);
      const answers = await cluster.each((id) => retryQuarantine(cluster.ref(id), seq, cluster.wait));
      const { terminal } = context;
      if (terminal.json) terminal.out(`${toJson({ replicas: answers.map(withError) })}\n`);
      else for (const answer of answers) showRetried(answer, terminal);
      return exitOf(
        answers,
        ({ results, held }) => results.every(({ state }) => state !== 'refused') && held?.applied !== false,
      );
    },
  });
}

function defineDiscard(host: CommandHost): void {
  defineCommand<DiscardOptions>(host, {
    name: 'discard',
    description: 'forget messages that were quarantined; their origins are still waited for',
    examples: ['antiphon quarantine discard 4711', 'antiphon quarantine discard all --replica eu-2 --yes'],
    configure: (command) => {
      command.argument('<entry>', 'of the log, or `all`');
      addReplicaOption(command);
      command.option('-y, --yes', 'without asking; needed where nobody can answer');
      addTargetOptions(command);
    },
    run: async ({ yes = false, ...options }, context, [entry = '']) => {
      const seq = entry === ALL ? undefined : entryOf(entry);
      const { terminal } = context;
      const what =
        seq === undefined ? 'everything that was quarantined' : `what was quarantined of entry ${seq}`;
      const where = options.replica ?? 'every replica';
      const question = `Forget ${what} on ${where}? It cannot be shown or retried afterwards.`;
      if (!yes && !(await confirmed(terminal, question, context.signal))) {
        terminal.out('Nothing was discarded.\n');
        return EXIT.failed;
      }
      await using cluster = await Asked.open(options, context);
      const query = seq === undefined ? {} : { seq };
      const answers = await cluster.each((id) => cluster.ref(id).ask('discard', query, cluster.wait));
      if (terminal.json) terminal.out(`${toJson({ replicas: answers.map(withError) })}\n`);
      else for (const answer of answers) showDiscarded(answer, terminal);
      return exitOf(answers, () => true);
    },
  });
}

function entryOf(text: string): number {
  const seq = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (seq > 0) return seq;
  throw new AntiphonError(
    'BAD_OPTION',
    `"${text}" is not an entry of the log. Give a number as \`antiphon quarantine list\` shows it.`,
  );
}

function withError({ id, answer, error }: Said<RetryAnswer | DiscardAnswer>): object {
  return { id, ...answer, ...(error && { error: { code: error.code, message: error.message } }) };
}
