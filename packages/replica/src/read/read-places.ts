import { AntiphonError, type Clock, sentence, type StoreState, toAntiphonError } from '@antiphon/core';
import { placeOf, type SessionPosition } from '../state/session.js';

interface PlaceScope {
  readonly id: string;
  readonly clock: Clock;
  readonly store: { state(): StoreState; unsealed(): number };
  readonly positions: { readonly passed: number };
}

/** Who reads does not wait for longer until what another program has written gets a number. */
const SEAL_MS = 1000;
/** It is not tried again sooner where nobody needs it. */
const PAUSE_MS = 1000;

/**
 * Session tokens of what was read. Looking whether other programs have written is a query of its
 * own: all reads that end in the same turn of the event loop share one look.
 */
export class ReadPlaces {
  #next: Promise<SessionPosition> | undefined;
  #failedMs = -Infinity;

  /** `seal`: gives numbers to what other programs have written. */
  constructor(
    private readonly scope: PlaceScope,
    private readonly seal: (timeoutMs: number) => Promise<unknown>,
  ) {}

  /**
   * After a read: of no less than it can have seen. Throws TIMEOUT where what another program has
   * written cannot get a number now: it has locked the database, or the clock is wrong.
   */
  now(): Promise<SessionPosition> {
    this.#next ??= this.#look();
    return this.#next;
  }

  /** The same; undefined where there is none. */
  async ifKnown(): Promise<SessionPosition | undefined> {
    const { clock, store } = this.scope;
    if (clock.monotonicMs() - this.#failedMs < PAUSE_MS && store.unsealed() > 0) return undefined;
    return this.now().catch(() => undefined);
  }

  async #look(): Promise<SessionPosition> {
    const { clock, store } = this.scope;
    await clock.yield();
    // Who comes from here on may have seen more.
    this.#next = undefined;
    // What was seen was committed before, so it has a number, but for what other programs wrote.
    if (store.unsealed() > 0) await this.#seal();
    return placeOf(this.scope);
  }

  async #seal(): Promise<void> {
    const { clock, id } = this.scope;
    try {
      await this.seal(SEAL_MS);
    } catch (thrown) {
      this.#failedMs = clock.monotonicMs();
      const { message } = toAntiphonError(thrown);
      const text =
        `Replica ${id} cannot tell which place in the log the read shows: what another program has written to its ` +
        `database has no number yet. ${sentence(message)} Read without a session, or at another replica.`;
      throw new AntiphonError('TIMEOUT', text, { cause: thrown, context: { replica: id } });
    }
  }
}
