import { findFreePort } from '@antiphon/nats-server/internal';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { bytes, fill, Fixture } from '../testing/fixture.js';
import { connectNats } from '../connection/nats-handle.js';
import { GuardedServer } from '../testing/guarded-server.js';
import { RawServer } from '../testing/raw-server.js';
import { describeServer, type ServerDescription } from './describe-server.js';

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

  it('tells of a limit that the stream of the log has, and warns when little is left', async () => {
    const config = { name: 'ANTIPHON_bounded', subjects: ['antiphon.bounded.log.>'], discard: 'new' };
    const body = JSON.stringify({ ...config, storage: 'file', retention: 'limits', max_bytes: 10_000 });
    await nats.connection.request('$JS.API.STREAM.CREATE.ANTIPHON_bounded', bytes(body));
    const before = await describeServer(nats, { cluster: 'bounded' });
    expect(before).toMatchObject({ log: { maxBytes: 10_000 }, warnings: [] });
    await nats.connection.request('antiphon.bounded.log.a', new Uint8Array(9500));
    const { warnings } = await describeServer(nats, { cluster: 'bounded' });
    expect(warnings).toEqual([
      expect.stringMatching(/^The log has used 95\d\d of 10000 bytes.* Raise max_bytes/),
    ]);
    expect((await describeServer(nats, { cluster: 'shop' })).log?.maxBytes).toBe(-1);
  });

  it('fails when there is no server', async () => {
    const lonely = await Fixture.start();
    const handle = await lonely.connect();
    await lonely.server.kill();
    await expect(describeServer(handle)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await lonely.stop();
  });
});

describe('the monitoring', () => {
  it('is believed about its own server only, and says when it does not answer', async () => {
    const [own = 0, others = 0] = [await findFreePort('127.0.0.1'), await findFreePort('127.0.0.1')];
    const monitored = (port: number): string => `http: "127.0.0.1:${port}"`;
    await using server = await GuardedServer.start(monitored(own));
    await using other = await GuardedServer.start(monitored(others));
    expect(other.port).not.toBe(server.port);
    const handle = await connectNats({ servers: server.url() });
    try {
      await handle.log('shop').open({ create: true });
      const ask = (monitorUrl: string): Promise<ServerDescription> =>
        describeServer(handle, { cluster: 'shop', monitorUrl });
      const well = await ask(`http://127.0.0.1:${own}`);
      expect(well).toMatchObject({ log: { durability: { grade: 'periodic-fsync' } }, warnings: [] });
      const wrong = await ask(`http://127.0.0.1:${others}`);
      expect(wrong.warnings).toEqual([
        expect.stringMatching(/ is the monitoring of another server .*Give --monitor the address/),
      ]);
      // Old servers cannot fsync always: that is known without asking.
      expect(['unknown', 'periodic-fsync']).toContain(wrong.log?.durability.grade);
      const dead = await ask('http://me:hunter2@127.0.0.1:1');
      expect(dead.warnings).toEqual([
        expect.stringMatching(/^The monitoring at http:\/\/127\.0\.0\.1:1 does not answer \(.*bad port.*\)/),
      ]);
      const notMonitoring = await ask(`http://127.0.0.1:${server.port}`);
      expect(notMonitoring.warnings).toHaveLength(1);
    } finally {
      await handle.close();
    }
  });

  it('tells what the server has for all accounts, and warns when little is left', async () => {
    const port = (await findFreePort('127.0.0.1')) ?? 0;
    const server = await RawServer.start(
      `http: "127.0.0.1:${port}"\njetstream { store_dir: "@DIR@/js", max_file_store: 2000000 }`,
    );
    const handle = await connectNats({ servers: server.url });
    const monitorUrl = `http://127.0.0.1:${port}`;
    try {
      const log = handle.log('shop');
      await log.open({ create: true });
      const { jetstream } = await describeServer(handle, { cluster: 'shop', monitorUrl });
      expect(jetstream).toMatchObject({ maxStorageBytes: -1, server: { maxStorageBytes: 2_000_000 } });
      expect((await describeServer(handle)).jetstream?.server).toBeUndefined();
      await fill(log, 19, 'a', new Uint8Array(100_000));
      const { warnings } = await describeServer(handle, { cluster: 'shop', monitorUrl });
      expect(warnings).toEqual([
        expect.stringMatching(/used 19\d{5} of 2000000 bytes .* all accounts.* Raise max_file_store/),
      ]);
    } finally {
      await handle.close();
      await server.stop();
    }
  });

  it.each(['nope', '127.0.0.1:8222', 'localhost:8222'])(
    'has an address that is one: %s',
    async (monitorUrl) => {
      await expect(describeServer(nats, { monitorUrl })).rejects.toMatchObject({
        code: 'BAD_OPTION',
        message: /^`monitorUrl` is not an address.*http:\/\/127/,
      });
    },
  );
});
