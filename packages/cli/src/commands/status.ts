import { setTimeout as sleep } from 'node:timers/promises';
import type { AntiphonError } from '@antiphon/core';
import { toAntiphonError } from '@antiphon/core';
import type { ReplicaStatus } from '@antiphon/replica';
import { ClusterClient } from '../cluster/cluster-client.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled, type Style } from '../output/style.js';
import { formatTable } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import { nobodyAnswers } from './replica-choice.js';

interface StatusOptions extends TargetOptions {
  readonly watch?: boolean;
  readonly interval: number;
}

/** A member that did not answer has no status. */
export interface MemberAnswer {
  readonly id: string;
  readonly status?: ReplicaStatus;
  readonly error?: AntiphonError;
}

const ASK_TIMEOUT_MS = 2000;
const DEFAULT_INTERVAL_MS = 1000;
const MAX_INTERVAL_MS = 3_600_000;
const BYTES_PER_MB = 1_000_000;

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
        .option(
          '--interval <ms>',
          'with --watch: how often',
          wholeNumber(100, MAX_INTERVAL_MS),
          DEFAULT_INTERVAL_MS,
        );
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }) => {
      await using client = await ClusterClient.open(resolveTarget(options, env, cwd));
      if (options.watch === true) return await watch(client, terminal, options.interval, signal);
      const answers = await askAll(client);
      show(client, answers, terminal);
      if (answers.every(({ status }) => status === undefined)) throw nobodyAnswers(client.cluster);
      return EXIT.ok;
    },
  });
}

/** Ends well with Ctrl-C: that is how a watch ends. */
async function watch(
  client: ClusterClient,
  terminal: Terminal,
  intervalMs: number,
  signal: AbortSignal,
): Promise<ExitCode> {
  while (!signal.aborted) {
    const answers = await askAll(client);
    if (terminal.interactive) terminal.out('\u001b[H\u001b[2J');
    show(client, answers, terminal);
    if (!terminal.interactive && !terminal.json) terminal.out('\n');
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
  }
  return EXIT.ok;
}

export async function askAll(client: ClusterClient): Promise<readonly MemberAnswer[]> {
  const members = await client.members({ fresh: true });
  const ids = members.map(({ id }) => id).sort();
  return Promise.all(
    ids.map(async (id): Promise<MemberAnswer> => {
      try {
        return {
          id,
          status: await client.replica(id).ask('status', undefined, { timeoutMs: ASK_TIMEOUT_MS }),
        };
      } catch (error) {
        return { id, error: toAntiphonError(error) };
      }
    }),
  );
}

function show(client: ClusterClient, answers: readonly MemberAnswer[], terminal: Terminal): void {
  if (terminal.json) {
    const replicas = answers.map(({ id, status, error }) => ({
      id,
      answers: status !== undefined,
      ...(status ?? {}),
      ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }),
    }));
    terminal.out(`${toJson({ cluster: client.cluster, servers: client.target.servers, replicas })}\n`);
    return;
  }
  const topology = answers.find(({ status }) => status !== undefined)?.status?.topology;
  const name =
    typeof topology === 'object'
      ? `primary-replica, primary ${topology['primary-replica'].primary}`
      : topology;
  terminal.out(
    `cluster ${styled(terminal, 'bold', client.cluster)} (${name ?? 'nobody answers'}) at ${client.nats.servers}\n\n`,
  );
  terminal.out(
    formatTable(
      COLUMNS,
      answers.map((answer) => row(answer, terminal)),
    ),
  );
  for (const { id, status } of answers) {
    if (status === undefined) continue;
    if (status.stalled !== undefined) warn(terminal, 'red', `${id} stalled: ${status.stalled.message}`);
    for (const { message } of status.alarms) warn(terminal, 'yellow', `${id}: ${message}`);
    for (const { origin, expected, reason } of status.waitingFor) {
      warn(terminal, 'yellow', `${id} waits for ${origin}:${expected} (${reason})`);
    }
  }
}

const COLUMNS = [
  { title: 'replica' },
  { title: 'role' },
  { title: 'state' },
  { title: 'lag', align: 'right' },
  { title: 'unsent', align: 'right' },
  { title: 'log position' },
  { title: 'conflicts', align: 'right' },
  { title: 'quarantined', align: 'right' },
  { title: 'memory', align: 'right' },
  { title: 'up', align: 'right' },
] as const;

function row({ id, status, error }: MemberAnswer, terminal: Terminal): readonly string[] {
  if (status === undefined)
    return [id, '', styled(terminal, 'red', error?.code === 'NO_ACTOR' ? 'away' : 'no answer')];
  const { lag, outbox, position, conflicts, quarantined, memoryBytes, startedAtMs, nowMs } = status;
  return [
    id,
    status.role,
    styled(
      terminal,
      styleOf(status),
      status.connection === 'connected' ? status.lifecycle : `${status.lifecycle}, no NATS`,
    ),
    String(lag.messages),
    String(outbox.unpublished),
    position.text,
    String(conflicts),
    String(quarantined),
    memoryBytes === undefined ? '' : `${Math.round(memoryBytes / BYTES_PER_MB)} MB`,
    duration(nowMs - startedAtMs),
  ];
}

function styleOf({ lifecycle, connection }: ReplicaStatus): Style {
  if (lifecycle === 'stalled' || lifecycle === 'failed') return 'red';
  return (lifecycle === 'following' || lifecycle === 'primary') && connection === 'connected'
    ? 'green'
    : 'yellow';
}

function warn(terminal: Terminal, style: Style, text: string): void {
  terminal.out(`${styled(terminal, style, '!')} ${text}\n`);
}

function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}
