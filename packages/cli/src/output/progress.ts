import type { Terminal } from './terminal.js';

const BAR_WIDTH = 28;
const REDRAW_MS = 80;
/** In a pipe, one line for each such share of the whole. */
const LINE_EVERY = 0.1;

/**
 * How far something is: a bar redrawn in place on a terminal, a few plain lines in a pipe, nothing
 * with --json.
 */
export class Progress {
  #drawnAtMs = 0;
  #nextLineAt = LINE_EVERY;
  #open = false;

  constructor(
    private readonly terminal: Terminal,
    private readonly total: number,
  ) {}

  update(done: number, label: string): void {
    if (this.terminal.json) return;
    const share = this.total === 0 ? 1 : Math.min(1, done / this.total);
    if (this.terminal.interactive) this.#redraw(share, label);
    else this.#line(share, label);
  }

  /** Leaves the last state on the screen; what is written next starts on a line of its own. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    this.terminal.out('\n');
  }

  #redraw(share: number, label: string): void {
    const now = performance.now();
    if (share < 1 && now - this.#drawnAtMs < REDRAW_MS) return;
    this.#drawnAtMs = now;
    this.#open = true;
    const full = Math.round(share * BAR_WIDTH);
    const bar = '█'.repeat(full) + '░'.repeat(BAR_WIDTH - full);
    const text = `${bar} ${percent(share)} ${label}`;
    this.terminal.out(
      `\r\u001b[2K${Array.from(text)
        .slice(0, Math.max(1, this.terminal.columns - 1))
        .join('')}`,
    );
  }

  #line(share: number, label: string): void {
    if (share < this.#nextLineAt) return;
    this.#nextLineAt =
      share >= 1 ? Number.POSITIVE_INFINITY : (Math.floor(share / LINE_EVERY) + 1) * LINE_EVERY;
    this.terminal.out(`${percent(share)} ${label}\n`);
  }
}

function percent(share: number): string {
  return `${Math.floor(share * 100)}%`.padStart(4);
}
