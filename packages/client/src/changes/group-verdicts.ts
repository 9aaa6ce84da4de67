import { sleep, systemClock, toAntiphonError, type BatchSummary } from '@antiphon/core';
import type { ClusterClient } from '../cluster-client.js';

const OUTCOMES_AT_ONCE = 1000;
const POLL_MS = 50;
const AWAY_MS = 1000;
const NONE: readonly number[] = [];

export interface GroupVerdictsOptions {
  readonly client: ClusterClient;
  /** Said once each: no replica answers; the verdict on an entry is not kept any more. */
  readonly onProblem: (message: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Which transactions of the log certification rejected. Only the log from its beginning would tell;
 * replicas keep their verdicts, so one that has applied the entry is asked.
 */
export class GroupVerdicts {
  #rejected = new Map<number, readonly number[]>();
  /** Verdicts on entries from here on, up to the other one, are known. */
  #fromSeq = 1;
  #upToSeq = 0;
  readonly #told = new Set<string>();

  constructor(private readonly options: GroupVerdictsOptions) {}

  /** Counters. Waits until a replica can tell. Rejects when the signal is aborted. */
  async rejectedIn(seq: number, batches: readonly BatchSummary[]): Promise<readonly number[]> {
    if (!batches.some(isCertified)) return NONE;
    while (seq < this.#fromSeq || seq > this.#upToSeq) await this.#ask(seq);
    const rejected = this.#rejected.get(seq);
    if (rejected === undefined) {
      this.#tellOnce(
        'Verdicts on old entries are no longer kept. Rejected transactions among them are shown as well.',
      );
    }
    return rejected ?? NONE;
  }

  async #ask(seq: number): Promise<void> {
    const { client, signal } = this.options;
    const clock = systemClock();
    signal.throwIfAborted();
    const [id] = await client.answering();
    if (id === undefined) {
      this.#tellOnce('No replica answers. Waiting for one, which knows what was rejected.');
      return sleep(clock, AWAY_MS, signal);
    }
    try {
      const replica = client.replica(id);
      const standing = await replica.ask('standing', undefined, { signal });
      if (standing.seq < seq) return await sleep(clock, POLL_MS, signal);
      const request = { fromSeq: seq, limit: OUTCOMES_AT_ONCE };
      const outcomes = await replica.ask('outcomes', request, { signal });
      const last = outcomes.at(-1);
      const all = last === undefined || outcomes.length < OUTCOMES_AT_ONCE;
      this.#rejected = new Map(outcomes.map((outcome) => [outcome.seq, outcome.rejected]));
      [this.#fromSeq, this.#upToSeq] = [seq, all ? standing.seq : last.seq];
    } catch (thrown) {
      signal.throwIfAborted();
      const { code, retriable } = toAntiphonError(thrown);
      if (!retriable) throw thrown;
      this.#tellOnce(`${id} did not answer (${code}). Asking again.`);
      await sleep(clock, AWAY_MS, signal);
    }
  }

  #tellOnce(message: string): void {
    if (this.#told.has(message)) return;
    this.#told.add(message);
    this.options.onProblem(message);
  }
}

function isCertified(batch: BatchSummary): boolean {
  return batch.sync?.claims.some((claims) => claims.length > 0) === true;
}
