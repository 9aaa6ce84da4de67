import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { NatsServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { antiphonJson, PATIENCE_MS, RunningCommand, sqlite3, temporaryFolder } from './antiphon.js';

/** It does not end while the test runs. */
const ENDLESS =
  "INSERT INTO t SELECT max(x), 'long' FROM " +
  '(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000000) SELECT x FROM n)';

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer;
const running = new Map<string, RunningCommand>();

beforeEach(async () => {
  folder = temporaryFolder();
  server = await NatsServer.start({ storeDir: path('nats') });
});

afterEach(async () => {
  for (const { child } of running.values()) if (child.exitCode === null) child.kill('SIGKILL');
  running.clear();
  await server.stop();
  folder.remove();
});

const path = (name: string): string => join(folder.path, name);
const file = (id: string): string => join(path(id), `${id}.db`);

/** `priority`: 0 never takes over. */
async function run(id: string, priority = 50): Promise<RunningCommand> {
  mkdirSync(path(id), { recursive: true });
  if (id === 'a') sqlite3(file('a'), 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  writeFileSync(
    join(path(id), 'antiphon.yaml'),
    `cluster: shop\nid: ${id}\nnats: { servers: ${server.url} }\nstore: { sqlite: { file: ./${id}.db } }\n` +
      `topology: { mode: primary-replica, primary: a }\nfailoverPriority: ${priority}\n` +
      'update: { mode: sync }\nfailover: { mode: automatic }\n',
  );
  const command = new RunningCommand(['run'], { cwd: path(id) });
  running.set(id, command);
  await command.says('takes part in shop');
  return command;
}

/** Of a machine that knows the name of the cluster, and no replica. */
const elsewhere = ['--servers', '', '--cluster', 'shop'];
const args = (...given: string[]): string[] => [...given, ...elsewhere.map((arg) => arg || server.url)];

function exec(sql: string, ...options: string[]): RunningCommand {
  const command = new RunningCommand(args('exec', sql, '--json', ...options), { cwd: folder.path });
  running.set(sql, command);
  return command;
}

/** Without an epoch, it has not answered. */
interface Status {
  readonly id: string;
  readonly epoch?: { readonly primary: string };
  readonly sync?: { readonly waiting: number; readonly inFlight: number };
}

const says = (id: string, what: string, is: (status: Status) => boolean): Promise<unknown> =>
  eventually(
    `${id} ${what}`,
    async () => {
      const { replicas } = await antiphonJson<{ replicas: Status[] }>(args('status'), { cwd: folder.path });
      return replicas.some((replica) => replica.id === id && is(replica));
    },
    PATIENCE_MS,
  );

const follows = (id: string, primary: string): Promise<unknown> =>
  says(id, `follows ${primary}`, ({ epoch }) => epoch?.primary === primary);
const isBusy = (id: string): Promise<unknown> =>
  says(id, 'is in the write', ({ epoch }) => epoch === undefined);

it('I10: exec goes on under the same id when its primary stops answering and is replaced', async () => {
  const a = await run('a');
  await run('b');
  await run('c', 0);
  for (const id of ['b', 'c']) await follows(id, 'a');
  const locked = new DatabaseSync(file('a'));
  locked.exec('BEGIN IMMEDIATE');
  const command = exec("INSERT INTO t VALUES (1, 'one')", '--timeout', '120');
  await says('a', 'has it', ({ sync }) => sync !== undefined && sync.waiting + sync.inFlight > 0);
  process.kill(a.pid, 'SIGSTOP');
  try {
    const { code, stdout, stderr } = await command.ended;
    expect(stderr).toMatch(
      /^\{"warning":"a does not answer any more\. [bc] is asked under the same id\."\}\n$/,
    );
    expect(code).toBe(0);
    const written = JSON.parse(stdout) as { requestId: string };
    expect(written).toMatchObject({ outcome: 'committed', replica: 'b', changes: [1] });
    expect(written).not.toHaveProperty('repeated');
    const again = exec("INSERT INTO t VALUES (1, 'one')", '--request-id', written.requestId);
    expect(JSON.parse((await again.ended).stdout)).toMatchObject({ repeated: true, changes: [1] });
  } finally {
    locked.close();
    process.kill(a.pid, 'SIGCONT');
  }
  await follows('a', 'b');
  await eventually('a has it', () => sqlite3(file('a'), 'SELECT * FROM t').stdout === '1|one', PATIENCE_MS);
});

it('I10: exec waits for a follower that was named, and is silent for a while', async () => {
  await run('a');
  const b = await run('b');
  await follows('b', 'a');
  process.kill(b.pid, 'SIGSTOP');
  const command = exec(
    "INSERT INTO t VALUES (1, 'one')",
    '--replica',
    'b',
    '--acks',
    'local',
    '--timeout',
    '30',
  );
  // Longer than it takes to find out how the cluster is, and to look twice at b.
  await new Promise((resolve) => setTimeout(resolve, 9000));
  process.kill(b.pid, 'SIGCONT');
  const { code, stdout } = await command.ended;
  expect(JSON.parse(stdout)).toMatchObject({ outcome: 'committed', replica: 'a', changes: [1] });
  expect(code).toBe(0);
});

it('I10: exec asks no third primary for what two have died over, and says how to go on', async () => {
  const a = await run('a');
  const b = await run('b');
  await run('c', 0);
  for (const id of ['b', 'c']) await follows(id, 'a');
  const command = exec(ENDLESS, '--timeout', '120');
  await isBusy('a');
  await a.stop('SIGKILL');
  await follows('c', 'b');
  await isBusy('b');
  await b.stop('SIGKILL');
  const { code, stdout, stderr } = await command.ended;
  expect(code).toBe(1);
  const { requestId } = JSON.parse(stdout) as { requestId: string };
  expect(JSON.parse(stdout)).toMatchObject({ outcome: 'unknown', transaction: null });
  expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
  expect(stderr).toContain('2 primaries lost their role while they had the write.');
  expect(stderr).toContain(`outcome '${requestId}'`);
  expect(stderr).toContain(`--request-id '${requestId}'`);
});
