import type { WriteOutcome } from '@antiphon/core';
import type { TracedWrite } from '../tracing/sending.js';
import type { WriteMessage } from './protocols.js';

/** So many wait for the log; the oldest are sent without their spans beyond that. */
const MAX_WAITING = 1024;

/**
 * The spans of own transactions that the log does not have yet. In memory: what is sent after a
 * restart is not traced.
 */
export class WriteTraces {
  /** By counter, in their order. */
  readonly #waiting = new Map<number, TracedWrite>();

  /** Before they are sent. */
  committed(
    group: readonly { readonly request: WriteMessage }[],
    outcomes: readonly { readonly type: string }[],
  ): void {
    for (const [index, { request }] of group.entries()) {
      const outcome = outcomes[index] as WriteOutcome | undefined;
      if (request.trace === undefined || outcome?.type !== 'committed' || outcome.id === undefined) continue;
      const { counter } = outcome.id;
      this.#waiting.set(counter, { counter, trace: request.trace });
      const [oldest] = this.#waiting.keys();
      if (this.#waiting.size > MAX_WAITING && oldest !== undefined) this.#waiting.delete(oldest);
    }
  }

  /** Those of an entry that holds all of these transactions. */
  among(firstCounter: number, lastCounter: number): readonly TracedWrite[] {
    if (this.#waiting.size === 0) return [];
    return [...this.#waiting.values()].filter(
      ({ counter }) => counter >= firstCounter && counter <= lastCounter,
    );
  }

  /** The log has them. */
  logged(writes: readonly TracedWrite[]): void {
    for (const { counter } of writes) this.#waiting.delete(counter);
  }
}
