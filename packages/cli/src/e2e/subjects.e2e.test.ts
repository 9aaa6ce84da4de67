import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PATIENCE_MS, RunningCommand, sqlite3, temporaryFolder } from './antiphon.js';

const HAS_PYTHON = spawnSync('python3', ['--version']).status === 0;
const ORDERS = 30;
/** The primary dies when so many are written. */
const BEFORE = 10;

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer;
const running: RunningCommand[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
  sqlite3(join(folder.path, 'eu-1.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
});
afterEach(async () => {
  for (const command of running.splice(0)) if (command.child.exitCode === null) await command.stop('SIGKILL');
  await server.stop();
  folder.remove();
});

async function start(id: string): Promise<RunningCommand> {
  const config = `cluster: shop
id: ${id}
nats: { servers: ${server.url} }
store: { sqlite: { file: ./${id}.db } }
topology: { mode: primary-replica, primary: eu-1 }
update: { mode: sync, acks: logged }
failover: { mode: automatic }
subjects: true
`;
  writeFileSync(join(folder.path, `${id}.yaml`), config);
  const command = new RunningCommand(['run', '--config', `${id}.yaml`], { cwd: folder.path });
  running.push(command);
  await command.says('Requests on antiphon.shop.read are answered here.');
  return command;
}

/** The program of docs/subjects.md, as it stands there. */
function example(): { readonly lines: () => readonly string[]; readonly ended: Promise<number | null> } {
  const page = readFileSync(new URL('../../../../docs/subjects.md', import.meta.url), 'utf8');
  const [, text = ''] = /```python\n(.*?)```/s.exec(page) ?? [];
  const file = join(folder.path, 'orders.py');
  writeFileSync(file, text);
  const { hostname, port } = new URL(server.url);
  const child = spawn('python3', [file, hostname, port, 'shop', String(ORDERS)]);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (data: string) => void (output += data));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { lines: () => output.split('\n').slice(0, -1), ended };
}

describe('run with subjects', () => {
  it.skipIf(!HAS_PYTHON)(
    'serves a program in Python, whose orders survive the primary, each once',
    async () => {
      const primary = await start('eu-1');
      const other = await start('eu-2');
      const { lines, ended } = example();
      await eventually('some orders', () => lines().length >= BEFORE, {
        timeoutMs: PATIENCE_MS,
        seen: () => lines(),
      });
      await primary.stop('SIGKILL');
      const code = await ended;
      // Whoever reads after order n reads n of them, before and after the failover.
      const expected = Array.from({ length: ORDERS }, (_, n) => `{"order": ${n + 1}, "count": ${n + 1}}`);
      expect({ code, lines: lines() }).toEqual({ code: 0, lines: expected });
      expect(await other.stop()).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('Requests on antiphon.shop.read go to other replicas.') as string,
      });
    },
  );
});
