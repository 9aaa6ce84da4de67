/**
 * Runs two replicas as daemons (`antiphon run`) and a writer that is not one of us, kills the
 * daemon beside the writer, starts it again, and shows that every reading arrives in the other
 * file. `--writer sh` takes the sqlite3 shell in place of Python.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NatsServer } from '@antiphon/nats-server';

const READINGS = 150;
const KILLED_AT = 50;
const BACK_AT = 100;
const TIMEOUT_MS = 60_000;
const ANTIPHON = fileURLToPath(import.meta.resolve('@antiphon/cli/bin'));

const folder = mkdtempSync(join(tmpdir(), 'antiphon-foreign-'));
const nats = await NatsServer.start({ storeDir: join(folder, 'nats'), obtain: true });
const daemons: ChildProcess[] = [];

/** Resolves when the replica runs. */
async function run(id: string): Promise<ChildProcess> {
  const file = join(folder, `${id}.yaml`);
  writeFileSync(
    file,
    `cluster: weather\nid: ${id}\nnats: { servers: ${nats.url} }\nstore: { sqlite: { file: ./${id}.db } }\n`,
  );
  const daemon = spawn(process.execPath, [ANTIPHON, 'run', '--config', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  daemons.push(daemon);
  const lines = createInterface({ input: daemon.stdout });
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      if (line.includes(`Replica ${id} takes part in weather.`)) resolve();
    });
    daemon.once('exit', (code) => reject(new Error(`${id} ended with ${String(code)}.`)));
  });
  return daemon;
}

async function kill(daemon: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const ended = once(daemon, 'exit');
  daemon.kill(signal);
  await ended;
}

function writerCommand(): readonly [command: string, script: string] {
  const wanted = process.argv[process.argv.indexOf('--writer') + 1];
  const python = spawnSync('python3', ['--version']).status === 0;
  const sources = fileURLToPath(new URL('.', import.meta.url));
  return wanted !== 'sh' && python
    ? ['python3', join(sources, 'writer.py')]
    : ['sh', join(sources, 'writer.sh')];
}

async function write(database: string, beside: ChildProcess): Promise<void> {
  const [command, script] = writerCommand();
  const writer = spawn(command, [script, database, String(READINGS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(writer, 'exit');
  console.log(`${command} writes ${READINGS} readings to eu-1.db.`);
  for await (const line of createInterface({ input: writer.stdout })) {
    const number = Number(line);
    if (number === KILLED_AT) {
      await kill(beside, 'SIGKILL');
      console.log('The replica beside it is killed (kill -9). It goes on writing.');
    }
    if (number === BACK_AT) {
      await run('eu-1');
      console.log('The replica is back.');
    }
  }
  const [code] = (await ended) as [number | null];
  if (code !== 0) throw new Error(`The writer ended with ${String(code)}.`);
}

function readings(id: string): { readonly number: number; readonly value: number; readonly total: number } {
  const database = new DatabaseSync(join(folder, `${id}.db`), { readOnly: true, timeout: 5000 });
  try {
    const sql =
      'SELECT count(*) AS number, coalesce(sum(value), 0) AS value, coalesce(max(total), 0) AS total FROM readings';
    return { ...database.prepare(sql).get() } as ReturnType<typeof readings>;
  } finally {
    database.close();
  }
}

try {
  const database = new DatabaseSync(join(folder, 'eu-1.db'));
  database.exec(
    'CREATE TABLE readings (number INTEGER PRIMARY KEY, value INTEGER NOT NULL, total INTEGER NOT NULL)',
  );
  database.close();
  const daemon = await run('eu-1');
  await run('eu-2');
  await write(join(folder, 'eu-1.db'), daemon);
  for (const endMs = Date.now() + TIMEOUT_MS; readings('eu-2').number < READINGS; await sleep(20))
    if (Date.now() > endMs) throw new Error(`eu-2 has ${readings('eu-2').number} readings of ${READINGS}.`);
  const [here, there] = [readings('eu-1'), readings('eu-2')];
  console.log('eu-1.db:', here);
  console.log('eu-2.db:', there);
  if (JSON.stringify(here) !== JSON.stringify(there)) throw new Error('They are not the same.');
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  for (const daemon of daemons) await kill(daemon, 'SIGTERM');
  await nats.stop();
  rmSync(folder, { recursive: true, force: true });
}
