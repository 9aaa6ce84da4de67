import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runExample, shownBy, withoutFigures } from './run-example.js';

const WAIT = { timeout: 15_000, interval: 50 };

const folder = mkdtempSync(join(tmpdir(), 'antiphon-services-'));
const children: ChildProcess[] = [];
let nats: NatsServer;

beforeAll(async () => {
  nats = await NatsServer.start({ storeDir: join(folder, 'nats') });
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await nats.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Service {
  readonly child: ChildProcess;
  /** What it writes to its standard error. */
  readonly errors: () => string;
  /** Code and signal. */
  readonly ended: Promise<unknown[]>;
}

function service(example: string, id: string): Service {
  const file = new URL(`../../examples/${example}/src/service.ts`, import.meta.url);
  const env = { ID: id, PRIMARY: 'eu-1', FILE: join(folder, `${example}-${id}.db`), NATS_URL: nats.url };
  const child = fork(file, {
    ...{ env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  children.push(child);
  let errors = '';
  child.stderr?.on('data', (chunk) => (errors += String(chunk)));
  return { child, errors: () => errors, ended: once(child, 'close') };
}

describe('examples/fastify', () => {
  it('is not ended by the time that Fastify gives a plugin, and says what its replica lacks', async () => {
    const { errors, ended } = service('fastify', 'eu-2');
    expect(await ended).toEqual([1, null]);
    expect(errors()).toMatch(/Start the primary eu-1 first/);
    expect(errors()).not.toMatch(/Plugin did not start in time/);
  });

  it('loses no note when the service with the primary ends, and answers what is under way', async () => {
    const output = withoutFigures(await runExample('fastify', ['--once']));
    const either = (text: string): string =>
      text.replaceAll(/the primary is eu-[23]/g, 'the primary is another');
    expect(either(`${output}Ctrl-C ends it.\n`)).toBe(either(shownBy('fastify')));
  });
});

describe('examples/nest-shutdown', () => {
  it('answers the request that is under way, and closes its replica after it', async () => {
    expect(await runExample('nest-shutdown')).toBe(shownBy('nest-shutdown'));
  });

  it('ends on a signal while its replica waits for the first one', async () => {
    const { child, errors, ended } = service('nest-shutdown', 'eu-2');
    // Its database is open, and it asks for a cluster that nobody has created.
    await vi.waitFor(() => expect(readdirSync(folder)).toContain('nest-shutdown-eu-2.db'), WAIT);
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(errors()).toBe('');
  });
});
