import { connect, type NatsConnection } from 'nats';
import { afterEach, describe, expect, it } from 'vitest';
import { decodeControl } from '@antiphon/core';
import type { ChaosCluster } from './cluster.js';
import { eventually } from '@antiphon/testing';
import { entry, startSync, statusOf, TOPOLOGIES, untilInSync } from './sync-cluster.js';

let cluster: ChaosCluster | undefined;
let operator: NatsConnection | undefined;
afterEach(async () => {
  await operator?.close();
  operator = undefined;
  await cluster?.close();
  cluster = undefined;
});

/** What the registry shows to people and tools. */
async function recorded(chaos: ChaosCluster): Promise<Record<string, unknown>> {
  operator ??= await connect({ servers: chaos.server.url });
  const manager = await operator.jetstreamManager();
  for await (const { config } of manager.streams.list()) {
    if (!config.name.startsWith('KV_')) continue;
    const subject = `$KV.${config.name.slice(3)}.in-sync`;
    const message = await manager.streams
      .getMessage(config.name, { last_by_subj: subject })
      .catch(() => undefined);
    if (message !== undefined) return decodeControl(message.data) as Record<string, unknown>;
  }
  return {};
}

describe.each(TOPOLOGIES)('too few are in sync, $name', ({ topology }) => {
  it('I6: degrade: writes say so, status and registry too, and it ends by itself', async () => {
    cluster = await startSync({ topology, update: { onShortfall: 'degrade' } });
    const chaos = cluster;
    const whole = await entry(chaos);
    expect(whole).toMatchObject({ outcome: 'committed', acks: { by: ['a', 'b', 'c'], reached: true } });
    expect(whole.degraded).toBeUndefined();
    await Promise.all([chaos.at(1).kill(), chaos.at(2).kill()]);
    expect(await entry(chaos)).toMatchObject({ outcome: 'committed', degraded: true });
    await eventually('the alarm', async () =>
      (await statusOf(chaos.at(0))).alarms.some(({ name }) => name === 'in-sync'),
    );
    expect((await statusOf(chaos.at(0))).sync).toMatchObject({ degraded: true, inSync: ['a'] });
    await eventually('the record', async () => (await recorded(chaos)).degraded === true);
    await chaos.at(1).start();
    await eventually('a whole write', async () => (await entry(chaos)).degraded === undefined);
    expect(await entry(chaos)).toMatchObject({ acks: { by: ['a', 'b'], missing: [], reached: true } });
    await chaos.at(2).start();
    await untilInSync(chaos, ['a', 'b', 'c']);
    await eventually('no alarm', async () =>
      (await statusOf(chaos.at(0))).alarms.every(({ name }) => name !== 'in-sync'),
    );
    await eventually('the record', async () => (await recorded(chaos)).degraded === false);
    await chaos.converged();
  });

  it('I6: reject: nothing is written until enough are back', async () => {
    cluster = await startSync({ topology });
    const chaos = cluster;
    await Promise.all([chaos.at(1).kill(), chaos.at(2).kill()]);
    await untilInSync(chaos, ['a']);
    const refused = await entry(chaos);
    expect(refused).toMatchObject({ outcome: 'rejected', code: 'NOT_IN_SYNC' });
    expect(chaos.read('SELECT count(*) FROM entries')[0]).toBe('[["0n"]]');
    await chaos.at(1).start();
    await eventually('writes again', async () => (await entry(chaos)).outcome === 'committed');
    await chaos.at(2).start();
    await chaos.converged();
  });
});
