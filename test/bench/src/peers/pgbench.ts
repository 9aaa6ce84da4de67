import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { benchRow } from '../rows.js';
import type { PostgresServer } from './postgres-server.js';

/**
 * One row a transaction, prepared. The key counts on, the numbers change with it, and the texts are
 * those of one row: pgbench cannot make texts, and a script of its own for each row would be
 * prepared anew on each connection.
 */
const SCRIPT = `\\set n :n + 1
\\set id :first + :client_id * :each + :n - 1
\\set customer :id * 48271 % 100003
\\set amount :customer % 9973 / 8.0
\\set quantity :id % 17
INSERT INTO orders VALUES (:id, :customer, :name, :email, :amount, :quantity, :note, :reference);
`;
const THREADS = 2;
const US_PER_MS = 1000;
const SHOWN_CHARACTERS = 1500;

export interface PgbenchRequest {
  readonly program: string;
  readonly server: PostgresServer;
  readonly user: string;
  readonly firstId: number;
  readonly clients: number;
  readonly transactionsPerClient: number;
}

export interface PgbenchResult {
  /** Connecting is not in it. */
  readonly transactionsPerSecond: number;
  readonly latenciesMs: readonly number[];
}

/** PostgreSQL's own client, in C: on two cores, what a client costs is taken from the server. */
export async function pgbench(request: PgbenchRequest): Promise<PgbenchResult> {
  const folder = mkdtempSync(join(request.server.folder, 'pgbench-'));
  try {
    const script = join(folder, 'insert.sql');
    writeFileSync(script, SCRIPT);
    // Only one client's latency is reported, and the log of many would be writing on the disk that
    // is measured.
    const log = request.clients === 1 ? ['--log', `--log-prefix=${join(folder, 'latency')}`] : [];
    const output = await run(request.program, [
      ...argumentsOf(request),
      ...log,
      `--file=${script}`,
      'postgres',
    ]);
    const rate = /^tps = ([\d.]+)/m.exec(output)?.[1];
    if (rate === undefined) throw new Error(`pgbench did not tell its rate:\n${output}`);
    return { transactionsPerSecond: Number(rate), latenciesMs: latenciesIn(folder) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function argumentsOf({ server, user, firstId, clients, transactionsPerClient }: PgbenchRequest): string[] {
  const [, , name, email, , , note, reference] = benchRow(firstId);
  const variables = { n: 0, first: firstId, each: transactionsPerClient, name, email, note, reference };
  return [
    `--host=${server.folder}`,
    `--port=${server.port}`,
    `--username=${user}`,
    '--no-vacuum',
    '--protocol=prepared',
    `--client=${clients}`,
    `--jobs=${Math.min(clients, THREADS)}`,
    `--transactions=${transactionsPerClient}`,
    ...Object.entries(variables).map(([variable, value]) => `--define=${variable}=${value}`),
  ];
}

/** Lines of `client number latency script second microsecond`. */
function latenciesIn(folder: string): readonly number[] {
  const files = readdirSync(folder).filter((name) => name.startsWith('latency.'));
  const lines = files.flatMap((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n'));
  return lines.map((line) => Number(line.split(' ')[2]) / US_PER_MS);
}

/** It ends by itself when its server is stopped. */
function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    const keep = (chunk: Buffer): void => void (output += chunk.toString());
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`pgbench ended with exit code ${code}:\n${output.slice(-SHOWN_CHARACTERS)}`));
    });
  });
}
