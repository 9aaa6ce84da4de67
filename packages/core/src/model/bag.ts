/** Where it lies in a bag; the bag's to change. */
export interface Bagged {
  place: number;
}

/**
 * Objects in no order, each in at most one bag. Unlike a `Set`, it is for what comes and goes by
 * the thousands: a table of a `Set` that is outgrown points to the next one, so once a table is in
 * the old generation of the heap, all later ones live as long, with everything that was in them.
 */
export class Bag<T extends Bagged> implements Iterable<T> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    item.place = this.#items.length;
    this.#items.push(item);
  }

  /** Nothing where it is not here. */
  delete(item: T): void {
    if (this.#items[item.place] !== item) return;
    const last = this.#items.pop();
    if (last === undefined || last === item) return;
    last.place = item.place;
    this.#items[item.place] = last;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#items.values();
  }
}
