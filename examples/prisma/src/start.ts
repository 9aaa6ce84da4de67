import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NatsServer } from '@antiphon/nats-server';
import { Blog } from './blog.ts';

const folder = mkdtempSync(join(tmpdir(), 'antiphon-prisma-'));
const antiphon = fileURLToPath(import.meta.resolve('@antiphon/cli/bin'));
const daemons: ChildProcess[] = [];

/** `antiphon run --config ID.yaml`, on a file that it makes when there is none. */
function run(id: string, servers: string): void {
  writeFileSync(
    join(folder, `${id}.yaml`),
    `cluster: blog\nid: ${id}\nnats: { servers: ${servers} }\nstore: { sqlite: { file: ${id}.db } }\n` +
      'topology: { mode: primary-replica, primary: eu-1 }\n',
  );
  const args = [antiphon, 'run', '--config', `${id}.yaml`];
  daemons.push(spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] }));
}

function command(...args: readonly string[]): string {
  return execFileSync(process.execPath, [antiphon, ...args], { cwd: folder, encoding: 'utf8' });
}

async function until(isThere: () => boolean): Promise<void> {
  while (!isThere()) await sleep(50);
}

try {
  await using nats = await NatsServer.start({ storeDir: join(folder, 'nats'), obtain: true });

  // As `npx prisma migrate deploy` does, before the replica creates the cluster from this file.
  const database = new DatabaseSync(join(folder, 'eu-1.db'));
  const migration = join(import.meta.dirname, '../prisma/migrations/20261130120000_init/migration.sql');
  database.exec(readFileSync(migration, 'utf8'));
  database.close();
  const { tables } = JSON.parse(command('check', 'eu-1.db', '--json')) as { tables: { name: string }[] };
  console.log('replicated:', tables.map(({ name }) => name).join(', '));

  run('eu-1', nats.url);
  run('eu-2', nats.url);
  const cluster = ['--cluster', 'blog', '--servers', nats.url];
  const health = [antiphon, 'health', '--replica', 'eu-2', ...cluster];
  await until(() => spawnSync(process.execPath, health).status === 0);

  const blog = new Blog(join(folder, 'eu-1.db'));
  const first = await blog.write('Two kinds of clocks', ['time']);
  const second = await blog.write('What a log is', ['time', 'storage']);
  await Promise.all([blog.view(first), blog.view(first), blog.view(second)]);
  await blog.moveTo(first, 'clocks');
  await blog.close();

  // Waits until both have the same, and compares every row.
  console.log(
    'verified:',
    (JSON.parse(command('verify', ...cluster, '--json')) as { outcome: string }).outcome,
  );
  const copy = new Blog(join(folder, 'eu-2.db'));
  for (const line of await copy.index()) console.log('the other replica:', line);
  await copy.close();
} finally {
  for (const daemon of daemons) {
    daemon.kill();
    await until(() => daemon.exitCode !== null || daemon.signalCode !== null);
  }
  rmSync(folder, { recursive: true, force: true });
}
