import { AntiphonError } from '@antiphon/core';
import { askMembers, type ClusterClient } from '@antiphon/client';
import { writingMsOf } from '@antiphon/client/internal';
import { problemsOf, type ReplicaStatus } from '@antiphon/replica';
import { writingPrimary } from '@antiphon/replica/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';

interface HealthCommandOptions extends TargetOptions {
  readonly replica?: string;
  readonly maxLag?: number;
  readonly timeout: number;
}

const DEFAULT_TIMEOUT_S = 5;
const MAX_TIMEOUT_S = 600;
const MAX_LAG_S = 1_000_000;

/** For health checks of containers and services: one replica, one line, and an exit code. */
export function defineHealth(host: CommandHost): void {
  defineCommand<HealthCommandOptions>(host, {
    name: 'health',
    description: 'whether one replica gets on: exit code 0, or 1 and why not',
    examples: ['antiphon health --config /etc/antiphon/antiphon.yaml', 'antiphon health --replica eu-1'],
    configure: (command) => {
      command
        .option('-r, --replica <id>', 'which one (default: that of the configuration file)')
        .option(
          '--max-lag <seconds>',
          'also unhealthy when it is behind for longer',
          wholeNumber(1, MAX_LAG_S),
        )
        .option(
          '-t, --timeout <seconds>',
          'how long it may take to answer',
          wholeNumber(1, MAX_TIMEOUT_S),
          DEFAULT_TIMEOUT_S,
        );
      addTargetOptions(command);
    },
    run: async ({ replica, maxLag, timeout, ...options }, { terminal, env, cwd, signal }) => {
      const target = resolveTarget(options, env, cwd);
      const id = replica ?? target.replica;
      if (id === undefined)
        throw new AntiphonError(
          'BAD_OPTION',
          'Say which replica is meant with `--replica ID` or `--config FILE`.',
        );
      await using client = await openCluster(target, terminal);
      const limits = { timeoutMs: timeout * 1000, signal };
      const status = await statusOf(client, id, limits);
      const problems = problemsOf(status, maxLag === undefined ? {} : { maxLagSeconds: maxLag });
      const healthy = problems.length === 0;
      if (terminal.json) terminal.out(`${toJson({ id, healthy, lifecycle: status.lifecycle, problems })}\n`);
      else if (healthy) terminal.out(`${id} is ${status.lifecycle}\n`);
      else for (const problem of problems) terminal.out(`${problem}\n`);
      return healthy ? EXIT.ok : EXIT.failed;
    },
  });
}

/** One that does not answer may be inside of a long write, which the others know. */
async function statusOf(
  client: ClusterClient,
  id: string,
  limits: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<ReplicaStatus> {
  try {
    return await client.replica(id).ask('status', undefined, limits);
  } catch (error) {
    if (!(error instanceof AntiphonError) || error.code !== 'TIMEOUT') throw error;
    const writingMs = writingMsOf(await askMembers(client), id);
    if (writingMs === undefined) throw error;
    throw new AntiphonError('TIMEOUT', writingPrimary(id, writingMs), {
      context: { replica: id },
      cause: error,
    });
  }
}
