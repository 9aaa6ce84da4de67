import type { WriteRequest } from '@antiphon/core';
import type { Outbox } from './outbox.js';
import type { Surroundings } from './surroundings.js';
import type { SqliteTransaction } from './transaction.js';

type Request = WriteRequest<SqliteTransaction>;

/**
 * What a group has time for, from when its first function begins. What has begun may run again,
 * however late, when another write takes the transaction with it; so what was not begun in time is
 * untouched.
 */
export class GroupTime {
  readonly #begun = new Set<Request>();
  #untilMs: number | undefined;

  constructor(private readonly surroundings: Pick<Surroundings, 'monotonicMs' | 'longestRunMs'>) {}

  /** The first one always: a group that takes none would be made again for ever. */
  mayBegin(request: Request): boolean {
    if (this.#begun.has(request)) return true;
    const nowMs = this.surroundings.monotonicMs();
    this.#untilMs ??= nowMs + this.surroundings.longestRunMs;
    if (nowMs >= this.#untilMs) return false;
    this.#begun.add(request);
    return true;
  }
}

/** At least every so many writes, it is asked how large they were. */
const MEASURED_TOGETHER = 16;

export interface Room {
  readonly maxBytes: number;
  /**
   * A write that is larger than all of it: `rejected`, since the group is one message, and takes no
   * room in this one; or `kept`, and the group ends with it.
   */
  readonly larger: 'rejected' | 'kept';
}

/**
 * Of an asynchronous group, which may become several messages: SQLite writes all of it to the WAL
 * in one piece, and often from there to the database. That is what takes the time.
 */
export const ASYNCHRONOUS_ROOM: Room = { maxBytes: 2 * 1024 * 1024, larger: 'kept' };

/**
 * What a group has room for. An estimate, before anything is encoded, so that not many more
 * functions run than it takes: what is run beyond it is taken back, and runs again.
 */
export class GroupRoom {
  #bytes = 0;
  #writes = 0;
  /** The last outbox row of the writes that are measured. */
  #measuredTo = 0;
  #unmeasured = 0;
  /** To ask after each one would cost a small write a fifth of what it does. */
  #measureAt = 1;

  constructor(
    private readonly outbox: Outbox,
    private readonly room: Room,
  ) {}

  /** A write has run; `end` is the number of its last outbox row. */
  take(end: number): void {
    this.#unmeasured++;
    if (this.#unmeasured < this.#measureAt) return;
    const bytes = this.outbox.bytesAfter(this.#measuredTo);
    const { maxBytes, larger } = this.room;
    const isLarger = this.#unmeasured === 1 && bytes > maxBytes;
    this.#measuredTo = end;
    if (!isLarger || larger === 'kept') {
      this.#bytes += bytes;
      this.#writes += this.#unmeasured;
    }
    this.#unmeasured = 0;
    const fitting = this.#writes === 0 ? 0 : (maxBytes - this.#bytes) / this.#average;
    this.#measureAt = Math.max(1, Math.min(fitting / 2, MEASURED_TOGETHER));
  }

  /** False once another write of average size would be too much. */
  hasMore(): boolean {
    return this.#bytes + (this.#unmeasured + 1) * this.#average <= this.room.maxBytes;
  }

  get #average(): number {
    return this.#writes === 0 ? 0 : this.#bytes / this.#writes;
  }
}
