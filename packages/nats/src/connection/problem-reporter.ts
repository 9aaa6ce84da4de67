import { AntiphonError } from '@antiphon/core';

const REPORT_INTERVAL_MS = 1000;
/** The same words again say nothing new. */
const SAME_INTERVAL_MS = 60_000;

/**
 * What happens inside callbacks, where no caller could catch it: counted always, told at most once
 * a second, and the same thing at most once a minute, so that a flood of bad messages is not a
 * flood of log lines.
 */
export class ProblemReporter {
  #count = 0;
  #lastReportMs = Number.NEGATIVE_INFINITY;
  #lastText = '';

  constructor(private readonly listener: (problem: AntiphonError) => void) {}

  get count(): number {
    return this.#count;
  }

  report(problem: AntiphonError): void {
    this.#count += 1;
    const nowMs = performance.now();
    const waitMs = problem.message === this.#lastText ? SAME_INTERVAL_MS : REPORT_INTERVAL_MS;
    if (nowMs - this.#lastReportMs < waitMs) return;
    this.#lastReportMs = nowMs;
    this.#lastText = problem.message;
    try {
      this.listener(problem);
    } catch {
      // A reporter that throws has nobody left to tell.
    }
  }

  /**
   * A callback that never throws: a throw inside a subscription kills the client's reader loop, and
   * with it everything.
   */
  guard<Args extends readonly unknown[]>(
    where: string,
    callback: (...args: Args) => void,
  ): (...args: Args) => void {
    return (...args) => {
      try {
        callback(...args);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        const message = `The handler of ${where} threw: ${text}. The message was dropped. Correct the handler.`;
        this.report(new AntiphonError('INTERNAL', message, { cause: error }));
      }
    };
  }
}
