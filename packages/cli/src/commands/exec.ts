import { AntiphonError, formatTransactionId } from '@antiphon/core';
import type { AckLevel } from '@antiphon/replica';
import { executeInCluster, type ExecutedInCluster } from '@antiphon/client';
import { isOutcomeId } from '@antiphon/replica/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget } from '../cluster/target.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { ownCommand } from '../output/own-command.js';
import type { Terminal } from '../output/terminal.js';
import { warn } from '../output/warn.js';
import { defineCommand, type CommandContext, type CommandHost } from './define.js';
import { ackLevel, addSqlOptions, paramsOf, type SqlOptions } from './sql-options.js';
import { explainWriteError } from './write-error.js';
import { showWritten } from './written-text.js';

interface ExecOptions extends SqlOptions {
  readonly acks?: AckLevel;
  readonly requestId?: string;
}

const DEFAULT_TIMEOUT_S = 10;
const MAX_TIMEOUT_S = 300;

export function defineExec(host: CommandHost): void {
  defineCommand<ExecOptions>(host, {
    name: 'exec',
    description: 'run SQL that writes, as one transaction, on a replica',
    examples: [
      `antiphon exec --replica eu-1 "UPDATE orders SET state = ? WHERE id = ?" --params '["sent", 7]'`,
      `antiphon exec "INSERT INTO a VALUES (1)" "INSERT INTO b VALUES (1)"`,
      `antiphon exec --acks majority "DELETE FROM orders WHERE state = 'cancelled'"`,
    ],
    configure: (command) => {
      command
        .argument('<sql...>', 'one statement each; all of them are committed, or none')
        .option(
          '-a, --acks <level>',
          "synchronous: wait for all, majority, a number of databases, logged or local (default: the cluster's)",
          ackLevel,
        )
        .option(
          '--request-id <id>',
          'in a cluster with failover: run again under the same id, it is written once',
        );
      addSqlOptions(command, {
        replica: 'where to write (default: the primary, or the one that is least behind)',
        params: 'values of a single statement, a list or an object of names',
        defaultTimeoutS: DEFAULT_TIMEOUT_S,
        maxTimeoutS: MAX_TIMEOUT_S,
      });
    },
    run,
  });
}

async function run(
  options: ExecOptions,
  context: CommandContext,
  args: readonly string[],
): Promise<ExitCode> {
  const { terminal, env, cwd, signal } = context;
  if (options.params !== undefined && args.length > 1) {
    throw new AntiphonError('BAD_OPTION', '`--params` needs a single statement.');
  }
  const params = paramsOf(options);
  const statements = args.map((sql) => ({ sql, params }));
  await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
  const { acks, requestId, replica, timeout } = options;
  let asked = replica ?? '';
  try {
    const executed = await executeInCluster(client, statements, {
      ...{ timeoutMs: timeout * 1000, signal },
      ...(acks !== undefined && { acks }),
      ...(requestId !== undefined && { requestId }),
      ...(replica !== undefined && { replica }),
      onAsk: ({ id, instead }) => {
        asked = id;
        if (instead !== undefined) warn(instead, terminal);
      },
    });
    show(executed, terminal);
    return EXIT.ok;
  } catch (thrown) {
    const error = explainWriteError(thrown, asked, ownCommand(cwd, env));
    if (terminal.json && error.code === 'OUTCOME_UNKNOWN')
      terminal.out(`${toJson(unknownOf(error, asked))}\n`);
    throw error;
  }
}

function unknownOf({ context }: AntiphonError, replica: string): object {
  const id = context['id'] ?? null;
  const isRequest = typeof id === 'string' && !isOutcomeId(id);
  return {
    outcome: 'unknown',
    replica,
    transaction: isRequest ? null : id,
    ...(isRequest && { requestId: id }),
  };
}

function show({ result: written, replica: asked, requestId }: ExecutedInCluster, terminal: Terminal): void {
  const { outcome, id, value, position, acks, degraded, repeated } = written;
  // It may have been sent on: to the primary.
  const replica = id?.origin ?? asked;
  if (!terminal.json) return showWritten(written, replica, terminal, requestId);
  const transaction = id === undefined ? undefined : formatTransactionId(id);
  const result = {
    ...{ outcome, replica, transaction, changes: value, position, acks, degraded },
    ...{ requestId, repeated },
  };
  terminal.out(`${toJson(result)}\n`);
}
