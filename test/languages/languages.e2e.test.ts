import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { connectNats } from '@antiphon/nats';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica, type Replica } from '@antiphon/replica';
import { type ServedSubjects, serveSubjects } from '@antiphon/server';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GoProgram, whyNoGo } from '../go/go.js';
import { snippet } from './snippets.js';

// What docs/subjects.md and docs/publishing.md show in other languages, as it stands there. The
// longer programs in Python are in packages/cli/src/e2e/subjects.e2e.test.ts and
// packages/replica/src/read/publisher.e2e.test.ts. The title of what cannot run here says why.
const PATIENCE_MS = 30_000;
const has = (command: string, ...args: readonly string[]): boolean => spawnSync(command, args).status === 0;
const titled = (what: string, why: string | undefined): string =>
  why === undefined ? what : `${what} (${why})`;

const noGo = whyNoGo({
  'github.com/nats-io/nats.go': 'golang-github-nats-io-go-nats-dev',
  'github.com/vmihailenco/msgpack/v5': 'golang-github-vmihailenco-msgpack.v5-dev',
});
const noNatsPy = has('python3', '-c', 'import nats') ? undefined : 'no nats-py: pip install nats-py';
const noBash = has('bash', '--version') ? undefined : 'no bash';
const noNats = has('nats', '--version') ? undefined : 'no nats command: https://github.com/nats-io/natscli';

let folder: string;
let server: NatsServer;
let replica: Replica<SqliteTransaction>;
let service: ServedSubjects;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'antiphon-languages-'));
  server = await NatsServer.start({ storeDir: join(folder, 'nats') });
  const file = join(folder, 'eu-1.db');
  const database = new DatabaseSync(file);
  database.exec(`
    CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT);
    CREATE TABLE items (id INTEGER PRIMARY KEY, picture BLOB);
    INSERT INTO orders VALUES (7, 'new'), (8, 'paid');
    INSERT INTO items VALUES (7, x'00ff10');
  `);
  database.close();
  replica = await createReplica({
    ...{ cluster: 'shop', id: 'eu-1', servers: server.url, store: sqlite({ file }) },
    ...{ topology: { mode: 'primary-replica', primary: 'eu-1' }, failover: { mode: 'automatic' } },
    publish: { subject: 'shop.{table}.{op}' },
  });
  service = serveSubjects(replica);
  await eventually('it answers', () => replica.status().lifecycle === 'primary', PATIENCE_MS);
});
afterAll(async () => {
  await service.close();
  await replica.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[]): Promise<Ended> & { readonly child: ChildProcess } {
  const child = spawn(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (data: string) => (stdout += data));
  child.stderr.setEncoding('utf8').on('data', (data: string) => (stderr += data));
  const ended = new Promise<Ended>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr })),
  );
  return Object.assign(ended, { child });
}

/** A file in the folder of the test. */
function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('bash', () => {
  it.skipIf(noBash)(
    titled('writes and reads over subjects, and says when nobody answers', noBash),
    async () => {
      const script = file('ask.sh', snippet('subjects.md', 'bash', '/dev/tcp'));
      const { hostname, port } = new URL(server.url);
      const ask = (subject: string, body: object): Promise<Ended> =>
        run('bash', [script, hostname, port, subject, JSON.stringify(body)]);
      const insert = { sql: 'INSERT INTO orders VALUES (?, ?)', params: [9, 'größer'] };
      const written = await ask('antiphon.shop.write', { statements: [insert], requestId: 'bash-9' });
      expect(written).toMatchObject({ code: 0, stderr: '' });
      expect(JSON.parse(written.stdout)).toMatchObject({ outcome: 'committed' });
      const read = await ask('antiphon.shop.read', { sql: 'SELECT state FROM orders WHERE id = 9' });
      expect(JSON.parse(read.stdout)).toMatchObject({ rows: [{ state: 'größer' }] });
      expect(await ask('antiphon.nobody.read', { sql: 'SELECT 1' })).toMatchObject({
        code: 1,
        stderr: 'Nobody answers on antiphon.nobody.read.\n',
      });
    },
  );
});

describe('the nats command', () => {
  it.skipIf(noNats)(titled('writes, reads, finds the replicas and makes a consumer', noNats), async () => {
    const pages = [
      snippet('subjects.md', 'sh', 'nats request'),
      snippet('subjects.md', 'sh', 'nats service info'),
      snippet('publishing.md', 'bash', 'nats consumer add'),
    ];
    const script = file('nats.sh', `set -e\nexport NATS_URL=${server.url}\n${pages.join('\n')}`);
    const { code, stdout, stderr } = await run('bash', [script]);
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toContain('"state":"paid"');
    expect(stdout).toContain('antiphon-shop');
  });
});

describe('Python', () => {
  it.skipIf(noNatsPy)(titled('reads over subjects with nats-py', noNatsPy), async () => {
    const text = snippet('subjects.md', 'py', 'nats.connect').replace('nats://127.0.0.1:4222', server.url);
    const script = file('orders.py', `${text}\nimport asyncio\nprint(json.dumps(asyncio.run(orders())))\n`);
    const { code, stdout, stderr } = await run('python3', [script]);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toContainEqual({ id: 8, state: 'paid' });
  });
});

/** A fragment of a page as a program: what a page takes for granted goes around it. */
function program(imports: readonly string[], before: string, fragment: string, after = ''): string {
  return `package main

import (
${imports.map((path) => `\t"${path}"`).join('\n')}
)

func main() {
\tnc, err := nats.Connect("${server.url}")
\tif err != nil { log.Fatal(err) }
${before}
${fragment}
${after}
}
`;
}

describe('Go', () => {
  const nats = 'github.com/nats-io/nats.go';

  it.skipIf(noGo)(titled('reads a BLOB over subjects, in MessagePack', noGo), async () => {
    const imports = ['fmt', 'log', 'time', nats, 'github.com/vmihailenco/msgpack/v5'];
    const fragment = snippet('subjects.md', 'go', 'msgpack.Marshal');
    const print = '\tfmt.Println(err, answer.Rows[0].ID, answer.Rows[0].Picture)';
    using go = await GoProgram.build(program(imports, '', fragment, print));
    expect(await run(go.binary, [])).toEqual({ code: 0, stdout: '<nil> 7 [0 255 16]\n', stderr: '' });
  });

  it.skipIf(noGo)(
    titled('handles published changes once, and goes on where it was killed', noGo),
    async () => {
      const imports = ['fmt', 'log', 'os', 'strconv', 'time', nats];
      const before = `\tread, _ := strconv.Atoi(os.Args[1])
\thandled := uint64(read)
\thandle := func(data []byte) { fmt.Println(string(data)) }`;
      using go = await GoProgram.build(
        program(imports, before, snippet('publishing.md', 'go', 'PullSubscribe')),
      );
      const states = (stdout: string): readonly string[] =>
        stdout
          .split('\n')
          .slice(0, -1)
          .map((line) => (JSON.parse(line) as { after: { state: string } }).after.state);
      const follow = async (handled: number, until: string): Promise<readonly string[]> => {
        const running = run(go.binary, [String(handled)]);
        let stdout = '';
        running.child.stdout?.on('data', (data: string) => (stdout += data));
        try {
          const done = (): boolean => states(stdout).at(-1) === until;
          await eventually(`it handles ${until}`, done, { timeoutMs: PATIENCE_MS, seen: () => stdout });
          return states(stdout);
        } finally {
          running.child.kill('SIGKILL');
          await running;
        }
      };
      const write = (state: string): Promise<unknown> =>
        replica.execute([{ sql: 'UPDATE orders SET state = ? WHERE id = 7', params: [state] }]);
      await write('packed');
      await write('sent');
      expect((await follow(0, 'sent')).slice(-2)).toEqual(['packed', 'sent']);
      const handled = await lastPublished();
      await write('delivered');
      expect(await follow(handled, 'delivered')).toEqual(['delivered']);
    },
  );
});

async function lastPublished(): Promise<number> {
  const nats = await connectNats({ servers: server.url });
  try {
    return (await nats.api.streamInfo('ANTIPHON-CHANGES_shop')).state.last_seq;
  } finally {
    await nats.close();
  }
}
