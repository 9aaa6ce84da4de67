import { decodeEpochRecord } from '@antiphon/core';
import { connectNats } from '@antiphon/nats';
import { afterEach, describe, expect, it } from 'vitest';
import { ROUNDS, type ChaosCluster } from './cluster.js';
import { ledgerOf, SHORT_FAILOVER, statuses, untilPrimaryIs, writeEntry } from './failover-cluster.js';
import { PRIMARY_REPLICA, startSync } from './sync-cluster.js';
import { PATIENCE_MS, ThreeServers } from './three-servers.js';

const { topology } = PRIMARY_REPLICA;
/** Only who is told to takes over. */
const failover = { ...SHORT_FAILOVER, mode: 'manual' };
/** A share of them in the ordinary run. */
const RIVALS = ROUNDS >= 20 ? 300 : 12;
const ROUND_MS = 1000;

let cluster: ChaosCluster | undefined;
let three: ThreeServers | undefined;
afterEach(async () => {
  await cluster?.close();
  await three?.stop();
  [cluster, three] = [undefined, undefined];
}, PATIENCE_MS);

interface TakenOver {
  readonly epoch: number;
  readonly primary: string;
}

/** How many epochs have more than one record in the log. */
async function rivalries(servers: string): Promise<number> {
  const nats = await connectNats({ servers });
  try {
    const log = nats.log('chaos');
    const { lastSeq } = await log.open({ create: false });
    const claims = new Map<number, number>();
    for (let seq = 1; seq <= lastSeq; seq++) {
      const entry = await log.get(seq);
      const record = entry?.origin === '_epoch' ? decodeEpochRecord(entry.data) : undefined;
      if (record !== undefined) claims.set(record.epoch, (claims.get(record.epoch) ?? 0) + 1);
    }
    return [...claims.values()].filter((count) => count > 1).length;
  } finally {
    await nats.close();
  }
}

describe.each(['one server', 'three servers'])('two replicas that claim at the same moment, %s', (where) => {
  it(
    'I7: one of them is the primary in the eyes of all, and nothing is lost',
    { timeout: 2 * PATIENCE_MS + RIVALS * ROUND_MS },
    async () => {
      if (where === 'three servers') three = await ThreeServers.start();
      const servers = three?.servers.urls.join(',');
      const options = { topology, failover, update: { mode: 'async' } };
      cluster = await startSync({ ...options, ...(servers !== undefined && { servers }) });
      const chaos = cluster;
      let primary = 'a';
      for (let round = 0; round < RIVALS; round++) {
        const rivals = chaos.replicas.filter(({ config }) => config.id !== primary);
        const taken = await Promise.all(rivals.map((replica) => replica.ask<TakenOver>('takeOver')));
        const [one, other] = taken as [TakenOver, TakenOver];
        if (one.epoch === other.epoch) expect(one.primary).toBe(other.primary);
        const newest = one.epoch > other.epoch ? one : other;
        primary = newest.primary;
        await untilPrimaryIs(chaos, primary);
        const epochs = (await statuses(chaos.replicas)).map(({ epoch }) => epoch.number);
        expect(new Set(epochs), 'one epoch for all').toEqual(new Set([newest.epoch]));
        const elected = chaos.replicas.find(({ config }) => config.id === primary);
        if (elected !== undefined) await writeEntry(elected, `round-${round}`);
      }
      await chaos.converged();
      // What a primary had not sent when the next round came is in its ledger.
      const rows = (JSON.parse(chaos.read('SELECT id FROM entries')[0] ?? '[]') as unknown[]).length;
      const kept = chaos.replicas.flatMap((replica) => ledgerOf(replica)).length;
      expect(rows + kept).toBe(RIVALS);
      expect(await rivalries(servers ?? chaos.server.url)).toBeGreaterThan(RIVALS / 10);
    },
  );
});
