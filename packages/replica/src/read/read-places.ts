import type { Clock, StoreState } from '@antiphon/core';
import { placeOf, type SessionPosition } from '../state/session.js';

interface PlaceScope {
  readonly id: string;
  readonly clock: Clock;
  readonly store: { state(): StoreState; unsealed(): number };
  readonly positions: { readonly passed: number };
}

/**
 * Session tokens of what was read. Looking whether other programs have written is a query of its
 * own: all reads that end in the same turn of the event loop share one look.
 */
export class ReadPlaces {
  #next: Promise<SessionPosition> | undefined;

  /** `seal`: gives numbers to what other programs have written. */
  constructor(
    private readonly scope: PlaceScope,
    private readonly seal: () => Promise<unknown>,
  ) {}

  /** After a read: of no less than it can have seen. Throws what `seal` throws. */
  now(): Promise<SessionPosition> {
    this.#next ??= this.#look();
    return this.#next;
  }

  async #look(): Promise<SessionPosition> {
    await this.scope.clock.yield();
    // Who comes from here on may have seen more.
    this.#next = undefined;
    // What was seen was committed before, so it has a number, but for what other programs wrote.
    if (this.scope.store.unsealed() > 0) await this.seal();
    return placeOf(this.scope);
  }
}
