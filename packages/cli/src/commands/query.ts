import { ClusterClient } from '../cluster/cluster-client.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { databaseValue, parseParams, toJson, valueToText } from '../output/json.js';
import { styled } from '../output/style.js';
import { formatTable } from '../output/table.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import { chooseReplica } from './replica-choice.js';

interface QueryOptions extends TargetOptions {
  readonly replica?: string;
  readonly params?: string;
  readonly limit: number;
  readonly timeout: number;
}

const DEFAULT_LIMIT = 1000;
const MAX_LIMIT = 10_000;
const DEFAULT_TIMEOUT_S = 30;
const MAX_TIMEOUT_S = 600;

export function defineQuery(host: CommandHost): void {
  defineCommand<QueryOptions>(host, {
    name: 'query',
    description: 'run SQL that reads, on a replica',
    examples: [
      `antiphon query --replica eu-2 "SELECT name, population FROM cities WHERE country = ? LIMIT 5" --params '["FR"]'`,
    ],
    configure: (command) => {
      command
        .argument('<sql>', 'one statement that only reads')
        .option('-r, --replica <id>', 'where to read (default: the first that answers)')
        .option('-p, --params <json>', 'values, a list or an object of names')
        .option(
          '-l, --limit <rows>',
          'more rows than so many are an error',
          wholeNumber(1, MAX_LIMIT),
          DEFAULT_LIMIT,
        )
        .option(
          '-t, --timeout <seconds>',
          'how long to wait',
          wholeNumber(1, MAX_TIMEOUT_S),
          DEFAULT_TIMEOUT_S,
        );
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }, [sql = '']) => {
      const params = options.params === undefined ? [] : parseParams(options.params);
      await using client = await ClusterClient.open(resolveTarget(options, env, cwd));
      const replica = await chooseReplica(client, options.replica, 'read');
      const request = { sql, params, maxRows: options.limit };
      const { columns, rows } = await replica.ref.ask('query', request, {
        timeoutMs: options.timeout * 1000,
        signal,
      });
      if (terminal.json) {
        const values = rows.map((row) => row.map(databaseValue));
        terminal.out(`${toJson({ replica: replica.id, columns, rows: values })}\n`);
        return EXIT.ok;
      }
      const numeric = columns.map((_, index) =>
        rows.every((row) => ['bigint', 'number'].includes(typeof row[index])),
      );
      const titles = columns.map(
        (title, index) => ({ title, align: numeric[index] === true ? 'right' : 'left' }) as const,
      );
      terminal.out(
        formatTable(
          titles,
          rows.map((row) => row.map(valueToText)),
        ),
      );
      terminal.err(
        `${styled(terminal, 'dim', `${rows.length} row${rows.length === 1 ? '' : 's'} from ${replica.id}`)}\n`,
      );
      return EXIT.ok;
    },
  });
}
