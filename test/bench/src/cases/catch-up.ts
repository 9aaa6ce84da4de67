import { copyFileSync, existsSync, rmSync } from 'node:fs';
import type { Bench } from '../bench.js';
import { BenchCluster } from '../cluster.js';
import { median } from '../statistics.js';

const DEFAULT_ROWS = 1_000_000;
const ROWS_PER_TRANSACTION = 1000;
const LATE = 'follower-2';
const NS_PER_SECOND = 1e9;
/** SQLite's write-ahead log and its index lie beside the file. */
const FILES = ['', '-wal', '-shm'];

/**
 * A replica that missed a million rows. Its database is put aside before they are written and put
 * back before each round, as a restored backup would be: every round catches up the same rows from
 * the same log.
 */
export const catchUp: Bench = async ({ folder, rounds, report, onEnd, rows = DEFAULT_ROWS }) => {
  for (const topology of ['primary-replica', 'multi-primary'] as const) {
    const cluster = await BenchCluster.start(`${folder}-${topology}`, topology);
    onEnd(() => cluster.stop());
    await cluster.stopReplica(LATE);
    const file = cluster.file(LATE);
    copyDatabase(file, `${file}.before`);
    report.note(`catch-up: writing ${rows} rows while ${LATE} is away`);
    await cluster.load(rows, ROWS_PER_TRANSACTION, { without: LATE });

    const rates: number[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      copyDatabase(`${file}.before`, file);
      const { startedNs, endedNs } = await cluster.startReplica(LATE);
      const rate = rows / (Number(endedNs - startedNs) / NS_PER_SECOND);
      await cluster.stopReplica(LATE);
      report.note(
        `catch-up ${round === 0 ? 'warm-up' : `round ${round}`}: ${topology} ${Math.round(rate)} rows/s`,
      );
      if (round > 0) rates.push(rate);
    }
    await cluster.stop();
    report.figure({
      bench: 'catch-up',
      case: topology,
      metric: 'applied',
      value: median(rates),
      unit: 'rows/s',
    });
  }
};

function copyDatabase(from: string, to: string): void {
  for (const suffix of FILES) {
    rmSync(to + suffix, { force: true });
    if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
  }
}
