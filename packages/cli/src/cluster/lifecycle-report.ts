import { AntiphonError, ERROR_CODES, type ErrorCode, sentence } from '@antiphon/core';
import type { LifecycleState, ReplicaOptions } from '@antiphon/replica';
import { reportToParent } from './parent-link.js';

type Reason = Parameters<NonNullable<ReplicaOptions<unknown>['onLifecycle']>>[1];

/**
 * What became of the replica of this process: for the process that started it, and for its own exit
 * code.
 */
export class LifecycleReport {
  readonly #stalled = new AbortController();
  #stall: AntiphonError | undefined;

  /** Aborted when the replica stalls for the first time. */
  get stalled(): AbortSignal {
    return this.#stalled.signal;
  }

  /** Why it has stalled; undefined when it has not, or goes on again. */
  get stall(): AntiphonError | undefined {
    return this.#stall;
  }

  changed(state: LifecycleState, reason: Reason): void {
    const { code, message } = reason ?? {};
    const why = code === undefined || message === undefined ? undefined : { code, message };
    reportToParent({ type: 'lifecycle', state, ...(why && { reason: why }) });
    if (CLOSING.has(state)) return;
    this.#stall = state === 'stalled' && why !== undefined ? errorOf(why) : undefined;
    if (this.#stall !== undefined) this.#stalled.abort(this.#stall);
  }
}

/** They say nothing about what it was before. */
const CLOSING: ReadonlySet<LifecycleState> = new Set(['closing', 'closed']);

function errorOf({ code, message }: { readonly code: string; readonly message: string }): AntiphonError {
  const known: ErrorCode = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'INTERNAL';
  return new AntiphonError(known, `The replica has stalled. ${sentence(message)}`);
}
