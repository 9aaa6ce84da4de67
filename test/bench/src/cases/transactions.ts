import type { Bench } from '../bench.js';
import { BenchCluster, FOLLOWERS, WRITER } from '../cluster.js';
import { max, median } from '../statistics.js';

const DEFAULT_TRANSACTIONS = 100_000;
const WRITERS = 64;
const SAMPLE_MS = 50;

/** Single-row transactions from 64 concurrent writers in one process, in each topology. */
export const transactions: Bench = async ({ folder, rounds, report, onEnd, rows = DEFAULT_TRANSACTIONS }) => {
  for (const topology of ['primary-replica', 'multi-primary'] as const) {
    const cluster = await BenchCluster.start(`${folder}-${topology}`, topology);
    onEnd(() => cluster.stop());
    const committed: number[] = [];
    const applied: number[] = [];
    const lags: number[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      const sampler = new LagSampler(cluster);
      const { seconds, committedSeconds } = await cluster.singles(rows, WRITERS);
      const lag = await sampler.stop();
      report.note(
        `transactions round ${round}: ${topology} ${Math.round(rows / committedSeconds)} tx/s, lag ${lag}`,
      );
      if (round === 0) continue;
      committed.push(rows / committedSeconds);
      applied.push(rows / seconds);
      lags.push(lag);
    }
    await cluster.stop();
    const figure = { bench: 'transactions', case: `${topology}, ${WRITERS} writers` };
    report.figure({ ...figure, metric: 'committed', value: median(committed), unit: 'tx/s' });
    report.figure({ ...figure, metric: 'applied on both followers', value: median(applied), unit: 'tx/s' });
    report.figure({ ...figure, metric: 'largest lag', value: max(lags), unit: 'count' });
  }
};

/** How many transactions the slowest follower is behind, looked at every now and then. */
class LagSampler {
  #running = true;
  #largest = 0;
  readonly #done: Promise<void>;

  constructor(private readonly cluster: BenchCluster) {
    this.#done = this.#sample();
  }

  async stop(): Promise<number> {
    this.#running = false;
    await this.#done;
    return this.#largest;
  }

  async #sample(): Promise<void> {
    while (this.#running) {
      // The followers first: what is committed in between makes the lag look larger, never smaller.
      const applied = await Promise.all(FOLLOWERS.map((name) => this.#counter(name)));
      const committed = await this.#counter(WRITER);
      this.#largest = Math.max(this.#largest, committed - Math.min(...applied));
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
  }

  #counter(name: Parameters<BenchCluster['process']>[0]): Promise<number> {
    return this.cluster.process(name).call<number>('applied', { origin: WRITER });
  }
}
