/**
 * Starts a NATS server and the service twice, ends the first one while it answers a request, and
 * shows that the request was answered and is in the other database.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NatsServer } from '@antiphon/nats-server';

const PRIMARY = 'eu-1';
const TIMEOUT_MS = 30_000;
/** Within what the request waits for. */
const UNDER_WAY_MS = 200;

const folder = mkdtempSync(join(tmpdir(), 'antiphon-nest-'));
const nats = await NatsServer.start({ storeDir: join(folder, 'nats'), obtain: true });
const children: ChildProcess[] = [];

async function start(id: string): Promise<{ readonly child: ChildProcess; readonly url: string }> {
  const env = { ID: id, PRIMARY, FILE: join(folder, `${id}.db`), NATS_URL: nats.url };
  const child = fork(new URL('./service.ts', import.meta.url), { env: { ...process.env, ...env } });
  children.push(child);
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${id} ended with ${String(code)} before it was ready.`);
  });
  const [{ url }] = (await Promise.race([once(child, 'message'), ended])) as [{ url: string }];
  ended.catch(() => undefined);
  return { child, url };
}

async function run(): Promise<void> {
  const first = await start(PRIMARY);
  const second = await start('eu-2');
  const headers = { 'content-type': 'application/json' };
  const visit = fetch(`${first.url}/visits`, { method: 'POST', headers, body: '{"page":"/lamps"}' });
  await sleep(UNDER_WAY_MS);
  const ended = once(first.child, 'exit');
  first.child.kill('SIGTERM');
  console.log('SIGTERM, while a request is under way.');
  const answer = await visit;
  const { id } = (await answer.json()) as { id: string };
  console.log(`The request was answered: ${answer.status}.`);
  console.log(`The process ended with exit code ${String((await ended)[0])}.`);
  for (const endMs = Date.now() + TIMEOUT_MS; Date.now() < endMs; await sleep(20)) {
    const visits = (await (await fetch(`${second.url}/visits`)).json()) as { id: string }[];
    if (visits.length !== 1 || visits[0]?.id !== id) continue;
    console.log('The other database has it.');
    return;
  }
  throw new Error(`${id} is not in the other database.`);
}

try {
  await run();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
  await nats.stop();
  rmSync(folder, { recursive: true, force: true });
}
