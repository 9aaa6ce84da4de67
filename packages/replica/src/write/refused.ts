import { AntiphonError, type Clock } from '@antiphon/core';

/** Nothing that a request writes is there after these: it was looked for, and not written. */
const RAN: ReadonlySet<string> = new Set(['CONSTRAINT', 'UNEXPECTED_ROWS', 'BAD_SQL', 'MESSAGE_TOO_LARGE']);

/** It ran, and so found that none before it was written. */
export function hasRun(error: unknown): error is AntiphonError {
  return error instanceof AntiphonError && RAN.has(error.code);
}

/** Nobody asks for so many twice at a time, unless nearly every answer is lost. */
const REMEMBERED = 10_000;

interface Refusal {
  readonly error: AntiphonError;
  readonly epoch: number | undefined;
  readonly sinceMs: number;
}

/**
 * Calls that asked more than once and were refused: what is still on its way of such a call gets
 * the same answer when it comes, and is not written after all. In another epoch it may have been
 * written by another primary meanwhile.
 */
export class Refused {
  readonly #byCall = new Map<string, Refusal>();

  constructor(
    private readonly clock: Pick<Clock, 'monotonicMs'>,
    private readonly forMs: number,
  ) {}

  find(call: string, epoch: number | undefined): AntiphonError | undefined {
    this.#forget();
    const refusal = this.#byCall.get(call);
    return refusal?.epoch === epoch ? refusal?.error : undefined;
  }

  add(call: string, epoch: number | undefined, error: AntiphonError): void {
    this.#byCall.delete(call);
    this.#byCall.set(call, { error, epoch, sinceMs: this.clock.monotonicMs() });
    this.#forget();
  }

  #forget(): void {
    const beforeMs = this.clock.monotonicMs() - this.forMs;
    for (const [call, { sinceMs }] of this.#byCall) {
      if (sinceMs >= beforeMs && this.#byCall.size <= REMEMBERED) return;
      this.#byCall.delete(call);
    }
  }
}
