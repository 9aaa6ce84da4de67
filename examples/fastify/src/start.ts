/**
 * Starts a NATS server and the service three times; writes notes through all three, asks the one
 * with the primary to end meanwhile, and counts. With `--once` it ends then.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NatsServer } from '@antiphon/nats-server';
import { newId } from '@antiphon/replica';

const IDS = ['eu-1', 'eu-2', 'eu-3'];
const PRIMARY = 'eu-1';
const NOTES = 90;
const WRITERS = 6;
const TIMEOUT_MS = 30_000;

const folder = mkdtempSync(join(tmpdir(), 'antiphon-fastify-'));
const nats = await NatsServer.start({ storeDir: join(folder, 'nats'), obtain: true });
const services = new Map<string, { readonly child: ChildProcess; readonly url: string }>();

async function start(id: string): Promise<void> {
  const env = { ID: id, PRIMARY, FILE: join(folder, `${id}.db`), NATS_URL: nats.url };
  const child = fork(new URL('./service.ts', import.meta.url), { env: { ...process.env, ...env } });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${id} ended with ${String(code)} before it was ready.`);
  });
  const [{ url }] = (await Promise.race([once(child, 'message'), ended])) as [{ url: string }];
  ended.catch(() => undefined);
  services.set(id, { child, url });
}

/** Resolves to its exit code. */
async function end(id: string): Promise<unknown> {
  const child = services.get(id)?.child;
  services.delete(id);
  if (child === undefined || child.exitCode !== null) return child?.exitCode;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  return (await ended)[0];
}

/** Asks one service after the other until one has taken the note, as a load balancer would. */
async function write(number: number): Promise<void> {
  const body = JSON.stringify({ id: newId(), text: `note ${number}` });
  const headers = { 'content-type': 'application/json' };
  for (let turn = number, endMs = Date.now() + TIMEOUT_MS; Date.now() < endMs; turn++) {
    const url = [...services.values()][turn % services.size]?.url;
    const answer = await fetch(`${url}/notes`, { method: 'POST', headers, body }).catch(() => undefined);
    if (answer?.status === 201) return;
    await sleep(20);
  }
  throw new Error(`Nobody has taken note ${number}.`);
}

async function run(): Promise<void> {
  for (const id of IDS) await start(id);
  console.log('Three services run:', [...services.values()].map(({ url }) => url).join(' '));
  let next = 0;
  let ending: Promise<unknown> | undefined;
  const writer = async (): Promise<void> => {
    for (let number = next++; number < NOTES; number = next++) {
      if (number === NOTES / 3) ending = end(PRIMARY);
      await write(number);
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  console.log(`${PRIMARY}, the primary, was asked to end, and did with exit code ${String(await ending)}.`);
  for (const { url } of services.values()) {
    const { id, primary } = (await (await fetch(url)).json()) as { id: string; primary: string };
    let notes: unknown[] = [];
    for (const endMs = Date.now() + TIMEOUT_MS; notes.length < NOTES && Date.now() < endMs; await sleep(20))
      notes = (await (await fetch(`${url}/notes`)).json()) as unknown[];
    if (notes.length !== NOTES) throw new Error(`${id} has ${notes.length} notes of ${NOTES}.`);
    console.log(`${id} has all ${NOTES} notes, once; the primary is ${primary}.`);
  }
}

try {
  await run();
  if (!process.argv.includes('--once')) {
    console.log('Ctrl-C ends it.');
    await once(process, 'SIGINT');
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  for (const id of [...services.keys()]) await end(id);
  await nats.stop();
  rmSync(folder, { recursive: true, force: true });
}
