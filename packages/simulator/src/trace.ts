import { createHash } from 'node:crypto';

/**
 * What happened, in order, with when. Equal runs have equal hashes; the last lines are kept to be
 * shown.
 */
export class Trace {
  readonly #hash = createHash('sha256');
  readonly #lines: string[] = [];
  #events = 0;

  constructor(
    private readonly nowMs: () => number,
    private readonly keptLines: number,
  ) {}

  add(event: string): void {
    const line = `${this.nowMs().toFixed(3)} ${event}`;
    this.#hash.update(line).update('\n');
    this.#events++;
    this.#lines.push(line);
    if (this.#lines.length > 2 * this.keptLines) this.#lines.splice(0, this.keptLines);
  }

  get events(): number {
    return this.#events;
  }

  get lines(): readonly string[] {
    return this.#lines.slice(-this.keptLines);
  }

  hash(): string {
    return this.#hash.copy().digest('hex').slice(0, 32);
  }
}
