import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  antiphon,
  antiphonJson,
  type Ended,
  PATIENCE_MS,
  RunningCommand,
  sqlite3,
  temporaryFolder,
} from './antiphon.js';

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
const ask = (...args: string[]): Promise<Ended> => antiphon(args, { cwd: path('a') });
const json = <T>(...args: string[]): Promise<T> => antiphonJson<T>(args, { cwd: path('a') });

/** What is written is sent after an hour. */
async function run(id: string): Promise<RunningCommand> {
  mkdirSync(path(id), { recursive: true });
  writeFileSync(
    join(path(id), 'antiphon.yaml'),
    `cluster: shop\nid: ${id}\nnats: { servers: ${server.url} }\nstore: { sqlite: { file: ./${id}.db } }\n` +
      'topology: { mode: primary-replica, primary: a }\nupdate: { mode: async, intervalMs: 3600000 }\n' +
      'failover: { mode: manual }\n',
  );
  const command = new RunningCommand(['run'], { cwd: path(id) });
  running.set(id, command);
  await command.says('takes part in shop');
  return command;
}

const file = (id: string): string => join(path(id), `${id}.db`);

it('I9, I10: a primary is killed, another one takes over, and what was lost is written again', async () => {
  mkdirSync(path('a'));
  sqlite3(file('a'), "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one')");
  const a = await run('a');
  await run('b');
  await eventually('b has it', () => sqlite3(file('b'), 'SELECT v FROM t').stdout === 'one', PATIENCE_MS);
  await json('exec', "INSERT INTO t VALUES (2, 'it''s only here')");
  await json('exec', "UPDATE t SET v = 'mine' WHERE id = 1");
  expect(await ask('failover', 'b', '--yes')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/a, the primary of shop, still answers.*--force/) as unknown,
  });
  expect((await ask('failover', 'c')).stderr).toMatch(/There is no replica "c"/);
  await a.stop('SIGKILL');
  // In its folder, others are asked in its place.
  const instead = '! a does not answer (NO_ACTOR). b is asked instead.\n';
  expect(await ask('query', 'SELECT v FROM t')).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(instead) as unknown,
  });
  expect((await ask('query', '--replica', 'a', 'SELECT v FROM t')).stderr).toMatch(/NO_ACTOR/);
  expect(await ask('failover', 'b')).toMatchObject({
    code: 2,
    stdout: expect.stringMatching(/a does not answer\. \d+ s ago it was primary/) as unknown,
    stderr: expect.stringMatching(/--yes/) as unknown,
  });
  const taken = await ask('failover', 'b', '--yes');
  expect(taken).toMatchObject({ code: 0, stderr: '' });
  expect(taken.stdout).toMatch(/What a has committed .* rescue ledger: 2 transactions then/);
  expect(taken.stdout).toMatch(/b is the primary, in epoch 2, since entry \d+ of the log/);
  expect((await ask('failover', 'b', '--yes')).stdout).toMatch(/b is the primary, in epoch 2/);
  // Writers find it, with nothing but the name of the cluster.
  const elsewhere = ['--servers', server.url, '--cluster', 'shop'];
  const exec = ['exec', ...elsewhere, "UPDATE t SET v = 'theirs' WHERE id = 1"];
  expect((await antiphon(exec, { cwd: folder.path })).stdout).toMatch(/changed on b/);
  expect(await ask('exec', "UPDATE t SET v = 'theirs' WHERE id = 1")).toMatchObject({
    ...{ code: 0, stdout: expect.stringMatching(/changed on b/) as unknown, stderr: instead },
  });
  expect((await ask('status', '--history')).stdout).toMatch(/\bb\b.*forced/);

  await run('a');
  await eventually(
    'a follows, with a ledger',
    async () => /2 kept/.test((await ask('rescue', 'list')).stdout),
    PATIENCE_MS,
  );
  expect(sqlite3(file('a'), 'SELECT * FROM t').stdout).toBe('1|one');
  const health = await ask('health', '--replica', 'a');
  expect(health).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/2 transactions of a had not come into the log/) as unknown,
  });
  const status = await ask('status');
  expect(status.stdout).toMatch(/primary-replica, primary b/);
  expect(status.stdout).toMatch(/epoch 2: b is the primary since \d{4}-.*\(forced\)/);
  expect(status.stdout).toMatch(/a: 2 transactions of a .* `antiphon rescue list --replica a`/);
  expect((await ask('status', '--history')).stdout).toMatch(
    /\n +1 +a +\d+ +restart +a .*\n +2 +b +\d+ +forced +b /,
  );
  const { epochs } = await json<{ epochs: object[] }>('status', '--history');
  expect(epochs).toMatchObject([
    { number: 0, primary: 'a' },
    { number: 1, primary: 'a', began: { why: 'restart', by: 'a' } },
    { number: 2, primary: 'b', began: { why: 'forced', by: 'b', leaves: [] } },
  ]);

  const { replicas } = await json<{
    replicas: { id: string; transactions: { id: number; transaction: string }[] }[];
  }>('rescue', 'list');
  const [first, second] = replicas.find(({ id }) => id === 'a')?.transactions ?? [];
  const [id, secondId] = [String(first?.id), String(second?.id)];
  expect((await ask('outcome', first?.transaction ?? '')).stdout).toMatch(/rejected/);
  expect((await ask('rescue', 'show', id)).stdout).toMatch(
    /insert t 2\n +before no row\n +after {2}\{"id":2,"v":"it's only here"\}\n +here {3}no row/,
  );
  // With the row that keeps its request from being written a second time.
  expect((await ask('rescue', 'export', id)).stdout).toMatch(
    /^\{"table":"t","op":"insert","key":\[2\],"after":\{"id":2,"v":"it's only here"\}\}\n.*"_antiphon_requests".*\n$/,
  );
  expect((await ask('rescue', 'export', secondId, '--sql')).stdout).toMatch(
    /^BEGIN;\nUPDATE "t" SET "v" = 'mine' WHERE "id" IS 1 AND "v" IS 'one' COLLATE BINARY;\n.*"_antiphon_requests".*\nCOMMIT;\n$/,
  );
  const again = await ask('rescue', 'reapply', id, secondId);
  expect(again.code).toBe(1);
  expect(again.stdout).toMatch(/a: \d+ was written again as b:\d+ on b: 2 rows\n/);
  expect(again.stdout).toMatch(
    /a: \d+ was not written: 1 row on b.*\n +t 1\n.*"one".*\n.*"mine".*\n.*"theirs"/,
  );
  expect(sqlite3(file('b'), 'SELECT * FROM t').stdout).toBe("1|theirs\n2|it's only here");
  expect(await json('rescue', 'reapply', secondId, '--force')).toMatchObject({
    outcome: 'reapplied',
    primary: 'b',
  });
  expect(sqlite3(file('b'), 'SELECT v FROM t WHERE id = 1').stdout).toBe('mine');
  for (const command of ['reapply', 'dismiss'])
    expect(await ask('rescue', command, ...(command === 'dismiss' ? ['--yes'] : []), id)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/was written again before as b:\d+: nothing is left to do\n$/) as string,
    });
  expect((await ask('rescue', 'list')).stdout).toMatch(/a: nothing is kept/);
  expect((await ask('rescue', 'list', '--all')).stdout).toMatch(/reapplied as b:\d+/);
  expect((await ask('health', '--replica', 'a')).code).toBe(0);

  // Back, while b runs: what b had not sent is kept there.
  expect(await json('failover', 'a', '--force', '--yes')).toMatchObject({
    epoch: 3,
    primary: 'a',
    elected: true,
  });
  await eventually(
    'b has a ledger: two of `exec`, two that were written again',
    async () => /b: 4 kept/.test((await ask('rescue', 'list')).stdout),
    PATIENCE_MS,
  );
  expect(await ask('rescue', 'dismiss', 'all', '--yes')).toMatchObject({
    ...{ code: 0, stderr: '' },
    stdout: expect.stringMatching(/b: b:\d+ \(1\) is dismissed/) as unknown,
  });
  expect((await ask('status', '--check')).code).toBe(0);

  // Asked while it cannot answer, it does not hand over when nobody waits for that any more.
  const { pid = -1 } = running.get('a') ?? {};
  process.kill(pid, 'SIGSTOP');
  const late = await ask('switchover', 'b', '--timeout', '3');
  process.kill(pid, 'SIGCONT');
  expect(late).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /a, the primary of shop, does not answer, and stays the primary/,
    ) as unknown,
  });
  await eventually('a answers', async () => (await ask('health')).code === 0, PATIENCE_MS);
  expect((await ask('status')).stdout).toMatch(/epoch 3: a is the primary/);
});

it('I3, I9: a primary leaves for good: it hands over, sends what it has, and ends in good order', async () => {
  mkdirSync(path('a'));
  sqlite3(file('a'), "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one')");
  const a = await run('a');
  await run('b');
  await eventually('b has it', () => sqlite3(file('b'), 'SELECT v FROM t').stdout === 'one', PATIENCE_MS);
  await json('exec', "INSERT INTO t VALUES (2, 'not sent yet')");
  const nobody = await ask('member', 'leave', 'aa', '--yes');
  expect(nobody).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/There is no replica "aa" in cluster shop\. Did you mean "a"\?/) as string,
  });
  const unasked = await ask('member', 'leave', 'a');
  expect(unasked).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/Let a leave shop for good\?.* Confirm it with `--yes`/) as string,
  });
  expect(await json('member', 'leave', 'a', '--yes')).toEqual({
    removed: 'a',
    members: ['b'],
    handedOverTo: 'b',
  });
  expect((await a.ended).code).toBe(0);
  expect(sqlite3(file('b'), 'SELECT v FROM t WHERE id = 2').stdout).toBe('not sent yet');
  const refused = await ask('member', 'leave', 'b');
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('Only b itself answers') as string,
  });
});
