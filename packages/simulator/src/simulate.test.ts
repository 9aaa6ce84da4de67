import { describe, expect, it } from 'vitest';
import { NO_FEATURES, type Features } from './features.js';
import { main } from './main.js';
import type { SimulatedTopology, SimulatedUpdate } from './options.js';
import { describeReport } from './report.js';
import { simulate } from './simulate.js';

/** A short share of what `npm run simulate` runs. */
const SEEDS = { first: 1, last: 24 };
const SYNC_SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
/** Runs that failed once, and why. */
const ONCE_FAILED: readonly {
  readonly why: string;
  readonly seed: number;
  readonly topology: SimulatedTopology;
  readonly update: SimulatedUpdate;
  readonly replicas?: number;
  /** None when absent: that was the world of then. */
  readonly features?: Partial<Features>;
}[] = [
  {
    why: 'later writes had a unique value that recovered transactions want for a while',
    seed: 5,
    topology: 'primary-replica',
    update: 'async',
  },
  {
    why: 'no follower could apply what was written before own transactions were recovered',
    seed: 44,
    topology: 'primary-replica',
    update: 'async',
  },
  {
    why: 'a row came up again whose content an edit had replaced that the log already had',
    seed: 6030,
    topology: 'multi-primary',
    update: 'async',
  },
  {
    why: 'a follower asked the log whether it takes something, with a group that nobody accepts',
    seed: 6011,
    topology: 'primary-replica',
    update: 'sync',
  },
  {
    why: 'a write that a full disk undid left the clock ahead of what was written before it',
    seed: 101,
    topology: 'multi-primary',
    update: 'async',
    features: { fullDisks: true, inspections: true },
  },
  {
    why: "one table's triggers were dropped and put back with our view, and VACUUM came after it",
    seed: 18,
    topology: 'multi-primary',
    update: 'async',
    features: { randomTables: true, moves: true, schemaChanges: true, audits: true },
  },
  {
    why: 'a table was rebuilt in a copy that had not read in the log what its replica wrote',
    seed: 100029,
    topology: 'primary-replica',
    update: 'async',
    features: {
      ...{ randomTables: true, moves: true, schemaChanges: true, wrongBoots: true },
      ...{ audits: true, subscriptions: true },
    },
  },
  {
    why: 'a subscription whose place was within a synchronous group went on behind the group',
    seed: 2,
    topology: 'primary-replica',
    update: 'sync',
    features: { subscriptions: true },
  },
  {
    why: 'SQLite itself left a child without its parent, in an upsert that changes the key',
    seed: 200118,
    topology: 'primary-replica',
    update: 'sync',
    features: { randomTables: true, inspections: true },
  },
  {
    why: 'the same, with several writers',
    seed: 200119,
    topology: 'multi-primary',
    update: 'sync',
    features: { randomTables: true, moves: true, inspections: true, separateParts: true },
  },
  {
    why: 'a key was an integer here and the equal REAL there',
    seed: 200132,
    topology: 'multi-primary',
    update: 'async',
    features: { randomTables: true, fullDisks: true, inspections: true },
  },
  {
    why: 'a subscription took what had come before its predecessor, and every replica had dropped',
    seed: 200170,
    topology: 'multi-primary',
    update: 'async',
    features: { randomTables: true, subscriptions: true, separateParts: true },
  },
  {
    why: 'an earlier message came again among the parts of a transaction, before the power was lost',
    seed: 200299,
    topology: 'multi-primary',
    update: 'async',
    features: { moves: true, fullDisks: true, removals: true, subscriptions: true, separateParts: true },
  },
  {
    why: 'parts came before what they follow, all of them, and once more behind it',
    seed: 5006,
    topology: 'multi-primary',
    update: 'async',
    features: { moves: true, restores: true, wrongBoots: true, separateParts: true },
  },
  {
    why: 'more of its own was in the log than a replica had been told, and some of that in parts',
    seed: 200309,
    topology: 'multi-primary',
    update: 'async',
    features: {
      randomTables: true,
      schemaChanges: true,
      wrongBoots: true,
      inspections: true,
      separateParts: true,
    },
  },
  {
    why: 'own transactions counted as published before the apply that brings the position there, and it failed',
    seed: 200542,
    topology: 'multi-primary',
    update: 'sync',
    features: { moves: true, restores: true, fullDisks: true },
  },
  {
    why: 'three rows of one transaction took a unique value from one another without end',
    seed: 210079,
    topology: 'multi-primary',
    update: 'async',
    features: {
      randomTables: true,
      moves: true,
      fullDisks: true,
      removals: true,
      audits: true,
      subscriptions: true,
    },
  },
  {
    why: 'a row was replaced by one that its key action deleted along with it',
    seed: 210511,
    topology: 'primary-replica',
    update: 'async',
    replicas: 4,
    features: { randomTables: true, fullDisks: true, removals: true, audits: true, subscriptions: true },
  },
  {
    why: 'the feed noticed before the check that a table is what it was, and nobody looked for captured writes again',
    seed: 211080,
    topology: 'multi-primary',
    update: 'async',
    replicas: 4,
    features: { randomTables: true, schemaChanges: true },
  },
];
const TIMEOUT_MS = 600_000;

describe('simulated clusters', () => {
  it.each<SimulatedTopology>(['multi-primary', 'primary-replica'])(
    'I1, I2, I3, I4, I5: %s keeps them under crashes, power losses, lost, late and repeated messages, and clocks that are wrong',
    { timeout: TIMEOUT_MS },
    async (topology) => {
      const failed: string[] = [];
      const totals = { transactions: 0, crashes: 0, powerLosses: 0, lostAppends: 0, disconnections: 0 };
      for (let seed = SEEDS.first; seed <= SEEDS.last; seed++) {
        const report = await simulate(seed, { topology });
        if (!report.ok) failed.push(describeReport(report));
        for (const name of Object.keys(totals) as (keyof typeof totals)[])
          totals[name] += report.counts[name] ?? 0;
      }
      expect(failed.join('\n')).toBe('');
      // A run in which nothing happens would keep them, too.
      for (const [name, total] of Object.entries(totals)) expect(total, name).toBeGreaterThan(SEEDS.last / 2);
    },
  );

  it.each<SimulatedTopology>(['multi-primary', 'primary-replica'])(
    'I1, I2, I4, I6, I8, I11, I12: synchronous writes of %s keep them under the same troubles, and pauses',
    { timeout: TIMEOUT_MS },
    async (topology) => {
      const failed: string[] = [];
      const totals = {
        writes: 0,
        unknownWrites: 0,
        strongReads: 0,
        sessionReads: 0,
        powerLosses: 0,
        pauses: 0,
      };
      for (const seed of SYNC_SEEDS) {
        const report = await simulate(seed, { topology, update: 'sync' });
        if (!report.ok) failed.push(describeReport(report));
        for (const name of Object.keys(totals) as (keyof typeof totals)[])
          totals[name] += report.counts[name] ?? 0;
      }
      expect(failed.join('\n')).toBe('');
      for (const [name, total] of Object.entries(totals))
        expect(total, name).toBeGreaterThanOrEqual(SYNC_SEEDS.length / 4);
    },
  );

  it.each(ONCE_FAILED)(
    'hold where they once failed: $why (seed $seed)',
    { timeout: TIMEOUT_MS },
    async ({ seed, topology, update, features, replicas }) => {
      const world = { ...NO_FEATURES, ...features };
      const report = await simulate(seed, {
        topology,
        update,
        features: world,
        ...(replicas && { replicas }),
      });
      expect(report.ok ? '' : describeReport(report)).toBe('');
    },
  );

  it.each(['async', 'sync'] as const)(
    'replay exactly from their seed: %s',
    { timeout: TIMEOUT_MS },
    async (update) => {
      const traceHashes = new Set<string>();
      for (const seed of [3, 4]) {
        const [one, two] = [await simulate(seed, { update }), await simulate(seed, { update })];
        expect(one.events).toBeGreaterThan(100);
        expect(two).toEqual(one);
        traceHashes.add(one.traceHash);
      }
      expect(traceHashes.size).toBe(2);
    },
  );

  it('tell what went wrong, and how to see it again', { timeout: TIMEOUT_MS }, async () => {
    const printed: string[] = [];
    expect(
      await main(['--seeds', '5-6', '--topology', 'multi-primary', '--update', 'async', '--json'], (line) =>
        printed.push(line),
      ),
    ).toBe(0);
    expect(printed.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { seed: 5, ok: true },
      { seed: 6, ok: true },
      { runs: 2, failed: [] },
    ]);
    expect(await main(['--topology', 'ring'], () => undefined)).toBe(2);
    expect(await main(['--help'], () => undefined)).toBe(0);
  });
});
