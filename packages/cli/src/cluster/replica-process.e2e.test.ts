import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { NatsServer } from '@antiphon/nats-server';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { temporaryFolder } from '../e2e/antiphon.js';
import type * as Module from './replica-process.js';

// The built one: it starts the command beside it.
const BUILT = new URL('../../dist/cluster/replica-process.js', import.meta.url).href;
const { ReplicaProcess } = (await import(BUILT)) as typeof Module;

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer;
let replica: Module.ReplicaProcess | undefined;

beforeEach(async () => {
  folder = temporaryFolder();
  server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
});

afterEach(async () => {
  await replica?.stop();
  await server.stop();
  folder.remove();
});

function processOf(id: string, startSilenceMs: number, more = ''): Module.ReplicaProcess {
  const configFile = join(folder.path, `${id}.yaml`);
  const file = join(folder.path, `${id}.db`);
  writeFileSync(
    configFile,
    `{ cluster: shop, id: ${id}, nats: { servers: '${server.url}' }, store: { sqlite: { file: '${file}' } }${more} }`,
  );
  const logFile = join(folder.path, `${id}.log`);
  replica = new ReplicaProcess({ id, configFile, logFile, startSilenceMs, onEvent: () => undefined });
  return replica;
}

it('a start takes as long as the database is large, when it gets on', async () => {
  const db = new DatabaseSync(join(folder.path, 'a.db'));
  db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
    WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000000)
    INSERT INTO t SELECT x, 'row ' || x FROM n;`);
  db.close();
  const silenceMs = 4000;
  const beganAtMs = performance.now();
  await processOf('a', silenceMs).start(AbortSignal.timeout(240_000));
  expect(performance.now() - beganAtMs).toBeGreaterThan(silenceMs);
});

it('a start that does not get on is given up, and the log says why', async () => {
  // Nobody has tables to create the cluster with.
  await expect(
    processOf('b', 6000, ', limits: { connectTimeoutMs: 500 }').start(AbortSignal.timeout(60_000)),
  ).rejects.toMatchObject({
    code: 'TIMEOUT',
    message: expect.stringMatching(/nothing has moved for 6 s[^]*does not exist yet/) as unknown,
  });
});
