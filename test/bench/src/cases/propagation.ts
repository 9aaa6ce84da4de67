import type { Bench, BenchOptions } from '../bench.js';
import { BenchCluster, WRITER } from '../cluster.js';
import { BenchProcess } from '../node/process.js';
import type { Span } from '../node/protocol.js';
import { median, percentile } from '../statistics.js';

const DEFAULT_WRITES = 200;
const WARM_UP_WRITES = 30;
const VISIBLE_TIMEOUT_MS = 10_000;
const NS_PER_MS = 1e6;
/**
 * Between writes: the cluster is idle again, and the writes don't keep step with a polling
 * interval.
 */
const PAUSE_MS = { least: 20, spread: 20 };

/** Writes one row with that id; the span of its commit. */
type Write = (id: number) => Promise<Span>;

/**
 * One write at a time on an idle cluster, until a plain SQLite connection on each follower sees its
 * row.
 */
export const propagation: Bench = async (options) => {
  const { folder, report, onEnd } = options;
  report.note('starting a multi-primary cluster');
  const cluster = await BenchCluster.start(`${folder}-multi-primary`, 'multi-primary');
  onEnd(() => cluster.stop());
  const foreign = BenchProcess.spawn('foreign-writer', 'foreign-writer');
  onEnd(() => foreign.stop());
  await foreign.call('open', { file: cluster.file(WRITER) });
  for (const follower of cluster.followers) await follower.call('watch');

  const library: Write = (id) =>
    cluster.process(WRITER).call<Span>('load', { firstId: id, rows: 1, rowsPerTransaction: 1 });
  const another: Write = (id) => foreign.call<Span>('write', { id });
  await measure(options, cluster, 'library write', library);
  await measure(options, cluster, 'write by another process', another);
};

async function measure(
  options: BenchOptions,
  cluster: BenchCluster,
  name: string,
  write: Write,
): Promise<void> {
  const { report, rounds, rows: writes = DEFAULT_WRITES } = options;
  for (let count = 0; count < WARM_UP_WRITES; count += 1) await one(cluster, write);
  const medians: number[] = [];
  const slow: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const delays: number[] = [];
    for (let count = 0; count < writes; count += 1) delays.push(await one(cluster, write));
    medians.push(median(delays));
    slow.push(percentile(delays, 0.99));
    report.note(`propagation round ${round}: ${name} p50 ${median(delays).toFixed(2)} ms`);
  }
  const figure = { bench: 'propagation', case: name, unit: 'ms' } as const;
  report.figure({ ...figure, metric: 'commit to visible on both followers, p50', value: median(medians) });
  report.figure({ ...figure, metric: 'commit to visible on both followers, p99', value: median(slow) });
}

async function one(cluster: BenchCluster, write: Write): Promise<number> {
  const id = cluster.takeIds(1);
  const request = { id, timeoutMs: VISIBLE_TIMEOUT_MS };
  const seen = cluster.followers.map((follower) => follower.call<bigint>('visible', request));
  const { startedNs } = await write(id);
  const delays = (await Promise.all(seen)).map((ns) => Number(ns - startedNs) / NS_PER_MS);
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS.least + Math.random() * PAUSE_MS.spread));
  return Math.max(...delays);
}
