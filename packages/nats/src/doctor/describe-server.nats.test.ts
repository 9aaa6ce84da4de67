import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { bytes, Fixture } from '../testing/fixture.js';
import { describeServer } from './describe-server.js';

let fixture: Fixture;
let nats: NatsHandle;
beforeAll(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect();
});
afterAll(() => fixture.stop());

describe('describeServer', () => {
  it('tells what there is without a cluster', async () => {
    const description = await describeServer(nats, { cluster: 'absent' });
    expect(description).toMatchObject({
      servers: nats.servers,
      version: fixture.server.version,
      warnings: [],
    });
    expect(description.jetstream?.streams).toBe(0);
    expect(description.log).toBeUndefined();
    expect(description.rttMs).toBeLessThan(1000);
  });

  it('tells how durable the log is, and compares the clocks', async () => {
    await nats.log('shop').open({ create: true });
    const { log, clock, warnings } = await describeServer(nats, { cluster: 'shop' });
    expect(log).toMatchObject({
      stream: 'ANTIPHON_shop',
      replicas: 1,
      storage: 'file',
      firstSeq: 1,
      lastSeq: 1,
    });
    expect(['periodic-fsync', 'unknown']).toContain(log?.durability.grade);
    expect(Math.abs(clock?.differenceMs ?? Number.NaN)).toBeLessThan(1000);
    expect(clock?.uncertaintyMs).toBeLessThan(1000);
    expect(warnings).toEqual([]);
    const { consumers } = await nats.api.accountInfo();
    expect(consumers).toBe(0);
  });

  it('warns of a stream that forgets', async () => {
    const config = {
      name: 'ANTIPHON_forgetful',
      subjects: ['antiphon.forgetful.log.>'],
      storage: 'memory',
      retention: 'limits',
    };
    const body = JSON.stringify({ ...config, max_age: 60_000_000_000, max_msgs: 10 });
    await nats.connection.request('$JS.API.STREAM.CREATE.ANTIPHON_forgetful', bytes(body));
    const { log, warnings } = await describeServer(nats, { cluster: 'forgetful' });
    expect(log?.durability.grade).toBe('memory');
    expect(warnings).toHaveLength(2);
    expect(warnings.join()).toMatch(/memory.*max_age, max_msgs/);
  });

  it('fails when there is no server', async () => {
    const lonely = await Fixture.start();
    const handle = await lonely.connect();
    await lonely.server.kill();
    await expect(describeServer(handle)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await lonely.stop();
  });
});
