import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { HEARTBEAT, IS_RUNNING, TEXT_LENGTH, TEXT_OFFSET, type WatchdogData } from './watchdog-layout.js';

/**
 * The program of the watching thread; see statement-watchdog.ts. It must not depend on the main
 * thread for anything.
 */
const INTERVAL_MS = 250;
/** Of the time until the process is ended: who wonders why nothing is answered is told before. */
const WARNING_SHARE = 1 / 6;
const STDERR = 2;

const { shared, name, blockedMs } = workerData as WatchdogData;
const cells = new Int32Array(shared, 0, TEXT_OFFSET / Int32Array.BYTES_PER_ELEMENT);
let heard = -1;
let silentMs = 0;
let isWarned = false;

setInterval(() => {
  const heartbeat = Atomics.load(cells, HEARTBEAT);
  if (heartbeat !== heard) {
    if (isWarned) say(`${name} goes on.`);
    heard = heartbeat;
    silentMs = 0;
    isWarned = false;
    return;
  }
  silentMs += INTERVAL_MS;
  if (silentMs >= blockedMs) {
    say(
      `${name} is ended: nothing has moved for ${seconds(silentMs)} (limits.blockedMs). ${statement()} ` +
        'Its transaction is taken back; correct the statement or the trigger that does not end, or raise the limit.',
    );
    process.kill(process.pid, 'SIGKILL');
  } else if (!isWarned && silentMs >= blockedMs * WARNING_SHARE) {
    isWarned = true;
    say(
      `${name} has not moved for ${seconds(silentMs)}, and hears no signal. ${statement()} ` +
        `It is ended after ${seconds(blockedMs)} (limits.blockedMs).`,
    );
  }
}, INTERVAL_MS);

function statement(): string {
  const bytes = Buffer.from(shared, TEXT_OFFSET, Atomics.load(cells, TEXT_LENGTH));
  // A copy: text is not decoded from memory that another thread may write to.
  const sql = Buffer.from(bytes).toString('utf8').replace(/\s+/g, ' ').trim();
  return Atomics.load(cells, IS_RUNNING) === 1
    ? `It runs, or has just run: ${sql}`
    : 'No statement of a write is running.';
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

function say(text: string): void {
  try {
    writeSync(STDERR, `antiphon: ${text}\n`);
  } catch {
    // Nobody can be told; what has to be done is done all the same.
  }
}
