import type { Bench, BenchOptions } from '../bench.js';
import type { TopologyName } from '../cluster.js';
import { startSyncPeers, type SyncPeer } from '../peers/sync-peers.js';
import { Series } from '../series.js';
import { percentile } from '../statistics.js';
import { SyncCluster } from '../sync-cluster.js';

/** Of 64 writers in one round; one writer makes a tenth of it. */
const DEFAULT_WRITES = 20_000;
const SINGLE_SHARE = 0.1;
const WRITERS = 64;
/** The same writers, spread over the processes of three replicas. */
const SPREAD = [22, 21, 21];
const HOT_SHARES = [0.01, 0.1, 0.5];

const single = (name: string): string => `${name}, 1 writer`;
const many = (name: string): string => `${name}, ${WRITERS} writers`;
const spread = (name: string): string => `${name}, ${WRITERS} writers on 3`;

/** A measurement of one round: what it is called, and what it adds to the series. */
type Step = (add: Series['add']) => Promise<string>;

/**
 * Single-row transactions that are complete once three databases have them. All systems are up, and
 * take turns.
 */
export const sync: Bench = async (options) => {
  const { rounds, report, rows: writes = DEFAULT_WRITES } = options;
  const primaryReplica = await startCluster(options, 'primary-replica');
  const multiPrimary = await startCluster(options, 'multi-primary');
  const peers = options.peers ? await startSyncPeers(options) : [];
  const series = new Series('sync', report);
  const steps: readonly Step[] = [
    ...antiphonSteps(primaryReplica, multiPrimary, writes),
    ...peers.flatMap((peer) => peerSteps(peer, writes)),
    ...HOT_SHARES.map((share) => hotStep(multiPrimary, writes, share)),
  ];
  for (let round = 0; round <= rounds; round += 1) {
    for (const step of steps) {
      const add: Series['add'] = (...value) => (round === 0 ? undefined : series.add(...value));
      report.note(`sync ${round === 0 ? 'warm-up' : `round ${round}`}: ${await step(add)}`);
    }
    for (const contender of [primaryReplica, multiPrimary, ...peers]) await contender.verify();
  }
  series.reportAll();
  series.reportRatio(
    'multi-primary / primary-replica',
    'throughput',
    spread('multi-primary'),
    many('primary-replica'),
  );
  for (const peer of peers) reportRatios(series, peer);
};

async function startCluster(
  { folder, report, onEnd }: BenchOptions,
  topology: TopologyName,
): Promise<SyncCluster> {
  report.note(`starting a synchronous ${topology} cluster`);
  const cluster = await SyncCluster.start(`${folder}-${topology}`, topology);
  onEnd(() => cluster.stop());
  return cluster;
}

function antiphonSteps(primaryReplica: SyncCluster, multiPrimary: SyncCluster, writes: number): Step[] {
  return [
    latencyStep(single('primary-replica'), () => primaryReplica.write(singleWrites(writes), [1])),
    throughputStep(many('primary-replica'), () => primaryReplica.write(writes, [WRITERS])),
    throughputStep(spread('multi-primary'), () => multiPrimary.write(writes, SPREAD)),
  ];
}

function peerSteps({ name, manyWriters, write }: SyncPeer, writes: number): Step[] {
  const steps = [
    latencyStep(single(name), () => write(singleWrites(writes), 1, 'first')),
    throughputStep(many(name), () => write(writes, WRITERS, 'first')),
  ];
  if (manyWriters) steps.push(throughputStep(spread(name), () => write(writes, WRITERS, 'all')));
  return steps;
}

function singleWrites(writes: number): number {
  return Math.ceil(writes * SINGLE_SHARE);
}

function latencyStep(name: string, write: () => Promise<{ readonly latenciesMs: readonly number[] }>): Step {
  return async (add) => {
    const { latenciesMs } = await write();
    const [p50, p99] = [percentile(latenciesMs, 0.5), percentile(latenciesMs, 0.99)];
    add(name, 'p50', 'ms', p50);
    add(name, 'p99', 'ms', p99);
    return `${name}: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
  };
}

function throughputStep(
  name: string,
  write: () => Promise<{ readonly transactionsPerSecond: number }>,
): Step {
  return async (add) => {
    const { transactionsPerSecond } = await write();
    add(name, 'throughput', 'tx/s', transactionsPerSecond);
    return `${name}: ${Math.round(transactionsPerSecond)} tx/s`;
  };
}

/** Some writes read and modify one of ten rows, from all three replicas. */
function hotStep(cluster: SyncCluster, writes: number, share: number): Step {
  const name = `${spread('multi-primary')}, ${share * 100} % on 10 hot rows`;
  return async (add) => {
    const round = await cluster.write(writes, SPREAD, share);
    const made = round.committed + round.conflicts;
    add(name, 'throughput', 'tx/s', round.transactionsPerSecond);
    add(name, 'abort rate', 'ratio', round.conflicts / made);
    add(name, 'rejections per write', 'ratio', round.rejections / made);
    return `${name}: ${Math.round(round.transactionsPerSecond)} tx/s, ${round.conflicts} of ${made} aborted`;
  };
}

/** Latencies below 1 and throughputs above 1 mean that Antiphon is faster. */
function reportRatios(series: Series, { name, manyWriters }: SyncPeer): void {
  const against = `primary-replica / ${name}`;
  for (const metric of ['p50', 'p99'])
    series.reportRatio(`${against}, 1 writer`, metric, single('primary-replica'), single(name));
  series.reportRatio(`${against}, ${WRITERS} writers`, 'throughput', many('primary-replica'), many(name));
  if (!manyWriters) return;
  const both = `multi-primary / ${name}, ${WRITERS} writers on 3`;
  series.reportRatio(both, 'throughput', spread('multi-primary'), spread(name));
}
