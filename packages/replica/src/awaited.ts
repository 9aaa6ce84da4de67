import type { Beat } from './beat.js';

/** Members wait for moments whenever a message was lost on its way: no reason for an alarm. */
const PATIENCE_MS = 3000;

interface Await {
  readonly counter: number;
  readonly sinceMs: number;
}

/** What others wait for of this replica: a member's beat names the counter that it misses. */
export class Awaited {
  readonly #byMember = new Map<string, Await>();

  constructor(private readonly id: string) {}

  heard({ id, waitsFor }: Pick<Beat, 'id' | 'waitsFor'>, nowMs: number): void {
    const counter = Object.hasOwn(waitsFor, this.id) ? waitsFor[this.id] : undefined;
    if (counter === undefined) this.#byMember.delete(id);
    else if (this.#byMember.get(id)?.counter !== counter) this.#byMember.set(id, { counter, sinceMs: nowMs });
  }

  /** Who has been waiting for long, and the lowest counter that they wait for; undefined when nobody has. */
  overdue(nowMs: number): { readonly counter: number; readonly members: readonly string[] } | undefined {
    const overdue = [...this.#byMember].filter(([, { sinceMs }]) => nowMs - sinceMs > PATIENCE_MS);
    if (overdue.length === 0) return undefined;
    const counter = Math.min(...overdue.map(([, each]) => each.counter));
    return { counter, members: overdue.map(([member]) => member).sort() };
  }
}
