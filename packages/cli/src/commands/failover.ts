import type { TakenOver } from '@antiphon/replica';
import { askMembers } from '@antiphon/client';
import { failoverPlan, isTakenOver, lossOf, planOf, stillThere } from '@antiphon/client/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { confirmed } from './confirm.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';

interface FailoverCommandOptions extends TargetOptions {
  readonly force?: boolean;
  readonly yes?: boolean;
  /** Seconds. */
  readonly timeout: number;
}

const DEFAULT_TIMEOUT_S = 10;
const MAX_TIMEOUT_S = 300;
/** The answer comes a little after the replica has given up. */
const ANSWER_MS = 2000;

/** `antiphon failover TO`: another replica becomes the primary, because somebody says so. */
export function defineFailover(host: CommandHost): void {
  defineCommand<FailoverCommandOptions>(host, {
    name: 'failover',
    description: 'make another replica the primary, and say first what may be lost',
    examples: ['antiphon failover eu-2', 'antiphon failover eu-2 --force --yes --json'],
    configure: (command) => {
      command
        .argument('<to>', 'the replica that is to be the primary')
        .option('--force', 'also while the primary still answers')
        .option('-y, --yes', 'without asking; needed where nobody can answer')
        .option(
          '-t, --timeout <seconds>',
          'how long it may take to read the log to its end',
          wholeNumber(1, MAX_TIMEOUT_S),
          DEFAULT_TIMEOUT_S,
        );
      addTargetOptions(command);
    },
    run: async ({ force = false, yes = false, timeout, ...options }, context, [to = '']) => {
      const { terminal, env, cwd, signal } = context;
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      await client.requireMember(to);
      const plan = failoverPlan(client.cluster, to, await askMembers(client));
      if (plan.primary === to && plan.epoch !== undefined) {
        const { number, seq } = plan.epoch;
        show({ epoch: number, primary: to, seq, elected: true }, to, terminal);
        return EXIT.ok;
      }
      if (plan.answers && !force) throw stillThere(plan, '--force');
      if (!terminal.json) terminal.out(`${planOf(plan).join('\n')}\n`);
      const question = `Make ${to} the primary of ${client.cluster}?`;
      if (!yes && !(await confirmed(terminal, question, signal))) {
        terminal.out('Nothing was changed.\n');
        return EXIT.failed;
      }
      const timeoutMs = timeout * 1000;
      const wait = { timeoutMs: timeoutMs + ANSWER_MS, signal };
      const taken = await client.replica(to).ask('takeOver', { timeoutMs }, wait);
      show(taken, to, terminal, lossOf(plan));
      return taken.elected ? EXIT.ok : EXIT.failed;
    },
  });
}

function show(taken: TakenOver, to: string, terminal: Terminal, loss?: string): void {
  if (terminal.json) return terminal.out(`${toJson(taken)}\n`);
  const { epoch, primary, seq } = taken;
  terminal.out(
    `${styled(terminal, 'bold', primary)} is the primary, in epoch ${epoch}, since entry ${seq} of the log.\n`,
  );
  if (!isTakenOver(taken, to)) {
    terminal.out(`It claimed that before ${to} did. Call again if ${to} is to be the primary.\n`);
    return;
  }
  if (loss === undefined) return;
  terminal.out(`Writers go on: they are sent to ${primary}.\n${loss}\n`);
}
