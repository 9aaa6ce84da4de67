import { AntiphonError } from '@antiphon/core';
import type { AckLevel, Params } from '@antiphon/replica';
import { chooseReplica, type ReplicaRef } from '@antiphon/client';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { formatTable } from '../output/table.js';
import { warn } from '../output/warn.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import { ackLevel, paramsOf } from './sql-options.js';

interface BenchOptions extends TargetOptions {
  readonly replica?: string;
  readonly sql?: string;
  readonly params?: string;
  readonly acks?: AckLevel;
  readonly seconds: number;
  readonly concurrency: number;
}

interface Rate {
  readonly case: string;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const DEFAULT_SECONDS = 3;
const DEFAULT_CONCURRENCY = 16;
const TIMEOUT_MS = 30_000;
/** Of a run; enough for p99, and bounded. */
const MAX_SAMPLES = 200_000;

export function defineBench(host: CommandHost): void {
  defineCommand<BenchOptions>(host, {
    name: 'bench',
    description: 'a quick load on a running cluster: requests a second over NATS',
    examples: [
      'antiphon bench',
      `antiphon bench --replica eu-1 --sql "UPDATE cities SET population = population + 1 WHERE id = 2988507"`,
    ],
    configure: (command) => {
      command
        .option('-r, --replica <id>', 'which replica is asked')
        .option(
          '--sql <statement>',
          'a statement that writes, to be run again and again; without it nothing is written',
        )
        .option('-p, --params <json>', 'values of the statement')
        .option(
          '-a, --acks <level>',
          "with --sql: acknowledgements to wait for (default: the cluster's)",
          ackLevel,
        )
        .option('--seconds <count>', 'how long each case runs', wholeNumber(1, 600), DEFAULT_SECONDS)
        .option('--concurrency <count>', 'requests at a time', wholeNumber(1, 512), DEFAULT_CONCURRENCY);
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }) => {
      const lonely = (['params', 'acks'] as const).find((name) => options[name] !== undefined);
      if (lonely !== undefined && options.sql === undefined) {
        throw new AntiphonError('BAD_OPTION', `\`--${lonely}\` needs \`--sql\`.`);
      }
      const params = paramsOf(options);
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      const { id, ref, instead } = await chooseReplica(
        client,
        options.replica,
        options.sql === undefined ? 'read' : 'write',
      );
      if (instead !== undefined) warn(instead, terminal);
      const rates: Rate[] = [];
      for (const [name, request] of casesOf(ref, options, params)) {
        terminal.waitingFor(`the end of a measurement of ${options.seconds} s: ${name}`);
        if (!signal.aborted) rates.push(await measure(name, request, options, signal));
      }
      if (terminal.json) {
        for (const rate of rates)
          terminal.out(`${toJson({ replica: id, concurrency: options.concurrency, ...rate })}\n`);
        return EXIT.ok;
      }
      const columns = [
        { title: id },
        ...['per second', 'p50 ms', 'p99 ms'].map((title) => ({ title, align: 'right' }) as const),
      ];
      const rows = rates.map((r) => [
        r.case,
        Math.round(r.perSecond).toLocaleString('en-US'),
        r.p50Ms.toFixed(2),
        r.p99Ms.toFixed(2),
      ]);
      terminal.out(formatTable(columns, rows, terminal));
      if (options.sql === undefined)
        terminal.out('\nNothing was written; --sql "UPDATE …" measures a statement of yours.\n');
      return EXIT.ok;
    },
  });
}

type Request = () => Promise<unknown>;

function casesOf(ref: ReplicaRef, { sql, acks }: BenchOptions, params: Params): [string, Request][] {
  const limits = { timeoutMs: TIMEOUT_MS };
  if (sql !== undefined) {
    const write = { statements: [{ sql, params }], ...(acks === undefined ? {} : { acks }) };
    const name = acks === undefined ? 'write' : `write (acks ${acks})`;
    return [[name, () => ref.ask('execute', write, limits)]];
  }
  const query = { sql: 'SELECT 1', params: [], maxRows: 1 };
  return [
    ['ping', () => ref.ask('ping', undefined, limits)],
    ['query (SELECT 1)', () => ref.ask('query', query, limits)],
  ];
}

async function measure(
  name: string,
  request: Request,
  { seconds, concurrency }: BenchOptions,
  signal: AbortSignal,
): Promise<Rate> {
  const samples: number[] = [];
  let count = 0;
  const started = performance.now();
  const ends = started + seconds * 1000;
  const client = async (): Promise<void> => {
    for (let now = performance.now(); now < ends && !signal.aborted;) {
      await request();
      const after = performance.now();
      count += 1;
      if (samples.length < MAX_SAMPLES) samples.push(after - now);
      now = after;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  const perSecond = (count * 1000) / (performance.now() - started);
  samples.sort((a, b) => a - b);
  const at = (share: number): number => samples[Math.floor(share * (samples.length - 1))] ?? Number.NaN;
  return { case: name, perSecond, p50Ms: at(0.5), p99Ms: at(0.99) };
}
