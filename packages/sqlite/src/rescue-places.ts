/** Where a change of a rescued transaction begins: in a batch of a part of it. */
export interface RescuePlace {
  /** So many changes come before it. */
  readonly index: number;
  readonly part: number;
  readonly batch: number;
  /** In the body of that batch. */
  readonly offset: number;
}

interface Known {
  /** The first in each part that was read, in their order. */
  readonly parts: RescuePlace[];
  /** The last that was read. */
  last: RescuePlace;
  /** Where the last page ended. */
  end: RescuePlace;
}

const BEGIN: RescuePlace = { index: 0, part: 0, batch: 0, offset: 0 };
/** Of so many transactions places are remembered. */
const MAX_TRANSACTIONS = 16;

/**
 * Changes are of any length, so that the place of one is found by reading those before it. What was
 * found is remembered: each page would read the whole transaction again.
 */
export class RescuePlaces {
  readonly #known = new Map<number, Known>();

  /** The last one known that is no later than the change with this index. */
  before(id: number, index: number): RescuePlace {
    const known = this.#of(id);
    const part = known.parts.findLast((place) => place.index <= index) ?? BEGIN;
    return known.end.index <= index && known.end.index > part.index ? known.end : part;
  }

  /** The next change begins there; in order. */
  note(id: number, place: RescuePlace): void {
    const known = this.#of(id);
    known.last = place;
    const latest = known.parts.at(-1) ?? BEGIN;
    if (place.part > latest.part) known.parts.push(place);
  }

  /** A page has ended before this change. */
  reached(id: number, index: number): void {
    const known = this.#of(id);
    if (known.last.index === index) known.end = known.last;
  }

  #of(id: number): Known {
    const known = this.#known.get(id) ?? { parts: [], last: BEGIN, end: BEGIN };
    // The one that was asked for last comes last.
    this.#known.delete(id);
    this.#known.set(id, known);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_TRANSACTIONS && oldest !== undefined) this.#known.delete(oldest);
    return known;
  }
}
