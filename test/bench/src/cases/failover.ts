import { mkdirSync } from 'node:fs';
import type { FailoverOptions } from '@antiphon/core';
import type { UpdateOptions } from '@antiphon/replica';
import type { Bench, BenchOptions } from '../bench.js';
import { FOLLOWERS, WRITER } from '../cluster.js';
import { FailoverCluster, type Load, type Takeover } from '../failover-cluster.js';
import type { Written } from '../node/protocol.js';
import { Series } from '../series.js';

const UPDATES = { async: { mode: 'async' }, sync: { mode: 'sync', acks: 'majority' } } as const;
const SETTINGS = {
  defaults: {},
  short: { leaseMs: 300, renewMs: 75, marginMs: 50, probeMs: 25, goneMs: 150 },
} as const satisfies Record<string, FailoverOptions>;
const TAKEOVERS = [
  ['async', 'defaults'],
  ['sync', 'defaults'],
  ['async', 'short'],
] as const;
const SIGNALS = { 'kill -9': 'SIGKILL', SIGSTOP: 'SIGSTOP' } as const;

/** Somebody always waits for an answer, and the processors are not the limit. */
const SOME: Load = { writers: 4, pauseMs: 5 };
const FULL: Load = { writers: 16, pauseMs: 0 };
const BEFORE_MS = 700;
const MS_PER_MINUTE = 60_000;

const PHASES: readonly (readonly [Exclude<keyof Takeover, 'written'>, string])[] = [
  ['lastRenewal', 'last renewal'],
  ['noticed', 'noticed'],
  ['leaseTaken', 'lease taken'],
  ['claimed', 'claimed'],
  ['recordRead', 'record read'],
  ['firstOwn', 'first write on the next primary'],
  ['firstForwarded', 'first write on a follower'],
];

/**
 * How long nobody accepts writes when the primary is killed or stopped, and when it hands over.
 * With `--soak`, instead: whether anybody takes over where nobody should.
 */
export const failover: Bench = async (options) => {
  mkdirSync(options.folder, { recursive: true });
  if (options.soakMinutes !== undefined) return soak(options, options.soakMinutes);
  const series = new Series('failover', options.report);
  for (const [mode, settings] of TAKEOVERS)
    for (const how of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[])
      for (let round = 1; round <= options.rounds; round += 1) {
        const [update, failover] = [UPDATES[mode], SETTINGS[settings]];
        await takeover(options, series, {
          name: `${how}, ${mode}, ${settings}`,
          update,
          failover,
          how,
          round,
        });
      }
  for (const [mode, update] of Object.entries(UPDATES))
    for (let round = 1; round <= options.rounds; round += 1)
      await switchovers(options, series, { name: `switchover, ${mode}, defaults`, update, round });
  series.reportAll();
};

interface Case {
  readonly name: string;
  readonly update: UpdateOptions;
  readonly round: number;
}

/** A cluster of its own: where primaries have failed lately, the next one waits. */
async function takeover(
  options: BenchOptions,
  series: Series,
  { name, update, failover, how, round }: Case & { failover: FailoverOptions; how: keyof typeof SIGNALS },
): Promise<void> {
  const taken = await inCluster(options, update, failover, async (cluster) => {
    await cluster.beginWrites(SOME);
    await pause(BEFORE_MS + Math.random() * BEFORE_MS);
    return cluster.takeover(SIGNALS[how]);
  });
  for (const [phase, metric] of PHASES) series.add(name, metric, 'ms', taken[phase]);
  series.add(name, 'first write', 'ms', Math.min(taken.firstOwn, taken.firstForwarded));
  series.add(name, 'failed writes', 'count', failedOf(taken.written));
  const shown = PHASES.map(([phase, metric]) => `${metric} ${Math.round(taken[phase])}`).join(', ');
  options.report.note(`failover round ${round}: ${name}: ${shown} ms ${failuresOf(taken.written)}`.trim());
}

async function switchovers(
  options: BenchOptions,
  series: Series,
  { name, update, round }: Case,
): Promise<void> {
  await inCluster(options, update, {}, async (cluster) => {
    let from: typeof WRITER | (typeof FOLLOWERS)[number] = WRITER;
    for (const to of FOLLOWERS) {
      await cluster.beginWrites(FULL);
      await pause(BEFORE_MS);
      const without = await cluster.endWrites();
      await cluster.beginWrites(FULL);
      const heldMs = await cluster.switchOver(to, from);
      from = to;
      await pause(BEFORE_MS);
      const written = await cluster.endWrites();
      series.add(name, 'longest wait without one', 'ms', longestOf(without));
      const failed = failedOf(written);
      const longestMs = longestOf(written);
      series.add(name, 'writes held', 'ms', heldMs);
      series.add(name, 'longest wait of a writer', 'ms', longestMs);
      series.add(name, 'failed writes', 'count', failed);
      const told = `held ${Math.round(heldMs)} ms, longest wait ${Math.round(longestMs)} ms, ${failed} failed`;
      options.report.note(`failover round ${round}: ${name}: ${told} ${failuresOf(written)}`.trim());
    }
  });
}

/** Full load for a while, and nothing wrong: nobody may take over, and no write may fail. */
async function soak(options: BenchOptions, minutes: number): Promise<void> {
  const { report } = options;
  for (const [mode, update] of Object.entries(UPDATES)) {
    const name = `${minutes} min of full load, ${mode}, defaults`;
    report.note(`failover: ${name}`);
    const { written, unwanted } = await inCluster(options, update, {}, async (cluster) => {
      await cluster.beginWrites(FULL);
      await pause(minutes * MS_PER_MINUTE);
      return { written: await cluster.endWrites(), unwanted: await cluster.unwanted() };
    });
    const figure = (metric: string, unit: 'count' | 'ms' | 'tx/s', value: number): void =>
      report.figure({ bench: 'failover', case: name, metric, value, unit });
    const committed = written.reduce((sum, part) => sum + part.committed, 0);
    figure('false failovers', 'count', unwanted.failovers);
    figure('elections begun', 'count', unwanted.elections);
    figure('failed writes', 'count', failedOf(written));
    figure('longest wait of a writer', 'ms', longestOf(written));
    figure('committed', 'tx/s', committed / (minutes * 60));
    report.note(failuresOf(written));
  }
}

function longestOf(written: readonly Written[]): number {
  return Math.max(...written.map((part) => part.longestMs));
}

function failedOf(written: readonly Written[]): number {
  return written.reduce((sum, part) => sum + part.failed, 0);
}

function failuresOf(written: readonly Written[]): string {
  return written.flatMap(({ failures }) => failures).join('; ');
}

async function inCluster<T>(
  { folder, onEnd }: BenchOptions,
  update: UpdateOptions,
  failover: FailoverOptions,
  measure: (cluster: FailoverCluster) => Promise<T>,
): Promise<T> {
  const cluster = await FailoverCluster.start(`${folder}/${++clusters}`, update, failover);
  onEnd(() => cluster.stop());
  const measured = await measure(cluster);
  await cluster.stop();
  return measured;
}

let clusters = 0;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
