import { AntiphonError, formatTransactionId } from '@antiphon/core';
import { ClusterClient } from '../cluster/cluster-client.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { parseParams, toJson } from '../output/json.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import { chooseReplica } from './replica-choice.js';

interface ExecOptions extends TargetOptions {
  readonly replica?: string;
  readonly params?: string;
  readonly timeout: number;
}

const DEFAULT_TIMEOUT_S = 10;
const MAX_TIMEOUT_S = 300;
/** The answer still has to travel. */
const ANSWER_MARGIN_MS = 1000;

export function defineExec(host: CommandHost): void {
  defineCommand<ExecOptions>(host, {
    name: 'exec',
    description: 'run SQL that writes, as one transaction, on a replica',
    examples: [
      `antiphon exec --replica eu-1 "UPDATE orders SET state = ? WHERE id = ?" --params '["sent", 7]'`,
      `antiphon exec "INSERT INTO a VALUES (1)" "INSERT INTO b VALUES (1)"`,
    ],
    configure: (command) => {
      command
        .argument('<sql...>', 'one statement each; all of them are committed, or none')
        .option('-r, --replica <id>', 'where to write (default: the primary, or the first that answers)')
        .option('-p, --params <json>', 'values of a single statement, a list or an object of names')
        .option(
          '-t, --timeout <seconds>',
          'how long to wait',
          wholeNumber(1, MAX_TIMEOUT_S),
          DEFAULT_TIMEOUT_S,
        );
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }, args) => {
      if (options.params !== undefined && args.length > 1) {
        throw new AntiphonError('BAD_OPTION', '--params goes with a single statement.');
      }
      const params = options.params === undefined ? [] : parseParams(options.params);
      const statements = args.map((sql) => ({ sql, params }));
      await using client = await ClusterClient.open(resolveTarget(options, env, cwd));
      const replica = await chooseReplica(client, options.replica, 'write');
      const timeoutMs = options.timeout * 1000;
      const limits = { timeoutMs: timeoutMs + ANSWER_MARGIN_MS, signal };
      const { id, position, value } = await replica.ref.ask('execute', { statements, timeoutMs }, limits);
      const transaction = id === undefined ? undefined : formatTransactionId(id);
      if (terminal.json) {
        terminal.out(
          `${toJson({ outcome: 'committed', replica: replica.id, transaction, changes: value, position })}\n`,
        );
        return EXIT.ok;
      }
      const rows = value.reduce((sum, changes) => sum + changes, 0);
      const as =
        transaction === undefined ? 'nothing that is replicated changed' : `transaction ${transaction}`;
      terminal.out(`${rows} row${rows === 1 ? '' : 's'} changed on ${replica.id} (${as})\n`);
      return EXIT.ok;
    },
  });
}
