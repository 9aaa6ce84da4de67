import { afterEach, describe, expect, it } from 'vitest';
import { pause, type ChaosCluster } from './cluster.js';
import { eventually } from '@antiphon/testing';
import { entry, PRIMARY_REPLICA, startSync, statusOf, TOPOLOGIES, untilInSync } from './sync-cluster.js';

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

describe.each(TOPOLOGIES)('the in-sync set, $name', ({ topology }) => {
  it('I6: a stopped member is left out after its limit, and returns by itself', async () => {
    cluster = await startSync({ topology });
    const chaos = cluster;
    const stopped = chaos.at(1);
    stopped.pause();
    const waited = await entry(chaos);
    expect(waited).toMatchObject({
      outcome: 'committed',
      acks: { by: ['a', 'c'], missing: [], reached: true },
    });
    // Not before its limit, and not long after it: beats come every 200 ms.
    expect(waited.tookMs).toBeGreaterThan(700);
    expect(waited.tookMs).toBeLessThan(4000);
    const next = await entry(chaos);
    expect(next).toMatchObject({ outcome: 'committed', acks: { by: ['a', 'c'], reached: true } });
    stopped.resume();
    await untilInSync(chaos, ['a', 'b', 'c']);
    expect(await entry(chaos)).toMatchObject({ acks: { by: ['a', 'b', 'c'], reached: true } });
    await chaos.converged();
  });

  it('I6: nobody is left out for the silence of the broker', async () => {
    cluster = await startSync({ topology });
    const chaos = cluster;
    const { recordSeq } = (await statusOf(chaos.at(0))).sync;
    await chaos.server.kill();
    // Longer than a member may be silent.
    await pause(2500);
    await chaos.server.restart();
    await eventually('a whole write', async () => (await entry(chaos)).acks?.by.join() === 'a,b,c');
    await pause(1500);
    expect((await statusOf(chaos.at(0))).sync).toMatchObject({ inSync: ['a', 'b', 'c'], recordSeq });
  });
});

describe('a primary that was stopped', () => {
  it('I6: leaves nobody out for the time in which it heard nothing', async () => {
    cluster = await startSync(PRIMARY_REPLICA);
    const chaos = cluster;
    const { recordSeq } = (await statusOf(chaos.at(0))).sync;
    chaos.at(0).pause();
    await pause(2500);
    chaos.at(0).resume();
    expect(await entry(chaos)).toMatchObject({ acks: { by: ['a', 'b', 'c'], reached: true } });
    await pause(1500);
    expect((await statusOf(chaos.at(0))).sync).toMatchObject({ inSync: ['a', 'b', 'c'], recordSeq });
  });
});
