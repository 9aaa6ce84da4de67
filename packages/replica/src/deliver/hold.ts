import { type AntiphonError, sleep, sentence, withoutStop } from '@antiphon/core';
import type { Holding } from '../config/standstill.js';
import type { Scope } from '../state/scope.js';

/** The first wait between two tries; it doubles up to the longest. */
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5000;
/**
 * A try that takes long, since the transaction is big, must not keep the database busy for most of
 * the time.
 */
const REST_PER_TRY = 4;
/**
 * How often it is looked whether somebody changed the schema: the usual way to mend what is
 * refused.
 */
const LOOK_MS = 200;

/** What of a transaction the caller knows. */
export type HeldTransaction = Pick<Holding, 'origin' | 'counter'> & { readonly seq: number };

/**
 * The wait at a transaction that this database does not take. It passed admission, so it is genuine
 * and every other replica has it or will: it is never skipped, and nothing after it is applied
 * before it. It is tried again with growing waits, at once when the schema has changed or the disk
 * takes commits again, and at every start; whatever the cause was, replication resumes
 * automatically when it is gone.
 */
export class Hold {
  #tries = 0;
  #wake: (() => void) | undefined;

  constructor(private readonly scope: Scope) {}

  /** It went in. */
  end(): void {
    this.#tries = 0;
    this.scope.health.resume();
  }

  /** Tries at once instead of at the next time. */
  hurry(): void {
    this.#wake?.();
  }

  /**
   * Says what is held and why, and waits until it is worth another try. `tookMs`: how long the last
   * one took.
   */
  async wait(
    refused: HeldTransaction,
    error: AntiphonError,
    tookMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { counters, health, progress, clock } = this.scope;
    const { table } = error.context;
    counters.storeRetries++;
    const doubled = FIRST_WAIT_MS * 2 ** Math.min(this.#tries++, 10);
    // What waited for the lock of the database has kept nobody busy.
    const restMs = error.code === 'STORE_BUSY' ? 0 : tookMs * REST_PER_TRY;
    const waitMs = Math.max(Math.min(doubled, LONGEST_WAIT_MS), restMs);
    health.hold({
      ...refused,
      code: error.code,
      message: messageOf(refused, error),
      nextTryAtMs: Math.round(clock.nowMs() + waitMs),
      ...(typeof table === 'string' && { table }),
    });
    progress.moved();
    await this.#rest(waitMs, restMs, signal);
  }

  async #rest(waitMs: number, leastMs: number, signal: AbortSignal): Promise<void> {
    const { clock, store, health, commits } = this.scope;
    const cookie = store.schemaCookie();
    const untilMs = clock.monotonicMs() + waitMs;
    const wasRefused = commits.failure !== undefined;
    let woken = false;
    this.#wake = () => (woken = true);
    try {
      for (let leftMs = waitMs; leftMs > 0; leftMs = untilMs - clock.monotonicMs()) {
        await sleep(clock, Math.min(leftMs, LOOK_MS), signal);
        if (woken || !health.replicating || store.schemaCookie() !== cookie) return;
        const isMended = wasRefused && commits.failure === undefined;
        if (isMended && untilMs - clock.monotonicMs() <= waitMs - leastMs) return;
      }
    } finally {
      this.#wake = undefined;
    }
  }
}

const WAY_OUT: Partial<Record<AntiphonError['code'], string>> = {
  STORE_BUSY: "End the other program's transaction",
  STORE_FULL: 'Free disk space',
  STORE_UNAVAILABLE: 'Check the disk, the permissions and the limits of this process (`ulimit -a`)',
  STORE_FAILED: 'Check the file and its disk',
  CLOCK_SKEW: "Set this machine's clock",
};

function messageOf({ seq, origin, counter }: HeldTransaction, error: AntiphonError): string {
  const refused =
    origin === undefined
      ? `Entry ${seq} of the log cannot be applied here`
      : `This database does not take transaction ${origin}:${counter} of the log (entry ${seq})`;
  // It says what ends it, which depends on what was changed: a rebuilt table is to be recaptured
  // first.
  if (error.code === 'SCHEMA_DRIFT') return `${refused}, nor anything after it: ${sentence(error.message)}`;
  if (error.context['missing'] !== undefined)
    return (
      `${sentence(error.message)} Nothing after it is applied. It is asked for, and the log is read again for it ` +
      '(`antiphon status` says what came of that); replication resumes automatically when it has come.'
    );
  const wayOut =
    WAY_OUT[error.code] ?? 'Change what refuses it (a constraint, a trigger, a row, a missing table)';
  return (
    `${refused}: ${withoutStop(error.message)}. Nothing after it is applied. ` +
    `${wayOut}. The replica retries and resumes automatically (at once with \`antiphon quarantine retry\`).`
  );
}
