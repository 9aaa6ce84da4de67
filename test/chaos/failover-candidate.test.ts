import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeEpochRecord } from '@antiphon/core';
import { connectNats } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pause, ROUNDS, sqlite3, type ChaosCluster } from './cluster.js';
import { epochOf, primaryOf, SHORT_FAILOVER } from './failover-cluster.js';
import { checkRegisters, loadRegisters } from './register-check.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
const { leaseMs, marginMs } = SHORT_FAILOVER;
/** The lease of the candidate runs out; then one election, on a machine that is busy. */
const STATED_MS = leaseMs + marginMs + 3000;
const DIES = fileUrl('./die-in-transaction.mjs');

function fileUrl(path: string): string {
  return new URL(path, import.meta.url).href;
}

let cluster: ChaosCluster | undefined;
/** While it is there, a candidate ends itself. */
let order: string;
beforeEach(() => {
  order = join(tmpdir(), `antiphon-dies-${process.pid}`);
});
afterEach(async () => {
  rmSync(order, { force: true });
  await cluster?.close();
  cluster = undefined;
});

/** Makes the first of them that tries to become the primary end there; resolves when it has. */
type Killer = (chaos: ChaosCluster, candidates: readonly ReplicaHandle[]) => Promise<ReplicaHandle>;

/** The first one that publishes a record of an epoch. */
function claiming(
  chaos: ChaosCluster,
  candidates: readonly ReplicaHandle[],
  isHeld: boolean,
): Promise<ReplicaHandle> {
  return new Promise((resolve) => {
    let first: ReplicaHandle | undefined;
    for (const candidate of candidates) {
      const link = chaos.linkOf(candidate);
      link.intercept((subject) => {
        if (first !== undefined || !subject.endsWith('.log._epoch')) return false;
        first = candidate;
        // It never hears of its own record.
        if (!isHeld) link.holdAnswers();
        resolve(candidate);
        return isHeld;
      });
    }
  });
}

const withRecordHeld: Killer = async (chaos, candidates) => {
  const candidate = await claiming(chaos, candidates, true);
  await candidate.kill();
  return candidate;
};

const withRecordInLog: Killer = async (chaos, candidates) => {
  const before = epochOf(chaos);
  const candidate = await claiming(chaos, candidates, false);
  const nats = await connectNats({ servers: chaos.server.url });
  try {
    const newest = async (): Promise<number> => {
      const entry = await nats.log('chaos').lastOf('_epoch');
      return (entry && decodeEpochRecord(entry.data)?.epoch) ?? 0;
    };
    await eventually('the record is in the log', async () => (await newest()) > before);
  } finally {
    await nats.close();
  }
  await candidate.kill();
  return candidate;
};

function inTransaction(where: string): Killer {
  return async (_, candidates) => {
    writeFileSync(order, where);
    const ended = (): ReplicaHandle | undefined => candidates.find(({ running }) => !running);
    const candidate = await eventually('a candidate has ended', ended, 30_000);
    rmSync(order);
    return candidate;
  };
}

const STEPS: readonly {
  readonly step: string;
  readonly kill: Killer;
  readonly late?: true;
  readonly begins?: true;
}[] = [
  { step: 'when it has the lease, and its record never comes into the log', kill: withRecordHeld },
  { step: 'when it has the lease, and its record comes late', kill: withRecordHeld, late: true },
  { step: 'when its record is in the log, and it has not read it', kill: withRecordInLog, begins: true },
  { step: 'at the row of the epoch', kill: inTransaction('at the row of the epoch'), begins: true },
  {
    step: 'before it commits that it is the primary',
    kill: inTransaction('before the commit'),
    begins: true,
  },
  { step: 'once it has committed that', kill: inTransaction('behind the commit'), begins: true },
];
const MODES = {
  async: { mode: 'async' },
  sync: { mode: 'sync', acks: 'majority' },
} as const;
/** In the ordinary run: a record that comes late, one that only others read, and half a commit. */
const ORDINARY = ['comes late, sync', 'has not read it, async', 'row of the epoch, sync'];
const CASES = STEPS.flatMap((step) => (['async', 'sync'] as const).map((mode) => ({ ...step, mode }))).filter(
  ({ step, mode }) => ROUNDS >= 20 || ORDINARY.some((end) => `${step}, ${mode}`.endsWith(end)),
);

describe('a candidate that is killed', () => {
  it.each(CASES.map((step) => [`${step.step}, ${step.mode}`, step] as const))(
    '%s: another one is the primary, and nothing is lost',
    async (_, step) => {
      const env = { NODE_OPTIONS: `--import=${DIES}`, ANTIPHON_TEST_DIES_AT: order };
      cluster = await startSync({
        ...{ topology, failover: SHORT_FAILOVER, update: MODES[step.mode], proxied: true },
        envs: { a: env, b: env, c: env },
      });
      const chaos = cluster;
      await Promise.all(chaos.replicas.map(loadRegisters));
      await pause(500);
      const primary = await primaryOf(chaos.replicas);
      const others = chaos.replicas.filter((replica) => replica !== primary);
      const before = epochOf(chaos);
      const killing = step.kill(chaos, others);
      await primary.kill();
      const candidate = await killing;
      const fromMs = performance.now();
      const third = others.filter((replica) => replica !== candidate);
      expect(await primaryOf(third, before)).toBe(third[0]);
      expect(performance.now() - fromMs).toBeLessThan(STATED_MS);
      const link = chaos.linkOf(candidate);
      if (step.late !== true) link.cut();
      link.heal();
      for (const replica of [candidate, primary]) {
        await replica.start();
        await loadRegisters(replica);
      }
      await pause(500);
      const seen = await checkRegisters(chaos);
      expect(seen.writes, JSON.stringify(seen)).toBeGreaterThan(10);
      if (step.mode === 'sync') expect(seen.rescued).toBe(0);
      const reigns = sqlite3(
        primary.config.file,
        `SELECT primary_replica FROM _antiphon_epochs WHERE epoch > ${before}`,
      );
      const wanted = [...(step.begins === true ? [candidate] : []), ...third].map(({ config }) => config.id);
      // On a machine that is busy, a primary may lose its lease afterwards.
      expect(reigns.trim().split('\n').slice(0, wanted.length)).toEqual(wanted);
    },
  );
});
