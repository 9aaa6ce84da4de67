export interface QueuedTimer {
  readonly atUs: number;
  /** Insertion order: timers of the same time fire in it. */
  readonly order: number;
  readonly fire: () => void;
  cancelled: boolean;
}

/**
 * Timers in (time, insertion) order: a binary heap. A cancelled timer stays until its time comes.
 */
export class TimerQueue {
  readonly #heap: QueuedTimer[] = [];
  #order = 0;

  add(atUs: number, fire: () => void): QueuedTimer {
    const timer: QueuedTimer = { atUs, order: this.#order++, fire, cancelled: false };
    this.#heap.push(timer);
    this.#rise(this.#heap.length - 1);
    return timer;
  }

  /** The next timer that was not cancelled. */
  peek(): QueuedTimer | undefined {
    while (this.#heap[0]?.cancelled === true) this.#removeFirst();
    return this.#heap[0];
  }

  take(): QueuedTimer | undefined {
    const timer = this.peek();
    if (timer !== undefined) this.#removeFirst();
    return timer;
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink(0);
  }

  #rise(from: number): void {
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#swapIfEarlier(index, parent)) return;
      index = parent;
    }
  }

  #sink(from: number): void {
    let index = from;
    for (;;) {
      const left = 2 * index + 1;
      const right = left + 1;
      const child = isEarlier(this.#heap[right], this.#heap[left]) ? right : left;
      if (!this.#swapIfEarlier(child, index)) return;
      index = child;
    }
  }

  #swapIfEarlier(lower: number, upper: number): boolean {
    const below = this.#heap[lower];
    const above = this.#heap[upper];
    if (below === undefined || above === undefined || !isEarlier(below, above)) return false;
    this.#heap[upper] = below;
    this.#heap[lower] = above;
    return true;
  }
}

function isEarlier(a: QueuedTimer | undefined, b: QueuedTimer | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
}
