import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sendSignal } from './lifeline.js';
import { NatsServer } from './nats-server.js';
import { identify, isSameProcess, type ProcessIdentity } from './process-identity.js';

/** A process of its own that starts a server runs the built package. */
const built = fileURLToPath(new URL('../../dist/index.js', import.meta.url));

let dir: string;
let owner: ChildProcess | undefined;
let server: ProcessIdentity | undefined;
beforeAll(() => {
  if (!existsSync(built)) throw new Error('Run `npm run build` first: this test starts the built package.');
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-lifeline-'));
});
afterEach(() => {
  owner?.kill('SIGKILL');
  if (server !== undefined && isSameProcess(server)) sendSignal(server.pid, 'SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

/** Runs a script that has a `server`; resolves once that runs. */
async function startOwner(then: string): Promise<{ owner: ChildProcess; server: ProcessIdentity }> {
  const script = `
    import { NatsServer } from ${JSON.stringify(built)};
    const server = await NatsServer.start({ storeDir: ${JSON.stringify(join(dir, 'store'))} });
    process.send(server.pid);
    await new Promise((resolve) => process.once('message', resolve));
    process.disconnect();
    ${then}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  owner = child;
  const pid = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(message as number));
    child.once('exit', (code) => reject(new Error(`the owner ended with ${code}`)));
  });
  server = identify(pid)!;
  return { owner: child, server };
}

function exitOf(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
}

async function expectGone(identity: ProcessIdentity): Promise<void> {
  await eventually('the process is gone', () => !isSameProcess(identity), 5000);
}

const FOREVER = 'setInterval(() => undefined, 1000);';

describe('a server ends with the process that started it', () => {
  for (const [how, then, code] of [
    ['runs to its end of process.exit', 'process.exit(3);', 3],
    ['throws', 'setTimeout(() => { throw new Error("oops"); });', 1],
    [
      'handles a signal itself',
      'process.on("SIGTERM", () => process.exit(7)); process.kill(process.pid, "SIGTERM");' + FOREVER,
      7,
    ],
  ] as const) {
    it(`when that ${how}`, async () => {
      const running = await startOwner(then);
      const exit = exitOf(running.owner);
      running.owner.send('go');
      expect((await exit).code).toBe(code);
      await expectGone(running.server);
    });
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`when that is ended by ${signal}, and the exit status stays honest`, async () => {
      const running = await startOwner(FOREVER);
      const exit = exitOf(running.owner);
      running.owner.kill(signal);
      expect(await exit).toEqual({ code: null, signal });
      await expectGone(running.server);
    });
  }

  it.runIf(existsSync('/usr/bin/setpriv'))('when that is killed with -9', async () => {
    const running = await startOwner(FOREVER);
    running.owner.kill('SIGKILL');
    await expectGone(running.server);
  });

  it('or at the next start on its store, when the signal could not reach it', async () => {
    const running = await startOwner(FOREVER);
    sendSignal(running.server.pid, 'SIGSTOP');
    const exit = exitOf(running.owner);
    running.owner.kill('SIGKILL');
    await exit;
    expect(isSameProcess(running.server)).toBe(true);
    await using next = await NatsServer.start({ storeDir: join(dir, 'store') });
    expect(isSameProcess(running.server)).toBe(false);
    expect(next.state).toBe('running');
  });
});
