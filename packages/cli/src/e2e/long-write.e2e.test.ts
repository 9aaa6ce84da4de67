import { writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { antiphon, PATIENCE_MS, RunningCommand, temporaryFolder } from './antiphon.js';

/** Rows that are counted one by one, for most of a minute: it is killed before it ends. */
const LONG_STATEMENT = `INSERT INTO orders SELECT 7, count(*) FROM (
  WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 400000000) SELECT i FROM n)`;
const CLUSTER = {
  cluster: 'shop',
  topology: { mode: 'primary-replica', primary: 'eu-1' },
  failover: { mode: 'automatic', leaseMs: 1000, renewMs: 250, marginMs: 100 },
} as const;
const SAID = /The primary eu-1 has been inside of one write for \d+ s\./;

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer;
let primary: RunningCommand;

beforeEach(async () => {
  folder = temporaryFolder();
  server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
  const db = new DatabaseSync(join(folder.path, 'eu-1.db'));
  db.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
  db.close();
  const store = { sqlite: { file: join(folder.path, 'eu-1.db') } };
  // However long the commands take that are started beside it.
  const limits = { blockedMs: 180_000 };
  const config = { ...CLUSTER, id: 'eu-1', nats: { servers: [server.url] }, store, limits };
  writeFileSync(join(folder.path, 'eu-1.yaml'), JSON.stringify(config));
  primary = new RunningCommand(['run', '--config', 'eu-1.yaml'], { cwd: folder.path });
  await primary.says('takes part in shop');
}, PATIENCE_MS);
afterEach(async () => {
  await primary.stop('SIGKILL');
  await server.stop();
  folder.remove();
});

it(
  'that the primary is inside of a long write is said wherever somebody looks',
  { timeout: 2 * PATIENCE_MS },
  async () => {
    const store = sqlite({ file: join(folder.path, 'eu-2.db') });
    await using follower = await createReplica({ ...CLUSTER, id: 'eu-2', servers: server.url, store });
    const target = ['--servers', server.url, '--cluster', 'shop'];
    const exec = ['exec', LONG_STATEMENT, '--replica', 'eu-1', '--timeout', '60', ...target];
    const run = (...args: string[]): ReturnType<typeof antiphon> =>
      antiphon([...args, ...target], { cwd: folder.path });
    const alarm = (): string | undefined =>
      follower.status().alarms.find(({ name }) => name === 'long-write')?.message;

    const writing = new RunningCommand(exec, { cwd: folder.path });
    await eventually(
      'eu-2 hears of it',
      () => follower.status().members.some(({ writingMs = 0 }) => writingMs > 1000),
      PATIENCE_MS,
    );
    const insert = { sql: 'INSERT INTO orders VALUES (1, NULL)' };
    const [status, checked, explained, health, doctor, waiting] = await Promise.all([
      run('status'),
      run('status', '--check'),
      run('explain-candidate'),
      run('health', '--replica', 'eu-1', '--timeout', '1'),
      run('doctor'),
      follower.execute([insert], { timeoutMs: 1000 }).catch((error: unknown) => error),
    ]);
    const said = expect.stringMatching(SAID) as string;
    expect(status.stdout).toMatch(/\neu-1 +primary +in a long write/);
    expect(status.stdout).toMatch(SAID);
    expect(checked).toMatchObject({ code: 1, stderr: said });
    expect(explained.stdout).toMatch(SAID);
    expect(explained.stdout).toContain('takes its place when the write takes longer');
    expect(health).toMatchObject({ code: 1, stderr: said });
    expect(doctor.stdout).toContain('failover: eu-2 would take over from eu-1');
    expect(doctor.stdout).toMatch(new RegExp(`warn +${SAID.source}`));
    expect(waiting).toMatchObject({ code: 'OUTCOME_UNKNOWN', message: said });

    await eventually('eu-2 raises an alarm', () => SAID.test(alarm() ?? ''), PATIENCE_MS);
    expect(follower.healthcheck(), 'others read on').toMatchObject({ ready: true, problems: [] });
    await primary.stop('SIGKILL');
    await writing.stop('SIGKILL');
    await eventually('the alarm is over', () => alarm() === undefined, PATIENCE_MS);
  },
);
