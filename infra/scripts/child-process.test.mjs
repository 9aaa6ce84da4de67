import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { runInForeground, runQuietly } from './child-process.mjs';

const node = process.execPath;
const module = fileURLToPath(new URL('./child-process.mjs', import.meta.url));

/** Says `ready`, then each signal; ends with code 5 at the first, a little later. */
const PATIENT = `
  for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => { console.log(name); setTimeout(() => process.exit(5), 200); });
  console.log('ready', process.pid);
  setInterval(() => undefined, 1000);`;

/**
 * Starts a script that runs PATIENT in the foreground, waits for it, and hands over a way to send
 * signals.
 */
async function startOuter() {
  const script = `
    import { runInForeground } from ${JSON.stringify(module)};
    const { code } = await runInForeground(process.execPath, ['-e', ${JSON.stringify(PATIENT)}]);
    process.exit(code);`;
  const env = { ...process.env };
  delete env.npm_lifecycle_event;
  const outer = spawn(node, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
  let output = '';
  const ended = new Promise((resolve) => outer.once('close', (code) => resolve({ code, output })));
  await new Promise((resolve) => {
    outer.stdout.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
      if (output.includes('ready')) resolve();
    });
  });
  return { outer, ended, childPid: Number(/ready (\d+)/.exec(output)?.[1]) };
}

function expectGone(pid) {
  return vi.waitFor(() => expect(isRunning(pid)).toBe(false), { timeout: 5000 });
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    // What has ended may stay listed until init collects it, in a container for ever.
    return !(existsSync('/proc') && / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')));
  } catch {
    return false;
  }
}

describe('a command in the foreground', () => {
  it('gets one signal for a Ctrl-C that arrives from the terminal and from npm, and its code is ours', async () => {
    const { outer, ended } = await startOuter();
    outer.kill('SIGINT');
    outer.kill('SIGINT');
    const { code, output } = await ended;
    expect(code).toBe(5);
    expect(output.match(/SIGINT/g)).toHaveLength(1);
  });

  it.runIf(process.platform === 'linux')('ends although we are killed with -9', async () => {
    const { outer, ended, childPid } = await startOuter();
    outer.kill('SIGKILL');
    // `close` comes once the child, which shares our output, is gone too.
    const { output } = await ended;
    expect(output).toContain('SIGTERM');
    await expectGone(childPid);
  });

  it('is ended with everything it started when it takes too long', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-child-'));
    const pidFile = join(dir, 'pid');
    // Ends at the first signal, but leaves a child of its own that never would.
    const script = `
      const { pid } = require('node:child_process').spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); for (;;);']);
      require('node:fs').writeFileSync(${JSON.stringify(pidFile)}, String(pid));
      process.on('SIGTERM', () => process.exit(0));
      setInterval(() => undefined, 1000);`;
    const { timedOut } = await runInForeground(node, ['-e', script], { limitMs: 1000 });
    expect(timedOut).toBe(true);
    await expectGone(Number(readFileSync(pidFile, 'utf8')));
    rmSync(dir, { recursive: true });
  });
});

describe('a quiet command', () => {
  it('hands over its output and whether it worked', async () => {
    const both = 'console.log("out"); console.error("err");';
    expect(await runQuietly(node, ['-e', both])).toEqual({ ok: true, output: 'out\nerr\n' });
    expect(await runQuietly(node, ['-e', `${both} process.exit(1)`])).toMatchObject({ ok: false });
    expect(await runQuietly('/nowhere/command', [])).toMatchObject({ ok: false });
    expect(await runQuietly(node, ['-e', 'for (;;);'], { limitMs: 300 })).toMatchObject({ ok: false });
  });
});
