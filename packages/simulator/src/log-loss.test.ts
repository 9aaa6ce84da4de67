import type { Log, LogEntry } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { describeLogLoss, simulateLogLoss } from './log-loss.js';
import type { SimulatedTopology, SimulatedUpdate } from './options.js';

const SEEDS = 12;
/** A claim that asks nobody is found by seed 15. */
const TAKEOVER_SEEDS = 16;
const TIMEOUT_MS = 600_000;
const KINDS: readonly (readonly [SimulatedUpdate, SimulatedTopology])[] = [
  ['async', 'multi-primary'],
  ['async', 'primary-replica'],
  ['sync', 'multi-primary'],
  ['sync', 'primary-replica'],
];

/** A log whose entries can't be told apart. */
function featureless(log: Log): Log {
  const plain = (entry: LogEntry | undefined): LogEntry | undefined =>
    entry && { seq: entry.seq, origin: entry.origin, data: entry.data, storedAtMs: undefined as never };
  return new Proxy(log, {
    get: (target, name) => {
      if (name === 'get') return async (seq: number) => plain(await target.get(seq));
      if (name === 'lastOf') return async (origin: string) => plain(await target.lastOf(origin));
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

describe('a log that loses acknowledged entries and grows again', () => {
  it.each(KINDS)(
    'I14: stops everybody, and forks nothing: %s, %s',
    { timeout: TIMEOUT_MS },
    async (update, topology) => {
      const failed: string[] = [];
      const seen = { stopped: 0, went: 0 };
      for (let seed = 1; seed <= SEEDS; seed++) {
        const { ok, violations, knew } = await simulateLogLoss(seed, { update, topology });
        if (!ok)
          failed.push(
            `seed ${seed}: ${violations.map(({ replica, message }) => `${replica} ${message}`).join('; ')}`,
          );
        if (knew.length > 0) seen.stopped++;
        else seen.went++;
      }
      expect(failed.join('\n')).toBe('');
      expect(seen.stopped).toBeGreaterThan(SEEDS / 2);
      expect(seen.went).toBeGreaterThan(0);
    },
  );

  it.each(['async', 'sync'] as const)(
    'I14: while replicas take over from each other, %s',
    { timeout: TIMEOUT_MS },
    async (update) => {
      const features = { terms: true, takeovers: true };
      const failed: string[] = [];
      let takenOver = 0;
      for (let seed = 1; seed <= TAKEOVER_SEEDS; seed++) {
        const report = await simulateLogLoss(seed, { update, topology: 'primary-replica', features });
        if (!report.ok) failed.push(describeLogLoss(report, 'primary-replica', update));
        takenOver += report.takenOver;
      }
      expect(failed.join('\n')).toBe('');
      expect(takenOver).toBeGreaterThan(TAKEOVER_SEEDS);
    },
  );

  it.each(KINDS)(
    'would fork where entries are not told apart: %s, %s',
    { timeout: TIMEOUT_MS },
    async (update, topology) => {
      const forks = async (seed: number): Promise<boolean> => {
        const { violations } = await simulateLogLoss(seed, {
          update,
          topology,
          defect: { log: featureless },
        });
        return violations.some(({ invariant }) => invariant === 'I14');
      };
      let caught = false;
      for (let seed = 1; seed <= SEEDS && !caught; seed++) caught = await forks(seed);
      expect(caught).toBe(true);
    },
  );
});
