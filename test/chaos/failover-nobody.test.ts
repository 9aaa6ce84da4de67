import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { pause, ROUNDS, sqlite3, type ChaosCluster } from './cluster.js';
import { epochOf, primaryOf, SHORT_FAILOVER, successorOf } from './failover-cluster.js';
import { checkRegisters, loadRegisters } from './register-check.js';
import { PRIMARY_REPLICA, startSync, type SyncStart } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
/** A share of them in the ordinary run. */
const FLAPS = ROUNDS >= 20 ? 20 : 6;
const OUTAGES = Math.ceil(ROUNDS / 3);

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

async function start(update: SyncStart['update'], options: Partial<SyncStart> = {}): Promise<ChaosCluster> {
  const chaos = await startSync({
    topology,
    failover: SHORT_FAILOVER,
    ...(update && { update }),
    ...options,
  });
  cluster = chaos;
  await Promise.all(chaos.replicas.map(loadRegisters));
  return chaos;
}

function promotionsOf({ replicas: [first] }: ChaosCluster): number {
  const sql = "SELECT count(*) FROM _antiphon_epochs WHERE why = 'failover'";
  return Number(sqlite3(first?.config.file ?? '', sql));
}

/** Seconds by which the wall clock of a process is ahead; its other clocks are right. */
function clockAhead(seconds: number): Record<string, string> {
  const offset = `${seconds < 0 ? '' : '+'}${seconds}s`;
  return { LD_PRELOAD: FAKETIME, FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

describe.each([
  { mode: 'async', update: { mode: 'async' } },
  { mode: 'sync', update: { mode: 'sync', acks: 'majority' } },
])('nobody takes over, $mode,', ({ update }) => {
  it('I7: where NATS is away for longer than the lease, and comes back', { timeout: 180_000 }, async () => {
    const chaos = await start(update);
    const primary = await primaryOf(chaos.replicas);
    const before = epochOf(chaos);
    for (let round = 0; round < OUTAGES; round++) {
      await chaos.server.kill();
      await pause(SHORT_FAILOVER.leaseMs + 1500);
      await chaos.server.restart();
      await pause(2000);
      expect(await primaryOf(chaos.replicas)).toBe(primary);
    }
    const seen = await checkRegisters(chaos);
    expect(epochOf(chaos)).toBe(before);
    expect(seen.rescued).toBe(0);
  });

  it('I7: or hardly anybody, while the link of the primary flaps', { timeout: 180_000 }, async () => {
    const chaos = await start(update, { proxied: true });
    for (let flap = 0; flap < FLAPS; flap++) {
      const link = chaos.linkOf(await primaryOf(chaos.replicas));
      if (flap % 2 === 0) link.cut();
      else link.silence();
      await pause(100 + Math.random() * 500);
      link.heal();
      await pause(300 + Math.random() * 500);
    }
    await checkRegisters(chaos);
    expect(promotionsOf(chaos)).toBeLessThanOrEqual(3);
  });

  it.skipIf(!existsSync(FAKETIME))(
    'I7: because clocks differ by hours; when the primary is killed, somebody does',
    { timeout: 180_000 },
    async () => {
      const envs = { a: clockAhead(3600), b: clockAhead(-3600) };
      // By default a clock that is ahead by more than five minutes is refused.
      const chaos = await start(update, { envs, limits: { maxClockSkewMs: 2 * 3600 * 1000 } });
      const a = await primaryOf(chaos.replicas);
      const before = epochOf(chaos);
      await pause(5000);
      expect(epochOf(chaos)).toBe(before);
      // Each of the clocks has its turn as the primary's, and as that of who comes back.
      for (let round = 0, primary = a; round < 3; round++) {
        const epoch = epochOf(chaos);
        await primary.kill();
        const next = await successorOf(primary, chaos, epoch);
        await primary.start();
        await loadRegisters(primary);
        primary = next;
      }
      const seen = await checkRegisters(chaos);
      expect(seen.writes, JSON.stringify(seen)).toBeGreaterThan(60);
    },
  );
});
