import { setTimeout as sleep } from 'node:timers/promises';
import type { AntiphonError } from '@antiphon/core';
import { problemsOf } from '@antiphon/replica';
import { writingPrimary } from '@antiphon/replica/internal';
import { askMembers, type ClusterClient, type MemberAnswer } from '@antiphon/client';
import { furthestOf, nobodyAnswers, writingMsOf } from '@antiphon/client/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { namesOf } from '../explain/names-of.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import { epochsText } from './epochs-text.js';
import { statusText } from './status-text.js';

interface StatusOptions extends TargetOptions {
  readonly watch?: boolean;
  readonly check?: boolean;
  readonly history?: boolean;
  readonly interval: number;
}

/** A member that did not answer has no status. */
const DEFAULT_INTERVAL_MS = 1000;
const MAX_INTERVAL_MS = 3_600_000;

export function defineStatus(host: CommandHost): void {
  defineCommand<StatusOptions>(host, {
    name: 'status',
    description: 'show every replica: role, state, lag, outbox, conflicts',
    examples: [
      'antiphon status --watch',
      'antiphon status --json --servers nats://127.0.0.1:4222 --cluster shop',
    ],
    configure: (command) => {
      command
        .option('-w, --watch', 'show it again and again, until Ctrl-C')
        .option('--check', 'exit code 1 unless every member answers and gets on')
        .option('--history', 'every epoch so far: who was the primary, since when and why')
        .option(
          '--interval <ms>',
          'with --watch: how often',
          wholeNumber(100, MAX_INTERVAL_MS),
          DEFAULT_INTERVAL_MS,
        );
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      if (options.history === true) return await history(client, terminal, signal);
      if (options.watch === true) return await watch(client, terminal, options.interval, signal);
      const answers = await askMembers(client);
      show(client, answers, terminal);
      if (answers.every(({ status }) => status === undefined)) throw noAnswer(client.cluster, answers);
      if (options.check === true) return checked(answers, terminal);
      return EXIT.ok;
    },
  });
}

function checked(answers: readonly MemberAnswer[], terminal: Terminal): ExitCode {
  const problems = answers.flatMap((answer) =>
    answer.status === undefined ? [whyNoAnswer(answer, answers)] : problemsOf(answer.status),
  );
  for (const problem of problems) terminal.err(`${problem}\n`);
  return problems.length === 0 ? EXIT.ok : EXIT.failed;
}

function whyNoAnswer({ id, error }: MemberAnswer, answers: readonly MemberAnswer[]): string {
  const writingMs = writingMsOf(answers, id);
  if (writingMs !== undefined) return writingPrimary(id, writingMs);
  return `${id} does not answer (${error?.code ?? 'no answer'}).`;
}

/** As the replica says that has read furthest. */
async function history(client: ClusterClient, terminal: Terminal, signal: AbortSignal): Promise<ExitCode> {
  const answers = await askMembers(client);
  const furthest = furthestOf(answers.flatMap(({ status }) => status ?? []));
  if (furthest === undefined) throw noAnswer(client.cluster, answers);
  const epochs = await client.replica(furthest.id).ask('epochs', undefined, { signal });
  if (terminal.json) terminal.out(`${toJson({ cluster: client.cluster, epochs })}\n`);
  else terminal.out(epochsText(epochs, terminal));
  return EXIT.ok;
}

/** Replicas that this client may not ask are something else than replicas that are away. */
function noAnswer(cluster: string, answers: readonly MemberAnswer[]): AntiphonError {
  return answers.find(({ error }) => error?.code === 'ACCESS_DENIED')?.error ?? nobodyAnswers(cluster);
}

/** Ends well with Ctrl-C: that is how a watch ends. */
async function watch(
  client: ClusterClient,
  terminal: Terminal,
  intervalMs: number,
  signal: AbortSignal,
): Promise<ExitCode> {
  while (!signal.aborted) {
    const answers = await askMembers(client);
    if (terminal.interactive) terminal.out('\u001b[H\u001b[2J');
    show(client, answers, terminal);
    if (!terminal.interactive && !terminal.json) terminal.out('\n');
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
  }
  return EXIT.ok;
}

function show(client: ClusterClient, answers: readonly MemberAnswer[], terminal: Terminal): void {
  if (terminal.json) {
    const replicas = answers.map(({ id, status, error }) => ({
      id,
      answers: status !== undefined,
      ...(status ?? {}),
      ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }),
    }));
    const servers = client.nats.servers.split(', ');
    terminal.out(`${toJson({ cluster: client.cluster, servers, replicas, explain: namesOf(answers) })}\n`);
    return;
  }
  terminal.out(statusText({ cluster: client.cluster, servers: client.nats.servers, answers, terminal }));
}
