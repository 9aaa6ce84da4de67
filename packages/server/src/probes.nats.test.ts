import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { createServer } from './index.js';
import { get, post, SCHEMA, Served, write } from './testing/served.js';

const PATHS = ['/livez', '/readyz', '/primary', '/replica', '/read-only'];

describe('probes', () => {
  it('tell the primary from its replicas, and follow a switchover', async () => {
    await using served = await Served.start(2, { failover: { mode: 'manual' } });
    const servers = [await served.server(), await served.server({}, 'r2')];
    const statuses = (): Promise<number[][]> =>
      Promise.all(
        servers.map((server) => Promise.all(PATHS.map(async (path) => (await get(server, path)).status))),
      );
    const [primary, replica] = [
      [200, 200, 200, 503, 200],
      [200, 200, 503, 200, 200],
    ];
    expect(await statuses()).toEqual([primary, replica]);
    await served.replica().switchOver('r2');
    const turned = async (): Promise<boolean> =>
      JSON.stringify(await statuses()) === JSON.stringify([replica, primary]);
    await eventually('the probes have changed places', turned, { timeoutMs: 20_000 });
  });

  it('say that every replica of several that write is one to write to, and to read from', async () => {
    await using served = await Served.start(1, { topology: { mode: 'multi-primary' } });
    const server = await served.server();
    for (const path of PATHS) expect(await get(server, path), path).toMatchObject({ status: 200 });
  });

  it('send nothing to a replica that is drained, and to a primary its writes', async () => {
    await using served = await Served.start(2);
    const [primary, replica] = [await served.server(), await served.server({}, 'r2')];
    for (const server of [primary, replica])
      expect(await post(server, '/v1/admin/drain', {})).toMatchObject({ status: 200, body: { weight: 1 } });
    expect(await get(replica, '/readyz')).toMatchObject({ status: 503, body: { ready: false, live: true } });
    expect((await get(replica, '/readyz')).body['problems']).toEqual([expect.stringContaining('drained')]);
    for (const path of ['/replica', '/read-only']) expect((await get(replica, path)).status).toBe(503);
    expect((await get(primary, '/primary')).status).toBe(200);
    expect((await get(primary, '/livez')).status).toBe(200);
    // Of its own replica, without a body.
    expect((await fetch(`${replica.url}/v1/admin/resume`, { method: 'POST' })).status).toBe(200);
    expect((await get(replica, '/replica')).status).toBe(200);
  });

  it('are not ready without NATS, and say why', async () => {
    await using served = await Served.start(2);
    const server = await served.server({}, 'r2');
    await served.cluster.broker.stop();
    await eventually('it is not ready', async () => (await get(server, '/readyz')).status === 503, {
      timeoutMs: 15_000,
    });
    const { body } = await get(server, '/readyz');
    expect(body['problems']).toEqual(expect.arrayContaining([expect.stringMatching(/NATS/)]));
    expect((await get(server, '/replica?maxLagMs=60000')).status).toBe(503);
    expect((await get(server, '/livez')).status).toBe(200);
    await served.cluster.broker.start();
    await eventually('it is ready again', async () => (await get(server, '/readyz')).status === 200, {
      timeoutMs: 15_000,
    });
  });

  it('count the lag that is allowed, and refuse what is no lag', async () => {
    await using served = await Served.start(2);
    const server = await served.server({}, 'r2');
    expect((await get(server, '/replica?maxLagMs=1')).status).toBe(200);
    for (const lag of ['-1', 'x', '1.5', '1&maxLag=2'])
      expect((await get(server, `/replica?maxLagMs=${lag}`)).status, lag).toBe(400);
  });

  it('send no writes to a primary that has lost its lease', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'antiphon-server-'));
    const nats = await NatsServer.start({ storeDir: join(folder, 'nats') });
    const file = join(folder, 'r1.db');
    new DatabaseSync(file).exec(SCHEMA);
    const store = sqlite({ file });
    const given = {
      cluster: 'shop',
      id: 'r1',
      servers: nats.url,
      store,
      failover: { mode: 'automatic' },
    } as const;
    try {
      await using replica = await createReplica(given);
      await using server = await createServer(replica, { listen: '127.0.0.1:0' });
      const status = async (): Promise<number> => (await get(server, '/primary')).status;
      await eventually('it is the primary', async () => (await status()) === 200, { timeoutMs: 10_000 });
      await nats.stop();
      await eventually('it has no lease', async () => (await status()) === 503, { timeoutMs: 10_000 });
      expect(replica.status().role).toBe('primary');
      expect((await get(server, '/metrics')).body['text']).toContain('antiphon_is_primary 0');
    } finally {
      await nats.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('say that a replica that has ended has to be started again', async () => {
    await using served = await Served.start(1);
    const server = await served.server();
    const replica = served.replica();
    await replica.close();
    for (const path of PATHS) expect(await get(server, path), path).toMatchObject({ status: 503 });
    expect(await write(server, 'INSERT INTO other VALUES (1, NULL)')).toMatchObject({
      status: 503,
      body: { error: { code: 'CLOSED' } },
    });
  });
});

describe('GET /v1/status and /metrics', () => {
  it('show what a replica says of itself', async () => {
    await using served = await Served.start(2, { update: { mode: 'sync', acks: 'all' } });
    const server = await served.server();
    await write(server, "INSERT INTO other VALUES (1, 'x')");
    const status = await get(server, '/v1/status');
    expect(status).toMatchObject({ status: 200, body: { id: 'r1', role: 'primary', lifecycle: 'primary' } });
    const isHeard = (): boolean => served.replica().status().members.length === 1;
    await eventually('the other member is known', isHeard, { timeoutMs: 10_000 });
    const { body, headers } = await get(server, '/metrics');
    expect(headers.get('content-type')).toContain('text/plain');
    const lines = String(body['text']).split('\n');
    const value = (name: string): number =>
      Number(lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1]);
    expect(value('antiphon_is_primary')).toBe(1);
    expect(value('antiphon_in_sync_members')).toBe(2);
    expect(value('antiphon_members')).toBe(2);
    expect(value('antiphon_applied_seq')).toBe(status.body['appliedSeq']);
    for (const name of [
      'lag_entries',
      'lag_seconds',
      'outbox_unpublished',
      'quarantined',
      'rescued',
      'alarms',
    ])
      expect(value(`antiphon_${name}`), name).toBe(0);
    const counted =
      'antiphon_http_request_duration_seconds_count{method="POST",route="/v1/execute",status="200"} 1';
    expect(lines).toContain(counted);
  });

  it('name the alarms, as long as there are any', async () => {
    await using served = await Served.start(1);
    const server = await served.server();
    await served.cluster.broker.stop();
    await write(server, "INSERT INTO other VALUES (1, 'x')");
    const text = async (): Promise<string> => String((await get(server, '/metrics')).body['text']);
    const alarm = 'antiphon_alarm{name="log",section="alarm-log"} 1';
    await eventually('an alarm is shown', async () => (await text()).includes(alarm), {
      timeoutMs: 20_000,
    });
    expect(await text()).toMatch(/antiphon_connected 0/);
    await served.cluster.broker.start();
    await eventually('none is left', async () => !(await text()).includes('antiphon_alarm{'), {
      timeoutMs: 20_000,
    });
  });
});
