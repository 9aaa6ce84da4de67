import {
  type ChecksumReport,
  REQUESTS_TABLE,
  systemClock,
  type Value,
  sentence,
  withoutStop,
} from '@antiphon/core';
import {
  verifyCluster,
  type DifferentRow,
  type TableDifference,
  type VerifyOptions,
  type VerifyResult,
} from '@antiphon/replica';
import type { ClusterClient } from '@antiphon/client';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { databaseValue, keyToText, toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import { formatTable } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, commaList, defineCommand, wholeNumber, type CommandHost } from './define.js';

interface VerifyCommandOptions extends TargetOptions {
  readonly tables?: readonly string[];
  readonly rows: number;
  /** Seconds. */
  readonly timeout: number;
}

const DEFAULT_ROWS = 10;
const MAX_ROWS = 1000;
const DEFAULT_TIMEOUT_S = 600;
const MAX_TIMEOUT_S = 86_400;
const SHOWN_CHECKSUM = 16;

export function defineVerify(host: CommandHost): void {
  defineCommand<VerifyCommandOptions>(host, {
    name: 'verify',
    description: 'compare every table on every replica at the same position of the log',
    examples: ['antiphon verify --tables orders'],
    configure: (command) => {
      command
        .option('--tables <names>', 'only these, separated by commas', commaList)
        .option(
          '--rows <count>',
          'name so many differing rows of a table',
          wholeNumber(1, MAX_ROWS),
          DEFAULT_ROWS,
        )
        .option(
          '-t, --timeout <seconds>',
          'give up after so long: a checksum reads every row',
          wholeNumber(1, MAX_TIMEOUT_S),
          DEFAULT_TIMEOUT_S,
        );
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      await client.members();
      const result = await verify(client, {
        signal,
        maxRows: options.rows,
        timeoutMs: options.timeout * 1000,
        ...(options.tables && { tables: options.tables }),
      });
      if (terminal.json) terminal.out(`${toJson(asJson(result))}\n`);
      else showVerification(result, terminal);
      return exitOf(result);
    },
  });
}

export function verify(
  client: ClusterClient,
  options: Pick<VerifyOptions, 'maxRows' | 'tables' | 'timeoutMs'> & { readonly signal: AbortSignal },
): Promise<VerifyResult> {
  const { cluster, nats } = client;
  return verifyCluster({
    ...options,
    cluster,
    bus: nats.bus(),
    registry: nats.registry(cluster),
    clock: systemClock(),
  });
}

/** Equal is only what every member was asked about. */
function exitOf({ outcome, absent }: VerifyResult): ExitCode {
  return outcome === 'equal' && absent.length === 0 ? EXIT.ok : EXIT.failed;
}

export function showVerification(result: VerifyResult, terminal: Terminal): void {
  const replicas = Object.entries(result.reports);
  const rows = replicas.flatMap(([id, { tables }]) =>
    usersSums(tables).map(({ table, rows: count, checksum }) => [
      table,
      id,
      count.toLocaleString('en-US'),
      checksum.slice(0, SHOWN_CHECKSUM),
    ]),
  );
  rows.sort(([a = ''], [b = '']) => (a < b ? -1 : a > b ? 1 : 0));
  const columns = [
    { title: 'table' },
    { title: 'replica' },
    { title: 'rows', align: 'right' },
    { title: 'sha-256' },
  ] as const;
  if (rows.length > 0) terminal.out(`${formatTable(columns, rows, terminal)}\n`);
  for (const difference of result.differences) showDifference(difference, terminal);
  for (const { id, reason } of result.absent) {
    terminal.out(`${styled(terminal, 'yellow', '!')} ${id} was not compared: ${sentence(reason)}\n`);
  }
  const names = replicas.map(([id]) => id).join(', ');
  // All have applied the same transactions; one that wrote the last of them has yet to read them
  // back from the log.
  const seq = Math.max(...replicas.map(([, { position }]) => position.seq));
  const held = `${names} hold the same rows at position ${seq} of the log`;
  if (result.outcome === 'equal') terminal.out(`${styled(terminal, 'green', 'equal')}: ${held}\n`);
  if (result.outcome === 'different')
    terminal.out(`${styled(terminal, 'red', 'different')}: see the rows above.\n`);
  if (result.outcome === 'unsettled') {
    const why = result.reason === undefined ? '' : ` (${withoutStop(result.reason)})`;
    terminal.out(
      `${styled(terminal, 'yellow', 'unsettled')}: no moment came at which all could be compared${why}. Try again.\n`,
    );
  }
}

/** What Antiphon keeps for itself is compared as well, and shown where it differs. */
function usersSums(tables: ChecksumReport['tables']): ChecksumReport['tables'] {
  return tables.filter(({ table }) => table !== REQUESTS_TABLE);
}

function showDifference(
  { table, replicas: [left, right], rows, complete }: TableDifference,
  terminal: Terminal,
): void {
  terminal.out(`${styled(terminal, 'red', table)} differs between ${left} and ${right}:\n`);
  const say: Readonly<Record<DifferentRow['kind'], string>> = {
    'only-left': `only on ${left}`,
    'only-right': `only on ${right}`,
    differs: 'differs',
  };
  for (const { key, kind } of rows) terminal.out(`  ${key.map(keyToText).join(', ')}: ${say[kind]}\n`);
  if (!complete) terminal.out('  … (there may be more)\n');
}

function asJson({ reports, differences, ...rest }: VerifyResult): object {
  const key = (values: readonly Value[]): unknown => values.map(databaseValue);
  return {
    ...rest,
    replicas: Object.entries(reports).map(([id, { position, tables }]) => ({
      ...{ id, position },
      tables: usersSums(tables),
    })),
    differences: differences.map((difference) => ({
      ...difference,
      rows: difference.rows.map((row) => ({ ...row, key: key(row.key) })),
    })),
  };
}
