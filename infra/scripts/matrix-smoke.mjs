import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

// `node matrix-smoke.mjs NATS_SERVER SERVERS`: the built command on this Node.js and that
// nats-server. Three replicas, writes of the command and of another program, kill -9 of the primary
// and, of several servers, of one; then all must hold the same rows. Ends with 1 and why when not.
const [, , natsServer, count] = process.argv;
const SERVERS = Number(count);
const ANTIPHON = fileURLToPath(new URL('../../packages/cli/dist/bin.js', import.meta.url));
const IDS = ['eu-1', 'eu-2', 'eu-3'];
/** On a busy machine. */
const PATIENCE_MS = 120_000;
const WRITES = 3;

const folder = mkdtempSync(join(tmpdir(), 'antiphon-matrix-'));
const children = new Map();

function start(name, command, args) {
  const child = spawn(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const running = { child, output: '', ended: once(child, 'close') };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (running.output += text));
  children.set(name, running);
  return running;
}

async function kill(name, signal) {
  const { child, ended } = children.get(name);
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  return (await ended)[0];
}

async function until(what, condition, seen = () => '') {
  for (const endMs = Date.now() + PATIENCE_MS; Date.now() < endMs; await sleep(100))
    if (await condition()) return;
  throw new Error(`Waited ${PATIENCE_MS} ms in vain: ${what}. ${seen()}`);
}

/** Runs `antiphon … --json` to its end. */
async function antiphon(...args) {
  const running = start(`command ${args[0]}`, process.execPath, [ANTIPHON, ...args]);
  const [code] = await running.ended;
  if (code !== 0) throw new Error(`antiphon ${args.join(' ')} ended with ${code}: ${running.output}`);
  return running.output;
}

async function freePorts(number) {
  const probes = Array.from({ length: number }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(probes.map((probe) => once(probe, 'listening')));
  const ports = probes.map((probe) => probe.address().port);
  await Promise.all(probes.map((probe) => once(probe.close(), 'close')));
  return ports;
}

async function startServers() {
  const ports = await freePorts(2 * SERVERS);
  const routes = ports.slice(SERVERS).map((port) => `nats://127.0.0.1:${port}`);
  for (let n = 0; n < SERVERS; n++) {
    const name = `n${n + 1}`;
    const lines = [
      `server_name: ${name}`,
      `listen: "127.0.0.1:${ports[n]}"`,
      `jetstream { store_dir: ${JSON.stringify(join(folder, name))} }`,
      ...(SERVERS > 1
        ? [
            `cluster { name: matrix, listen: "${routes[n].slice('nats://'.length)}", routes: [${routes.join(', ')}] }`,
          ]
        : []),
    ];
    writeFileSync(join(folder, `${name}.conf`), lines.join('\n'));
    start(name, natsServer, ['-c', `${name}.conf`]);
  }
  return ports.slice(0, SERVERS).map((port) => `nats://127.0.0.1:${port}`);
}

/** With what `init` leaves to choose. */
async function writeConfig(id, servers) {
  await antiphon(
    'init',
    '--cluster',
    'matrix',
    '--id',
    id,
    '--servers',
    servers.join(),
    '--file',
    `${id}.db`,
    '--output',
    `${id}.yaml`,
  );
  const file = join(folder, `${id}.yaml`);
  const copies = readFileSync(file, 'utf8').replace(/^nats:$/m, `nats:\n  streamReplicas: ${SERVERS}`);
  writeFileSync(
    file,
    `${copies}\ntopology: { mode: primary-replica, primary: eu-1 }\nfailover: { mode: automatic }\n`,
  );
}

async function run(id) {
  const running = start(id, process.execPath, [ANTIPHON, 'run', '--config', `${id}.yaml`]);
  const runs = () => {
    if (running.child.exitCode !== null) throw new Error(`${id} ended: ${running.output}`);
    return running.output.includes(`Replica ${id} takes part in matrix.`);
  };
  await until(`${id} runs`, runs, () => running.output);
}

/** As another program: SQLite alone, on the file of a replica. */
async function onFile(id, sql) {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(join(folder, `${id}.db`));
  try {
    database.exec('PRAGMA busy_timeout = 5000');
    return /^SELECT/.test(sql) ? database.prepare(sql).get() : database.exec(sql);
  } finally {
    database.close();
  }
}

let written = 0;

async function write(id) {
  for (let n = 0; n < WRITES; n++) {
    const config = ['--config', `${id}.yaml`, '--timeout', '60'];
    await antiphon('exec', `INSERT INTO orders VALUES (${++written}, 'of the command')`, ...config);
  }
}

async function smoke() {
  mkdirSync(folder, { recursive: true });
  const servers = await startServers();
  await onFile('eu-1', 'CREATE TABLE orders (id INTEGER PRIMARY KEY, text TEXT NOT NULL)');
  for (const id of IDS) await writeConfig(id, servers);
  for (const id of IDS) await run(id);
  await write('eu-2');
  await onFile('eu-1', `INSERT INTO orders VALUES (${++written}, 'of another program')`);
  const captured = async (id) => (await onFile(id, 'SELECT count(*) AS n FROM orders')).n === written;
  await until('eu-3 has what another program wrote', () => captured('eu-3'));
  await kill('eu-1', 'SIGKILL');
  await write('eu-3');
  await run('eu-1');
  if (SERVERS > 1) {
    await kill('n1', 'SIGKILL');
    await write('eu-2');
    start('n1', natsServer, ['-c', 'n1.conf']);
  }
  for (const id of IDS) await until(`${id} has all ${written} rows`, () => captured(id));
  const { outcome } = JSON.parse(await antiphon('verify', '--config', 'eu-2.yaml', '--json'));
  if (outcome !== 'equal') throw new Error(`verify says ${outcome}.`);
  await antiphon('status', '--check', '--config', 'eu-2.yaml');
  for (const id of IDS.toReversed()) {
    const code = await kill(id, 'SIGTERM');
    if (code !== 0) throw new Error(`${id} ended with ${code}: ${children.get(id).output}`);
  }
}

try {
  await smoke();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  for (const name of children.keys()) await kill(name, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
