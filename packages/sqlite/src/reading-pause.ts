import { realpathSync, statSync } from 'node:fs';

/** SQLite's log is larger only after a large transaction, or where reads never pause. */
export const LOG_LIMIT_BYTES = 64 * 1024 * 1024;
const LOOK_MS = 1000;
/** For so long at most, reads that are under way are waited for. */
const PATIENCE_MS = 1000;
/** Nobody reads: whoever writes begins the log anew within this time. */
const MOMENT_MS = 500;
/** After a pause of no use the next one comes later, and then after twice as long. */
const REST_MS = 30_000;
const LONGEST_REST_MS = 600_000;

/**
 * SQLite begins its write-ahead log anew only in a moment in which nobody reads from it. Where
 * reads overlap there is none, and the log would grow until the disk is full. So, when it has
 * become too large, no read begins until those under way have ended (docs/decisions/0124).
 */
export class ReadingPause {
  #lookedMs = -Infinity;
  #sinceMs: number | undefined;
  #idleSinceMs: number | undefined;
  #notBeforeMs = -Infinity;
  #restMs = REST_MS;
  /** After a pause of no use: where nobody writes, another one is of none either. */
  #leftBytes = 0;
  readonly #log: string;

  constructor(
    file: string,
    private readonly limitBytes = LOG_LIMIT_BYTES,
  ) {
    this.#log = `${realPathOf(file)}-wal`;
  }

  /** Whether no read may begin now. `isIdle`: none is under way. */
  isOn(isIdle: boolean): boolean {
    const nowMs = performance.now();
    if (this.#sinceMs === undefined) {
      if (nowMs < this.#notBeforeMs || nowMs - this.#lookedMs < LOOK_MS) return false;
      this.#lookedMs = nowMs;
      if (!this.#hasGrown(this.#bytes())) return false;
      this.#sinceMs = nowMs;
    } else if (this.#bytes() <= this.limitBytes) {
      this.#leftBytes = 0;
      this.#restMs = REST_MS;
      return this.#end();
    }
    if (isIdle) this.#idleSinceMs ??= nowMs;
    const isOver =
      this.#idleSinceMs === undefined
        ? nowMs - this.#sinceMs >= PATIENCE_MS
        : nowMs - this.#idleSinceMs >= MOMENT_MS;
    if (!isOver) return true;
    // A read that takes longer, a stream, another program: or nobody writes.
    this.#leftBytes = this.#bytes();
    this.#notBeforeMs = nowMs + this.#restMs;
    this.#restMs = Math.min(2 * this.#restMs, LONGEST_REST_MS);
    return this.#end();
  }

  /** Too large, and since the last pause of no use, if it was not begun anew meanwhile. */
  #hasGrown(bytes: number): boolean {
    if (bytes < this.#leftBytes) this.#leftBytes = 0;
    if (bytes <= this.limitBytes) this.#restMs = REST_MS;
    return bytes > Math.max(this.limitBytes, this.#leftBytes);
  }

  #end(): false {
    this.#sinceMs = undefined;
    this.#idleSinceMs = undefined;
    return false;
  }

  /** One that cannot be looked at is no reason for a read to wait. */
  #bytes(): number {
    try {
      return statSync(this.#log).size;
    } catch {
      return 0;
    }
  }
}

/** SQLite keeps its log beside the file itself, however that is reached. */
function realPathOf(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}
