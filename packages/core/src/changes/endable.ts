import { AntiphonError } from '../errors/antiphon-error.js';

/**
 * A generator that `return()` ends at once, also while a `next()` waits: one of the language would
 * wait for whatever it waits for, and keep what it has open. `run` ends with an error as soon as
 * its signal aborts.
 */
export function endable<T>(
  run: (ending: AbortSignal) => AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  return new EndableGenerator(run);
}

class EndableGenerator<T> implements AsyncGenerator<T, void, undefined> {
  readonly #ending = new AbortController();
  readonly #inner: AsyncGenerator<T, void, undefined>;

  constructor(run: (ending: AbortSignal) => AsyncGenerator<T, void, undefined>) {
    this.#inner = run(this.#ending.signal);
  }

  async next(): Promise<IteratorResult<T, void>> {
    try {
      return await this.#inner.next();
    } catch (error) {
      if (this.#ending.signal.aborted) return { done: true, value: undefined };
      throw error;
    }
  }

  async return(): Promise<IteratorResult<T, void>> {
    this.#end();
    await this.#inner.return().catch(() => undefined);
    return { done: true, value: undefined };
  }

  throw(error: unknown): Promise<IteratorResult<T, void>> {
    this.#end();
    return this.#inner.throw(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #end(): void {
    this.#ending.abort(new AntiphonError('CLOSED', 'The stream was ended by return().'));
  }
}
