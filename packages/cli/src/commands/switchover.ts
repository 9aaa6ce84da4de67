import { AntiphonError, toAntiphonError } from '@antiphon/core';
import type { SwitchedOver } from '@antiphon/replica';
import { askMembers, type MemberAnswer } from '@antiphon/client';
import { primaryOf } from '@antiphon/client/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { warn } from '../output/warn.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';

interface SwitchoverCommandOptions extends TargetOptions {
  /** Seconds. */
  readonly timeout: number;
}

const DEFAULT_TIMEOUT_S = 10;
const MAX_TIMEOUT_S = 100;
/** It begins, hands over, or takes that back, each within the time. */
const STEPS = 6;

/** `antiphon switchover TO`: the primary hands over to another replica, and nothing is lost. */
export function defineSwitchover(host: CommandHost): void {
  defineCommand<SwitchoverCommandOptions>(host, {
    name: 'switchover',
    description:
      'let the primary hand over to another replica: writes wait for a moment, and nothing is lost',
    examples: ['antiphon switchover eu-2', 'antiphon switchover eu-2 --timeout 30 --json'],
    configure: (command) => {
      command
        .argument('<to>', 'the replica that is to be the primary')
        .option(
          '-t, --timeout <seconds>',
          'how long writes may wait; then the primary stays the primary',
          wholeNumber(1, MAX_TIMEOUT_S),
          DEFAULT_TIMEOUT_S,
        );
      addTargetOptions(command);
    },
    run: async ({ timeout, ...options }, { terminal, env, cwd, signal }, [to = '']) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      await client.requireMember(to);
      const answers = await askMembers(client);
      const primary = primaryOf(answers.flatMap(({ status }) => status ?? []));
      if (primary === undefined) throw noPrimary(client.cluster);
      const answer = answers.find(({ id }) => id === primary);
      if (answer?.error?.code === 'TIMEOUT') throw busy(client.cluster, primary, answer.error);
      const timeoutMs = timeout * 1000;
      const wait = { timeoutMs: STEPS * timeoutMs, signal };
      const beforeMs = answer && beginBy(answer, timeoutMs);
      const request = { to, timeoutMs, ...(beforeMs !== undefined && { beforeMs }) };
      const asked = client.replica(primary).ask('switchOver', request, wait);
      const done = await asked.catch((thrown: unknown) => rethrow(thrown, client.cluster, primary));
      show(done, terminal);
      if (!done.elected) warn(`${to} is not the primary: another replica took over meanwhile.`, terminal);
      return done.elected ? EXIT.ok : EXIT.failed;
    },
  });
}

/** By the clock of the primary, which need not be the one of this machine. */
function beginBy({ status, answeredAtMs = 0 }: MemberAnswer, timeoutMs: number): number | undefined {
  return status && Math.ceil(status.nowMs + (Date.now() - answeredAtMs) + timeoutMs);
}

function noPrimary(cluster: string): AntiphonError {
  return new AntiphonError(
    'NO_ACTOR',
    `No primary of ${cluster} answers, so none can hand over. See \`antiphon status\`, and use \`antiphon failover\` if it has gone.`,
    { context: { cluster } },
  );
}

/** It would hand over once it has read the question, when nobody waits for that any more. */
function busy(cluster: string, primary: string, cause: AntiphonError): AntiphonError {
  return new AntiphonError(
    'TIMEOUT',
    `${primary}, the primary of ${cluster}, does not answer, and stays the primary: nothing was asked of it. ` +
      'It may be in a long write. Call again when it answers in `antiphon status`, or use `antiphon failover`.',
    { cause, context: { cluster, replica: primary } },
  );
}

/** What became of the question, where the primary itself has not said it. */
function rethrow(thrown: unknown, cluster: string, primary: string): never {
  const error = toAntiphonError(thrown);
  const context = { cluster, replica: primary };
  if (error.context['remoteCode'] !== undefined) throw error;
  if (error.code === 'NO_ACTOR')
    throw new AntiphonError(
      'NO_ACTOR',
      `${primary}, the primary of ${cluster}, does not answer, so it cannot hand over. Start it, or use \`antiphon failover\` if it has gone.`,
      { cause: error, context },
    );
  if (error.code !== 'ABORTED' && error.code !== 'TIMEOUT') throw error;
  const message =
    `${primary} was not waited for, and may hand over all the same or stay the primary. ` +
    'See with `antiphon status` who is the primary now.';
  throw new AntiphonError(error.code, message, { cause: error, context });
}

function show(done: SwitchedOver, terminal: Terminal): void {
  if (terminal.json) return terminal.out(`${toJson(done)}\n`);
  const { epoch, primary, seq, tookMs } = done;
  terminal.out(
    `${styled(terminal, 'bold', primary)} is the primary, in epoch ${epoch}, since entry ${seq} of the log. ` +
      `Writes waited for ${Math.ceil(tookMs)} ms.\n`,
  );
}
