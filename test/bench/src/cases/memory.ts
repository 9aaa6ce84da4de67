import type { Bench, BenchOptions } from '../bench.js';
import { BenchCluster, FOLLOWERS, REPLICAS } from '../cluster.js';
import { max } from '../statistics.js';

const DEFAULT_ROWS = 500_000;
const WRITERS = 64;
const REST_MS = 3000;
const SINGLES_SHARE = 0.2;

/**
 * Resident memory of each replica process: at rest after it joined, and the most that each kind of
 * load takes.
 */
export const memory: Bench = async (options) => {
  const { rows = DEFAULT_ROWS } = options;
  await measure(options, 'bulk', async (cluster) => void (await cluster.load(rows, 1000)));
  await measure(options, 'transactions', async (cluster) => {
    await cluster.singles(Math.max(1, Math.round(rows * SINGLES_SHARE)), WRITERS);
  });
  await measure(options, 'catch-up', async (cluster) => {
    const late = FOLLOWERS[1];
    await cluster.stopReplica(late);
    await cluster.load(rows, 1000, { without: late });
    await cluster.startReplica(late);
  });
};

async function measure(
  options: BenchOptions,
  name: string,
  load: (cluster: BenchCluster) => Promise<void>,
): Promise<void> {
  const { folder, rounds, report, onEnd } = options;
  const rest = new Map<string, number[]>();
  const peak = new Map<string, number[]>();
  // A fresh cluster each round: the peak that the kernel keeps of a process is of its whole life.
  for (let round = 1; round <= rounds; round += 1) {
    const cluster = await BenchCluster.start(`${folder}-${name}-${round}`, 'multi-primary');
    onEnd(() => cluster.stop());
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    for (const replica of REPLICAS) add(rest, replica, cluster.process(replica).usage().residentMb);
    await load(cluster);
    for (const replica of REPLICAS) add(peak, replica, cluster.process(replica).usage().peakResidentMb);
    await cluster.stop();
    report.note(
      `memory round ${round}: ${name} ${REPLICAS.map((r) => Math.round(peak.get(r)?.at(-1) ?? 0)).join(' ')} MB`,
    );
  }
  for (const [metric, values] of [
    ['at rest', rest],
    ['peak', peak],
  ] as const) {
    for (const [replica, megabytes] of values) {
      report.figure({
        bench: 'memory',
        case: `${name}, ${replica}`,
        metric,
        value: max(megabytes),
        unit: 'MB',
      });
    }
  }
}

function add(values: Map<string, number[]>, name: string, value: number): void {
  values.set(name, [...(values.get(name) ?? []), value]);
}
