import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  antiphon,
  antiphonJson,
  freePort,
  RunningCommand,
  sqlite3,
  temporaryFolder,
  type Where,
  PATIENCE_MS,
} from './antiphon.js';
import { eventually } from '@antiphon/testing';

let folder: ReturnType<typeof temporaryFolder>;
let where: Where;
let port: number;
let server: NatsServer;
const running: RunningCommand[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  where = { cwd: folder.path };
  port = await freePort();
  server = await NatsServer.start({ storeDir: path('nats'), port });
});

afterEach(async () => {
  for (const command of running.splice(0)) {
    command.child.kill('SIGCONT');
    if (command.child.exitCode === null && command.child.signalCode === null) await command.stop('SIGKILL');
  }
  await server.stop();
  folder.remove();
});

const path = (name: string): string => join(folder.path, name);

/** One configuration file; two of them may name one id, or one database. */
function config(name: string, id: string, file = `${id}.db`, update = 'async'): string {
  writeFileSync(
    path(`${name}.yaml`),
    `cluster: shop\nid: ${id}\nnats: { servers: nats://127.0.0.1:${port} }\n` +
      `store: { sqlite: { file: ./${file} } }\ntopology: { mode: multi-primary }\nupdate: ${update}\n`,
  );
  return `${name}.yaml`;
}

async function run(file: string): Promise<RunningCommand> {
  const command = new RunningCommand(['run', '--config', file], where);
  running.push(command);
  await command.says('takes part in shop');
  return command;
}

const UPDATES = ['{ mode: async }', '{ mode: sync, acks: majority, minInSync: 1 }'];

describe.each(UPDATES)('a process that was paused while another one took its place, update %s', (update) => {
  it('ends with DUPLICATE_REPLICA, and the one that has the file serves', async () => {
    sqlite3(path('eu-1.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
    const paused = await run(config('eu-1', 'eu-1', 'eu-1.db', update));
    await run(config('eu-2', 'eu-2', 'eu-2.db', update));
    process.kill(paused.pid, 'SIGSTOP');
    const owner = await run('eu-1.yaml');
    const insert = (id: number): readonly string[] => [
      ...['exec', '--config', 'eu-2.yaml', '--replica', 'eu-1'],
      `INSERT INTO orders VALUES (${id}, 'new')`,
    ];
    await antiphonJson(insert(1), where);
    process.kill(paused.pid, 'SIGCONT');
    const ended = await paused.ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain('DUPLICATE_REPLICA');
    await antiphonJson(insert(2), where);
    await eventually(
      'both rows are everywhere',
      () => sqlite3(path('eu-2.db'), 'SELECT count(*) FROM orders').stdout === '2',
      PATIENCE_MS,
    );
    expect(owner.child.exitCode).toBeNull();
    const status = await antiphonJson<{ replicas: readonly { id: string; lifecycle: string }[] }>(
      ['status', '--config', 'eu-2.yaml'],
      where,
    );
    expect(status.replicas.map(({ id, lifecycle }) => `${id} ${lifecycle}`)).toEqual([
      'eu-1 following',
      'eu-2 following',
    ]);
  });

  it('ends as well when the other one has a file of its own: the one that started last serves', async () => {
    sqlite3(path('eu-1.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
    await run(config('eu-1', 'eu-1', 'eu-1.db', update));
    const paused = await run(config('eu-2', 'eu-2', 'eu-2.db', update));
    process.kill(paused.pid, 'SIGSTOP');
    const owner = await run(config('eu-2-anew', 'eu-2', 'eu-2-anew.db', update));
    process.kill(paused.pid, 'SIGCONT');
    const ended = await paused.ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain('DUPLICATE_REPLICA');
    const insert = `INSERT INTO orders VALUES (1, 'new')`;
    await antiphonJson(['exec', '--config', 'eu-1.yaml', '--replica', 'eu-2', insert], where);
    await eventually(
      'the row has arrived',
      () => sqlite3(path('eu-1.db'), 'SELECT count(*) FROM orders').stdout === '1',
      PATIENCE_MS,
    );
    expect(owner.child.exitCode).toBeNull();
  });
});

describe('antiphon member remove', () => {
  it('takes a member out that is gone, refuses one that runs, and one that was paused ends when it goes on', async () => {
    const update = '{ mode: sync, acks: majority, minInSync: 1 }';
    sqlite3(path('eu-1.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
    await run(config('eu-1', 'eu-1', 'eu-1.db', update));
    const second = await run(config('eu-2', 'eu-2', 'eu-2.db', update));
    const third = await run(config('eu-3', 'eu-3', 'eu-3.db', update));
    const remove = (...args: string[]) =>
      antiphon(['member', 'remove', '--config', 'eu-1.yaml', ...args], where);

    const refused = await remove('eu-2', '--json');
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'MEMBER_RUNNING' } });
    const unknown = await remove('eu-9', '--json');
    expect(JSON.parse(unknown.stderr)).toMatchObject({ error: { code: 'BAD_OPTION' } });

    expect((await second.stop()).code).toBe(0);
    const removed = await remove('eu-2', '--json');
    expect(JSON.parse(removed.stdout)).toMatchObject({
      removed: 'eu-2',
      members: ['eu-1', 'eu-3'],
      sync: { known: ['eu-1', 'eu-3'] },
    });

    process.kill(third.pid, 'SIGSTOP');
    await eventually(
      'eu-3 is not in sync any more',
      async () => {
        const { stdout } = await antiphon(['status', '--config', 'eu-1.yaml', '--json'], where);
        return (JSON.parse(stdout) as { replicas: { sync?: { inSync: string[] } }[] }).replicas.some(
          ({ sync }) => sync?.inSync.join() === 'eu-1',
        );
      },
      PATIENCE_MS,
    );
    const { stdout } = await remove('eu-3');
    expect(stdout).toMatch(
      /^eu-3 is no longer a member\. Members: eu-1\nFrom entry \d+ of the log on, a majority is 1 of 1 \(eu-1\)\.\n/,
    );
    process.kill(third.pid, 'SIGCONT');
    const ended = await third.ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain('MEMBER_REMOVED');

    await run('eu-3.yaml');
    const insert = `INSERT INTO orders VALUES (1, 'new')`;
    await eventually(
      'it takes part again',
      async () => {
        const { stdout: answer } = await antiphon(
          [
            'exec',
            '--config',
            'eu-1.yaml',
            '--replica',
            'eu-3',
            `${insert} ON CONFLICT DO NOTHING`,
            '--json',
          ],
          where,
        );
        return answer.includes('committed');
      },
      PATIENCE_MS,
    );
    await eventually(
      'its row has arrived',
      () => sqlite3(path('eu-1.db'), 'SELECT count(*) FROM orders').stdout === '1',
      PATIENCE_MS,
    );
  });
});
