import type { BenchOptions } from '../bench.js';
import type { Span } from '../node/protocol.js';
import { PRIMARY, ServeCluster } from '../serve-cluster.js';
import type { Series } from '../series.js';
import { median, percentile } from '../statistics.js';

const DEFAULT_CHANGES = 100_000;
/** One at a time, of a round: so many of a hundred thousand. */
const SINGLE_SHARE = 0.002;
const WARM_UP_WRITES = 20;
const PUBLISHER = 'publisher';
const TIMEOUT_MS = 300_000;
const NS_PER_SECOND = 1e9;
const NS_PER_MS = 1e6;
/** Between writes: the cluster is idle again, and nothing keeps step with a timer. */
const PAUSE_MS = { least: 20, spread: 20 };

type Add = Series['add'];

/** How far the stream of published changes was at a moment, by the machine's monotonic clock. */
interface Published {
  readonly seq: number;
  readonly atNs: bigint;
}

/** Changes that a replica publishes to a stream of their own, to one subscriber. */
export async function measureChanges(options: BenchOptions, series: Series): Promise<void> {
  const { folder, report, rounds, rows: changes = DEFAULT_CHANGES, onEnd } = options;
  report.note('starting a primary, and a replica that publishes its changes');
  const cluster = await ServeCluster.start(`${folder}-changes`, []);
  onEnd(() => cluster.stop());
  await cluster.load(changes);
  let published = changes;
  for (let round = 0; round <= rounds; round += 1) {
    const add: Add = (...value) => (round === 0 ? undefined : series.add(...value));
    const named = round === 0 ? 'warm-up' : `round ${round}`;
    const stream = `BENCH-${round}`;
    await cluster.startReplica(PUBLISHER, { subject: `bench-${round}.{table}.{op}`, stream });
    const behind = await catchUp(cluster, published);
    add('published changes, of what the log has', 'throughput', 'changes/s', behind);
    await cluster.client.call('subscribe', { stream });
    const live = await whileWritten(cluster, changes, published);
    published += changes;
    add('published changes, while they are written', 'throughput', 'changes/s', live);
    const writes = Math.max(10, Math.ceil(changes * SINGLE_SHARE));
    const delays = await oneByOne(cluster, writes);
    published += writes + WARM_UP_WRITES;
    add('published change, one at a time', 'write to subscriber, p50', 'ms', median(delays));
    add('published change, one at a time', 'write to subscriber, p99', 'ms', percentile(delays, 0.99));
    await cluster.client.call('unsubscribe', { stream });
    await cluster.stopReplica(PUBLISHER);
    report.note(
      `serve ${named}: ${Math.round(behind)} changes/s behind, ${Math.round(live)} live, p50 ${median(delays).toFixed(2)} ms`,
    );
  }
  await cluster.stop();
}

/** From the first one in the stream to the last one. */
async function catchUp(cluster: ServeCluster, changes: number): Promise<number> {
  const first = await until(cluster, 1);
  const last = await until(cluster, changes);
  return ((last.seq - first.seq) * NS_PER_SECOND) / Number(last.atNs - first.atNs);
}

/** From the start of the first write until the subscriber has the last one. */
async function whileWritten(cluster: ServeCluster, changes: number, before: number): Promise<number> {
  const wanted = { seq: before + changes, timeoutMs: TIMEOUT_MS };
  const received = cluster.client.call<bigint>('received', wanted);
  const { startedNs } = await cluster.load(changes);
  return (changes * NS_PER_SECOND) / Number((await received) - startedNs);
}

async function oneByOne(cluster: ServeCluster, writes: number): Promise<number[]> {
  const delays: number[] = [];
  for (let count = -WARM_UP_WRITES; count < writes; count += 1) {
    const id = cluster.takeId();
    const arrived = cluster.client.call<bigint>('arrived', { id, timeoutMs: TIMEOUT_MS });
    const request = { firstId: id, rows: 1, rowsPerTransaction: 1 };
    const { startedNs } = await cluster.replica(PRIMARY).call<Span>('load', request);
    const delayMs = Number((await arrived) - startedNs) / NS_PER_MS;
    if (count >= 0) delays.push(delayMs);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS.least + Math.random() * PAUSE_MS.spread));
  }
  return delays;
}

function until(cluster: ServeCluster, seq: number): Promise<Published> {
  return cluster.replica(PUBLISHER).call<Published>('published', { seq, timeoutMs: TIMEOUT_MS });
}
