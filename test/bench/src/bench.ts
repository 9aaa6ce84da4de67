import type { Report } from './figure.js';

export interface BenchOptions {
  /** Measured rounds, after one that warms up. */
  readonly rounds: number;
  /** Rows (or transactions, or writes) of one round; each bench has its own default. */
  readonly rows: number | undefined;
  readonly peers: boolean;
  /** So long under load instead of the rounds; only where that is a measurement. */
  readonly soakMinutes?: number;
  /** A folder of this run alone; removed at its end. */
  readonly folder: string;
  readonly report: Report;
  /** What must be ended when the run ends, also by Ctrl-C or an error; last first. */
  readonly onEnd: (stop: () => Promise<void>) => void;
}

export type Bench = (options: BenchOptions) => Promise<void>;
