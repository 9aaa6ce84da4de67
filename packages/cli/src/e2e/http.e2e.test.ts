import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort, PATIENCE_MS, RunningCommand, sqlite3, temporaryFolder } from './antiphon.js';

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer;
const running: RunningCommand[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
});

afterEach(async () => {
  for (const command of running.splice(0)) if (command.child.exitCode === null) await command.stop();
  await server.stop();
  folder.remove();
});

async function start(id: string, port: number): Promise<RunningCommand> {
  const config = `cluster: shop
id: ${id}
nats: { servers: ${server.url} }
store: { sqlite: { file: ./${id}.db } }
topology: { mode: primary-replica, primary: eu-1 }
failover: { mode: automatic }
http: { listen: 127.0.0.1:${port}, limits: { drainMs: 500 } }
`;
  writeFileSync(join(folder.path, `${id}.yaml`), config);
  const command = new RunningCommand(['run', '--config', `${id}.yaml`], { cwd: folder.path });
  running.push(command);
  await command.says(`answers over HTTP at http://127.0.0.1:${port}`);
  return command;
}

interface Body {
  readonly position?: object;
  readonly rows?: readonly object[];
}

async function ask(port: number, path: string, body?: object): Promise<{ status: number; body: Body }> {
  const init = body && {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
  const response = await fetch(`http://127.0.0.1:${port}${path}`, init ?? {});
  return { status: response.status, body: (await response.json()) as Body };
}

describe('run with http', () => {
  it('serves a replica, whose session sees what was written through another, and drains on SIGTERM', async () => {
    sqlite3(join(folder.path, 'eu-1.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
    const [first, second] = [await freePort(), await freePort()];
    const primary = await start('eu-1', first);
    await start('eu-2', second);
    const statements = [{ sql: 'INSERT INTO orders VALUES (?, ?)', params: [1, 'new'] }];
    const written = await ask(second, '/v1/execute', { statements, requestId: 'order 1' });
    expect(written).toMatchObject({ status: 200, body: { changes: [1], id: { origin: 'eu-1' } } });
    const read = { sql: 'SELECT * FROM orders', consistency: 'session', after: written.body.position };
    for (const port of [first, second])
      expect((await ask(port, '/v1/query', read)).body.rows).toEqual([{ id: 1, state: 'new' }]);
    expect((await ask(first, '/primary')).status).toBe(200);
    expect((await ask(second, '/replica?maxLagMs=5000')).status).toBe(200);

    const ended = primary.stop();
    let last = 200;
    for (const until = performance.now() + 10_000; last === 200 && performance.now() < until;)
      last = (await ask(first, '/readyz')).status;
    expect(last).toBe(503);
    expect(await ended).toMatchObject({ code: 0 });
    // What is written is also there under its successor.
    const again = await ask(second, '/v1/execute', { statements, requestId: 'order 1' });
    expect(again).toMatchObject({ status: 200, body: { repeated: true } });
    expect((await ask(second, '/primary')).status).toBe(200);
  });

  it('hands over before it lets a slow read end, so that there is a primary meanwhile', async () => {
    sqlite3(join(folder.path, 'eu-1.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
    const [first, second] = [await freePort(), await freePort()];
    const primary = await start('eu-1', first);
    await start('eu-2', second);
    const isPrimary = async (port: number): Promise<boolean> => (await ask(port, '/primary')).status === 200;
    await eventually('eu-1 is the primary', () => isPrimary(first), PATIENCE_MS);
    const endless = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
    let isReadOver = false;
    const reading = ask(first, '/v1/query', { sql: endless, timeoutMs: 60_000 })
      .catch(() => undefined)
      .finally(() => (isReadOver = true));
    const underWay = async (): Promise<boolean> => {
      const metrics = await (await fetch(`http://127.0.0.1:${first}/metrics`)).text();
      return metrics.includes('antiphon_http_requests 1\n');
    };
    await eventually('it reads', underWay, PATIENCE_MS);

    const ended = primary.stop();
    await eventually('eu-2 is the primary', () => isPrimary(second), PATIENCE_MS);
    expect(isReadOver, 'the read is over').toBe(false);
    const statements = [{ sql: 'INSERT INTO orders VALUES (?, ?)', params: [1, 'new'] }];
    expect(await ask(second, '/v1/execute', { statements })).toMatchObject({ status: 200 });
    expect(isReadOver, 'the read is over').toBe(false);
    await reading;
    expect(await ended).toMatchObject({ code: 0 });
  });

  it('ends with a clear error where the address is in use', async () => {
    sqlite3(join(folder.path, 'eu-1.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
    const port = Number(new URL(server.url).port);
    const config = `cluster: shop\nid: eu-1\nnats: { servers: ${server.url} }\nstore: { sqlite: { file: ./eu-1.db } }\nhttp: { listen: 127.0.0.1:${port} }\n`;
    writeFileSync(join(folder.path, 'eu-1.yaml'), config);
    const { code, stderr } = await new RunningCommand(['run', '--config', 'eu-1.yaml'], { cwd: folder.path })
      .ended;
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('EADDRINUSE') as string });
  });
});
