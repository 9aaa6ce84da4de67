import { AntiphonError, type Clock } from '@antiphon/core';

export interface Obstruction {
  /** With its duration behind it. */
  readonly what: string;
  readonly advice: string;
}

export const NATS_IS_SILENT: Obstruction = {
  what: 'NATS has not answered',
  advice: 'See whether nats-server runs, and `antiphon doctor`.',
};
export const DATABASE_IS_BUSY: Obstruction = {
  what: 'The database of this replica has been busy',
  advice: 'See which program holds its lock.',
};

/**
 * What the committer waits for in its turn, and so every write that cannot begin: a write whose
 * time is up meanwhile says that, and not that others were before it.
 */
export class InTheWay {
  #current: { readonly obstruction: Obstruction; readonly sinceMs: number } | undefined;

  constructor(private readonly clock: Clock) {}

  async during<T>(obstruction: Obstruction, work: Promise<T>): Promise<T> {
    const current = { obstruction, sinceMs: this.clock.monotonicMs() };
    this.#current = current;
    try {
      return await work;
    } finally {
      if (this.#current === current) this.#current = undefined;
    }
  }

  /**
   * For a write that has waited so long; undefined when what is waited for now took little of it.
   */
  reason(waitedMs: number): AntiphonError | undefined {
    if (this.#current === undefined) return undefined;
    const { obstruction, sinceMs } = this.#current;
    const lastsMs = this.clock.monotonicMs() - sinceMs;
    if (2 * lastsMs < waitedMs) return undefined;
    return new AntiphonError(
      'TIMEOUT',
      `${obstruction.what} for ${Math.round(lastsMs)} ms. ${obstruction.advice}`,
    );
  }
}
