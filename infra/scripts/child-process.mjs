import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';

/**
 * Children of the scripts get a process group of their own, and signals reach them only through us,
 * once each. Without that, one Ctrl-C arrives three times: from the terminal, from npm, and from
 * us; and programs take a second Ctrl-C for "stop cleaning up".
 */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** What arrives sooner after the first is the same Ctrl-C; what arrives later was pressed again. */
const SAME_SIGNAL_MS = 1000;
const PARENT_POLL_MS = 250;
/** What has not ended this long after it was asked to is killed. */
const END_LIMIT_MS = 10_000;
const KEPT_OUTPUT_CHARACTERS = 64 * 1024;
const SETPRIV = '/usr/bin/setpriv';

/**
 * Runs a command on our terminal until it ends.
 * `limitMs`: after that it is asked to end, and killed when it does not.
 * @returns {Promise<{ code: number, timedOut: boolean }>}
 */
export function runInForeground(command, args, { env = {}, limitMs } = {}) {
  const child = start(command, args, { stdio: 'inherit', env });
  const stopForwarding = forwardSignals((signal) => child.kill(signal));
  const limit = limitMs === undefined ? undefined : startLimit(child, limitMs);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      stopForwarding();
      limit?.stop();
      // What it left behind in its group (a test's worker, say) ends with it.
      if (signal !== null || limit?.reached === true) killGroup(child, 'SIGKILL');
      resolve({ code: code ?? 128 + constants.signals[signal], timedOut: limit?.reached === true });
    });
  });
}

/**
 * Runs a command to its end without terminal or input.
 * @returns {Promise<{ ok: boolean, output: string }>} the end of what it wrote
 */
export function runQuietly(command, args, { env = {}, limitMs } = {}) {
  let output = '';
  const child = start(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const keep = (chunk) => {
    output = (output + chunk).slice(-KEPT_OUTPUT_CHARACTERS);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  let endedBy;
  const stopForwarding = forwardSignals((signal) => {
    endedBy = signal;
    killGroup(child, signal);
    setTimeout(() => killGroup(child, 'SIGKILL'), END_LIMIT_MS).unref();
  });
  const limit = limitMs === undefined ? undefined : startLimit(child, limitMs);
  return new Promise((resolve) => {
    const finish = (ok) => {
      stopForwarding();
      limit?.stop();
      // Only now: an install that still writes would disturb the next one.
      if (endedBy !== undefined) process.exit(128 + constants.signals[endedBy]);
      resolve({ ok, output });
    };
    child.once('error', (error) => {
      keep(error.message);
      finish(false);
    });
    child.once('close', (code) => {
      if (limit?.reached === true) keep(`\n(ended: it took longer than ${limitMs / 1000} s)`);
      finish(code === 0);
    });
  });
}

function start(command, args, { stdio, env }) {
  // Where it exists, the kernel ends the child even when we are killed with -9.
  const guard =
    process.platform === 'linux' && existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'TERM', '--'] : [];
  const [program, ...rest] = [...guard, command, ...args];
  return spawn(program, rest, { stdio, detached: true, env: { ...process.env, ...env } });
}

/**
 * Calls back once for each Ctrl-C or signal that is meant for us, and when npm, which started us,
 * is gone.
 */
function forwardSignals(onSignal) {
  let lastAt = -Infinity;
  const forward = (signal) => {
    const now = performance.now();
    if (now - lastAt < SAME_SIGNAL_MS) return;
    lastAt = now;
    onSignal(signal);
  };
  for (const signal of SIGNALS) process.on(signal, forward);
  const parent = process.ppid;
  const underNpm = process.env.npm_lifecycle_event !== undefined;
  const watch = setInterval(() => {
    if (underNpm && process.ppid !== parent) forward('SIGTERM');
  }, PARENT_POLL_MS);
  watch.unref();
  return () => {
    clearInterval(watch);
    for (const signal of SIGNALS) process.off(signal, forward);
  };
}

function startLimit(child, limitMs) {
  const state = { reached: false, stop: () => [term, kill].forEach(clearTimeout) };
  const term = setTimeout(() => {
    state.reached = true;
    killGroup(child, 'SIGTERM');
  }, limitMs);
  const kill = setTimeout(() => killGroup(child, 'SIGKILL'), limitMs + END_LIMIT_MS);
  return state;
}

function killGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The whole group is gone: nothing to do.
  }
}
