/**
 * Starts a NATS server, three replicas and the two services, each a process; takes orders; kills
 * the primary; shows that no order is lost and that the reports agree. With `--once` it ends then.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@antiphon/client';
import { NatsServer } from '@antiphon/nats-server';
import { atEnd, CLUSTER } from './settings.ts';

const IDS = ['eu-1', 'eu-2', 'eu-3'];
const PRIMARY = 'eu-1';
const ORDERS_BEFORE = 20;
const ORDERS_AFTER = 30;
const TIMEOUT_MS = 30_000;

const once = process.argv.includes('--once');
const folder = mkdtempSync(join(tmpdir(), 'antiphon-shop-'));
const nats = await NatsServer.start({ storeDir: join(folder, 'nats') });
const processes: ChildProcess[] = [];

/** Resolves to what it says when it is ready. */
function start(
  name: string,
  env: Record<string, string> = {},
): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(new URL(`./${name}.ts`, import.meta.url), {
    env: { ...process.env, NATS_URL: nats.url, ...env },
  });
  processes.push(child);
  return new Promise((resolve, reject) => {
    child.once('message', ({ url = '' }: { url?: string }) => resolve({ child, url }));
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code} before it was ready.`)));
  });
}

async function stop(): Promise<void> {
  for (const child of processes.toReversed()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }
  await nats.stop();
  rmSync(folder, { recursive: true, force: true });
}

async function order(url: string, number: number): Promise<void> {
  const item = number % 3 === 0 ? 'chair' : 'lamp';
  const placed = await fetch(`${url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ item, pieces: 2 }),
  });
  const { id } = (await placed.json()) as { id: string };
  if (placed.status !== 201) throw new Error(`The order was not taken: ${placed.status}.`);
  // Whichever replica answers: it has what this session wrote.
  const session = placed.headers.get('antiphon-session') ?? '';
  const seen = await fetch(`${url}/orders/${id}`, { headers: { 'antiphon-session': session } });
  if (seen.status !== 200) throw new Error(`Order ${id} is not there: ${seen.status}.`);
}

interface Report {
  readonly orders: number;
  readonly sold: Readonly<Record<string, number>>;
}

async function report(url: string, orders: number): Promise<Report> {
  for (const endMs = Date.now() + TIMEOUT_MS; ; await sleep(100)) {
    const shown = (await (await fetch(url)).json()) as Report;
    if (shown.orders >= orders) return shown;
    if (Date.now() > endMs) throw new Error(`The reports service has ${shown.orders} orders of ${orders}.`);
  }
}

async function run(): Promise<void> {
  const replicas = new Map<string, ChildProcess>();
  for (const id of IDS) {
    const env = { ID: id, PRIMARY, FILE: join(folder, `${id}.db`) };
    replicas.set(id, (await start('replica', env)).child);
  }
  const [orders, reports] = await Promise.all([start('orders'), start('reports')]);
  console.log(`Three replicas run. Orders: ${orders.url}/orders. Reports: ${reports.url}.`);
  for (let number = 0; number < ORDERS_BEFORE; number++) await order(orders.url, number);
  console.log(`${ORDERS_BEFORE} orders were placed. The primary, ${PRIMARY}, is killed now.`);
  replicas.get(PRIMARY)?.kill('SIGKILL');
  const killedMs = Date.now();
  for (let number = 0; number < ORDERS_AFTER; number++) {
    await order(orders.url, ORDERS_BEFORE + number);
    if (number === 0) console.log(`The next order was taken ${Date.now() - killedMs} ms later.`);
  }
  const all = ORDERS_BEFORE + ORDERS_AFTER;
  const { sold } = await report(reports.url, all);
  await using shop = await connect({ cluster: CLUSTER, servers: nats.url });
  const rows = await shop.query<{ item: string; pieces: number }>(
    'SELECT item, sum(pieces) AS pieces FROM orders GROUP BY item',
    [],
    { consistency: 'strong', integers: 'number' },
  );
  const database = Object.fromEntries(rows.map(({ item, pieces }) => [item, pieces]));
  console.log(`Sold, says the database: ${JSON.stringify(database)}`);
  console.log(`Sold, say the reports:   ${JSON.stringify(sold)}`);
  const agree = Object.entries(database).every(([item, pieces]) => sold[item] === pieces);
  if (!agree || Object.values(database).reduce((sum, pieces) => sum + pieces, 0) !== 2 * all)
    throw new Error('They do not agree.');
  console.log(`All ${all} orders are there, once.`);
}

try {
  await run();
  if (!once) {
    console.log('Ctrl-C ends it.');
    await new Promise<void>((resolve) => atEnd(async () => resolve()));
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await stop();
}
