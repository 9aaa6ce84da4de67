import type { Beat } from '@antiphon/core';

/** Members wait for moments whenever a message was lost on its way: no reason for an alarm. */
const PATIENCE_MS = 3000;

interface Await {
  readonly counter: number;
  readonly sinceMs: number;
  readonly why: string | undefined;
}

export interface Overdue {
  readonly counter: number;
  readonly members: readonly string[];
  /** What one of them says. */
  readonly why?: string;
}

/** What others wait for of this replica: a member's beat names the counter that it misses. */
export class AwaitedCounters {
  readonly #byMember = new Map<string, Await>();

  constructor(private readonly id: string) {}

  heard({ id, waitsFor, waitsWhy }: Pick<Beat, 'id' | 'waitsFor' | 'waitsWhy'>, nowMs: number): void {
    const counter = Object.hasOwn(waitsFor, this.id) ? waitsFor[this.id] : undefined;
    if (counter === undefined) this.#byMember.delete(id);
    else if (this.#byMember.get(id)?.counter !== counter) {
      const why = Object.hasOwn(waitsWhy, this.id) ? waitsWhy[this.id] : undefined;
      this.#byMember.set(id, { counter, sinceMs: nowMs, why });
    }
  }

  /**
   * Who has been waiting for long, and the lowest counter that they wait for; undefined when nobody
   * has.
   */
  overdue(nowMs: number): Overdue | undefined {
    const overdue = [...this.#byMember].filter(([, { sinceMs }]) => nowMs - sinceMs > PATIENCE_MS);
    if (overdue.length === 0) return undefined;
    const counter = Math.min(...overdue.map(([, each]) => each.counter));
    const why = overdue.find(([, each]) => each.counter === counter)?.[1].why;
    return { counter, members: overdue.map(([member]) => member).sort(), ...(why && { why }) };
  }
}
