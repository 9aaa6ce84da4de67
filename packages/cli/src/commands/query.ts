import { AntiphonError, counted, type QueryResult, suggest } from '@antiphon/core';
import type { Consistency } from '@antiphon/replica';
import type { MailboxProtocol } from '@antiphon/replica/internal';
import { InvalidArgumentError } from 'commander';
import {
  chooseReplica,
  parseSessionPlace,
  type ReplicaRef,
  type SessionPlace,
  sessionPosition,
} from '@antiphon/client';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { databaseValue, toJson, valueToText } from '../output/json.js';
import { styled } from '../output/style.js';
import { formatTable } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';
import { warn } from '../output/warn.js';
import { defineCommand, wholeNumber, type CommandHost } from './define.js';
import { addSqlOptions, limitsOf, paramsOf, type SqlOptions } from './sql-options.js';

interface QueryOptions extends SqlOptions {
  readonly limit: number;
  readonly consistency?: Consistency;
  readonly after?: SessionPlace;
  /** Seconds. */
  readonly maxLag?: number;
}

const DEFAULT_LIMIT = 1000;
const MAX_LIMIT = 10_000;
const DEFAULT_TIMEOUT_S = 30;
const MAX_TIMEOUT_S = 600;
/** A replica waits so long at most until it has caught up. */
const MAX_WAIT_MS = 300_000;
/** What `--consistency` takes. */
export const CONSISTENCIES: readonly Consistency[] = ['any', 'bounded', 'session', 'strong'];

export function defineQuery(host: CommandHost): void {
  defineCommand<QueryOptions>(host, {
    name: 'query',
    description: 'run SQL that reads, on a replica',
    examples: [
      `antiphon query --replica eu-2 "SELECT name, population FROM cities WHERE country = ? LIMIT 5" --params '["FR"]'`,
      `antiphon query --replica eu-2 --consistency session --after eu-1:7 "SELECT state FROM orders"`,
      `antiphon query --consistency strong "SELECT sum(amount) FROM stock"`,
    ],
    configure: (command) => {
      command
        .argument('<sql>', 'one statement that only reads')
        .option(
          '-l, --limit <rows>',
          'more rows than so many are an error',
          wholeNumber(1, MAX_LIMIT),
          DEFAULT_LIMIT,
        )
        .option(
          '--consistency <promise>',
          'any: as the replica is; bounded: as the log was within --max-lag; session: with what --after names; ' +
            'strong: with all that was ever acknowledged',
          consistencyName,
        )
        .option(
          '--max-lag <seconds>',
          'with bounded: how old the answer may be, compared with the log',
          wholeNumber(1, MAX_WAIT_MS / 1000),
        )
        .option(
          '--after <place>',
          'with session: a log position of status, or the transaction of a write (eu-1:7)',
          (text) => parseSessionPlace(text, '--after'),
        );
      addSqlOptions(command, {
        replica: 'where to read (default: that of the configuration file, or the one that is least behind)',
        params: 'values, a list or an object of names',
        defaultTimeoutS: DEFAULT_TIMEOUT_S,
        maxTimeoutS: MAX_TIMEOUT_S,
      });
    },
    run: async (options, { terminal, env, cwd, signal }, [sql = '']) => {
      const promise = promiseOf(options);
      const params = paramsOf(options);
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      const { id, ref, problem, instead } = await chooseReplica(client, options.replica, 'read');
      if (instead !== undefined) warn(instead, terminal);
      if (problem !== undefined) warn(`${problem} What it answers may be old.`, terminal);
      const { timeoutMs, answer } = limitsOf(options, signal);
      const waiting = { ...(await requestFor(promise, ref)), timeoutMs: Math.min(timeoutMs, MAX_WAIT_MS) };
      const request = { sql, params, maxRows: options.limit, ...waiting };
      const result = await ref.ask('query', request, answer).catch((thrown: unknown) => {
        throw inWordsOfTheCommand(thrown);
      });
      show(result, id, terminal);
      return EXIT.ok;
    },
  });
}

/** The replica names its own parameters and functions. */
export function inWordsOfTheCommand(thrown: unknown): unknown {
  if (!(thrown instanceof AntiphonError)) return thrown;
  const { code, context, retriable } = thrown;
  const message = thrown.message
    .replace('Write through a transaction.', 'Write with `antiphon exec`.')
    .replace('raise `timeoutMs`', 'raise --timeout');
  if (message !== thrown.message)
    return new AntiphonError(code, message, { cause: thrown, context, retriable });
  return code === 'BAD_SQL' ? overLimit(thrown) : thrown;
}

function overLimit(thrown: AntiphonError): AntiphonError {
  const message = thrown.message
    .replace(
      'Add LIMIT, or raise `maxRows`.',
      `Add LIMIT to the SQL, or raise --limit (at most ${MAX_LIMIT}).`,
    )
    .replace('Select less, or raise `maxBytes`.', 'Select less at once.');
  return message === thrown.message
    ? thrown
    : new AntiphonError('BAD_OPTION', message, { cause: thrown, context: thrown.context });
}

type QueryRequest = Parameters<MailboxProtocol['query']>[0];

type ReadPromise =
  | { readonly consistency: 'any' | 'strong' }
  | { readonly consistency: 'bounded'; readonly maxLagMs: number }
  | { readonly consistency: 'session'; readonly place: SessionPlace };

/** --after or --max-lag alone can only mean one thing. */
function promiseOf({ after, maxLag, consistency = impliedBy({ after, maxLag }) }: QueryOptions): ReadPromise {
  if (after !== undefined && consistency !== 'session')
    throw new AntiphonError('BAD_OPTION', '`--after` needs `--consistency session`.');
  if (maxLag !== undefined && consistency !== 'bounded')
    throw new AntiphonError('BAD_OPTION', '`--max-lag` needs `--consistency bounded`.');
  if (consistency === 'bounded') {
    if (maxLag !== undefined) return { consistency, maxLagMs: 1000 * maxLag };
    throw new AntiphonError('BAD_OPTION', '`--consistency bounded` needs `--max-lag`, a number of seconds.');
  }
  if (consistency !== 'session') return { consistency };
  if (after !== undefined) return { consistency, place: after };
  const message =
    '`--consistency session` needs `--after`: the transaction of an `antiphon exec`, or a position of `antiphon status`.';
  throw new AntiphonError('BAD_OPTION', message);
}

function impliedBy({
  after,
  maxLag,
}: {
  readonly after: SessionPlace | undefined;
  readonly maxLag: number | undefined;
}): Consistency {
  if (after !== undefined) return 'session';
  return maxLag === undefined ? 'any' : 'bounded';
}

async function requestFor(promise: ReadPromise, ref: ReplicaRef): Promise<Partial<QueryRequest>> {
  if (promise.consistency !== 'session') return promise;
  const { consistency } = promise;
  return { consistency, after: sessionPosition(promise.place, await ref.ask('standing'), '--after') };
}

function show({ columns, rows }: QueryResult, replica: string, terminal: Terminal): void {
  if (terminal.json) {
    const values = rows.map((row) => row.map(databaseValue));
    terminal.out(`${toJson({ replica, columns, rows: values })}\n`);
    return;
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
      terminal,
    ),
  );
  const count = `${counted(rows.length, 'row')} from ${replica}`;
  terminal.err(`${styled(terminal, 'dim', count)}\n`);
}

function consistencyName(text: string): Consistency {
  const known = CONSISTENCIES.find((name) => name === text);
  if (known !== undefined) return known;
  throw new InvalidArgumentError(suggest(text, CONSISTENCIES));
}
