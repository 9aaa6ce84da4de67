import type { Bench, BenchOptions } from '../bench.js';
import { BenchCluster, type TopologyName } from '../cluster.js';
import { startPostgresPeers } from '../peers/postgres-peers.js';
import { benchRows } from '../rows.js';
import { median } from '../statistics.js';

const DEFAULT_ROWS = 200_000;
const ROWS_PER_TRANSACTION = 1000;
const TOPOLOGIES: readonly TopologyName[] = ['primary-replica', 'multi-primary'];

/**
 * One system under load: loads so many new rows; resolves to the seconds until both followers hold
 * them.
 */
interface Contender {
  readonly name: string;
  readonly load: (rows: number) => Promise<number>;
  readonly rates: number[];
}

/**
 * Rows in transactions of 1000 until both followers hold them. Contenders take turns, so that all
 * see the same machine.
 */
export const bulk: Bench = async (options) => {
  const { rounds, report, rows = DEFAULT_ROWS } = options;
  const contenders: Contender[] = [];
  const processors: ProcessorTime[] = [];
  for (const topology of TOPOLOGIES) {
    const cluster = await startCluster(options, topology);
    processors.push(new ProcessorTime(topology, cluster));
    const load = async (count: number): Promise<number> =>
      (await cluster.load(count, ROWS_PER_TRANSACTION)).seconds;
    contenders.push({ name: topology, load, rates: [] });
  }
  if (options.peers) contenders.push(...(await postgresContenders(options)));

  for (let round = 0; round <= rounds; round += 1) {
    if (round === 1) for (const processor of processors) processor.start();
    for (const { name, load, rates } of contenders) {
      const rate = rows / (await load(rows));
      report.note(`bulk ${round === 0 ? 'warm-up' : `round ${round}`}: ${name} ${Math.round(rate)} rows/s`);
      if (round > 0) rates.push(rate);
    }
  }
  for (const { name, rates } of contenders) {
    report.figure({ bench: 'bulk', case: name, metric: 'throughput', value: median(rates), unit: 'rows/s' });
  }
  for (const processor of processors) processor.report(options, rows * rounds);
  reportRatios(options, contenders);
};

async function startCluster(
  { folder, report, onEnd }: BenchOptions,
  topology: TopologyName,
): Promise<BenchCluster> {
  report.note(`starting a ${topology} cluster`);
  const cluster = await BenchCluster.start(`${folder}-${topology}`, topology);
  onEnd(() => cluster.stop());
  return cluster;
}

async function postgresContenders(options: BenchOptions): Promise<Contender[]> {
  const { version, streaming, logical } = await startPostgresPeers(options);
  const major = version.split('.')[0] ?? version;
  return [streaming, logical].map((cluster, index) => {
    let nextId = 1;
    const load = (count: number): Promise<number> => {
      const rows = benchRows(nextId, count);
      nextId += count;
      return cluster.load(rows);
    };
    return { name: `postgresql ${major} ${index === 0 ? 'streaming' : 'logical'}`, load, rates: [] };
  });
}

/** Ratios of two rates of the same round: what disturbs a round disturbs both. */
function reportRatios({ report }: BenchOptions, contenders: readonly Contender[]): void {
  const [primaryReplica, multiPrimary, ...peers] = contenders;
  if (primaryReplica === undefined || multiPrimary === undefined) return;
  const pairs: readonly (readonly [Contender, Contender])[] = [
    [multiPrimary, primaryReplica],
    ...peers.map((peer) => [primaryReplica, peer] as const),
  ];
  for (const [a, b] of pairs) {
    const ratios = a.rates.map((rate, round) => rate / (b.rates[round] ?? Number.NaN));
    const name = `${a.name} / ${b.name}`;
    report.figure({ bench: 'bulk', case: name, metric: 'ratio', value: median(ratios), unit: 'ratio' });
  }
}

/** Which process is the limit: processor seconds per million rows, of the measured rounds. */
class ProcessorTime {
  #before = new Map<string, number>();

  constructor(
    private readonly topology: string,
    private readonly cluster: BenchCluster,
  ) {}

  start(): void {
    this.#before = new Map(Array.from(this.cluster.usage(), ([name, { cpuSeconds }]) => [name, cpuSeconds]));
  }

  report({ report }: BenchOptions, rows: number): void {
    for (const [name, { cpuSeconds }] of this.cluster.usage()) {
      const value = ((cpuSeconds - (this.#before.get(name) ?? 0)) * 1e6) / rows;
      report.figure({
        bench: 'bulk',
        case: this.topology,
        metric: `cpu of ${name} per million rows`,
        value,
        unit: 's',
      });
    }
  }
}
