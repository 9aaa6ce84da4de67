import type { Connection } from './connection.js';
import { TOTAL_JOINED, TOTAL_JOINED_MOVED, TOTAL_MOVED, TOTAL_PAIR, TOTAL_WITHIN } from './outbox-kinds.js';
import type { Pace } from './pace.js';

/**
 * Changes that were made closer together share a time: clocks of two machines differ by about as
 * much.
 */
export const SAME_TIME_MS = 100;

/** Rows looked at between two looks at the clock. */
const ROWS_PER_LOOK = 4096;
/**
 * Transactions that are sealed before more are looked for, and times within one: bounds memory,
 * however long nobody sealed.
 */
const MAX_RANGES = 4096;
const MAX_SPANS = 16_384;

/**
 * SQLite before 3.37 counts the changes of a connection in 32 bits: near their end the count may
 * wrap around.
 */
const LARGEST_CERTAIN_TOTAL = 2_000_000_000;

/** The beginning of 1970 as a Julian day, and how long one is. */
export const JULIAN_DAY = { unixEpoch: 2_440_587.5, ms: 86_400_000 };

/**
 * Captured rows up to `end`, from where the span before it ends, that were written at about the
 * same time.
 */
export interface WrittenSpan {
  readonly end: number;
  /** One row that was moved here: its time says nothing about what comes after it. */
  readonly moved?: true;
  /** By this machine's wall clock. */
  readonly writtenMs: number;
}

/** Captured rows up to `end` that become one transaction. */
export interface SealRange {
  readonly end: number;
  /** When they were written; the last span ends where the range does. Absent: now. */
  readonly spans?: readonly WrittenSpan[];
  /** It is not sent as it is: any time will do, which no clock has to give. */
  readonly undated?: boolean;
}

/**
 * What triggers note with each captured row: when (a Julian day), and how many changes its
 * connection had made.
 */
type CapturedRow = readonly [seq: number, at: number | null, total: number | null];

const COLUMNS = 'SELECT seq, at, total FROM _antiphon_outbox';

/**
 * What lies in the outbox, as transactions: which of its rows were certainly committed apart, and
 * when they were written.
 *
 * Nothing in SQLite tells a trigger where a transaction ends. But a connection counts its changes
 * upwards, so a row whose count is not above that of the row before it was written by another
 * connection, in another transaction. Rows of one connection stay one transaction, however far
 * apart they are: cutting a user's transaction in two would break its atomicity. Their rows keep
 * their own times in it (docs/decisions/0030).
 */
export class CapturedTimes {
  readonly #firstMs: number;
  readonly #lastMs: number;
  /**
   * They were not all made at about the same time. A running replica seals within milliseconds.
   */
  readonly spread: boolean;

  /**
   * `eachRow`: rows of one transaction may have different times; else all have that of the last.
   */
  constructor(
    private readonly connection: Connection,
    private readonly nowMs: number,
    private readonly eachRow: boolean,
  ) {
    this.#lastMs = this.#timeOf(this.#row('DESC'), nowMs);
    this.#firstMs = this.#timeOf(this.#row('ASC'), this.#lastMs);
    // A row that was moved to the front has the time of the last one: all of them are looked at,
    // unless these two tell, as they do of what took long to write.
    this.spread = Math.abs(this.#lastMs - this.#firstMs) >= SAME_TIME_MS || this.#range() >= SAME_TIME_MS;
  }

  #range(): number {
    const sql = 'SELECT min(at), max(at) FROM _antiphon_outbox';
    const [min, max] = (
      this.connection.statement(sql, 'array').get() as readonly [number | null, number | null]
    ).map((at) => this.#timeOf([0, at, null], this.#lastMs));
    return (max ?? 0) - (min ?? 0);
  }

  /** Up to `last`, in order, a bounded number at a time. */
  async *ranges(last: number, pace: Pace): AsyncGenerator<readonly SealRange[], void, undefined> {
    if (!this.spread) {
      yield [{ end: last, spans: [{ end: last, writtenMs: this.#lastMs }] }];
      return;
    }
    const rows = this.connection.statement(
      `${COLUMNS} WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?`,
      'array',
    );
    const splitter = new Splitter(this.eachRow);
    let beforeMs = this.#firstMs;
    for (let from = 0; from < last;) {
      const page = rows.all(from, last, ROWS_PER_LOOK) as unknown as CapturedRow[];
      for (const row of page) {
        const writtenMs = this.#timeOf(row, beforeMs);
        splitter.take(row[0], writtenMs, row[2]);
        if (!countsOf(row[2]).isMoved) beforeMs = writtenMs;
      }
      from = page.at(-1)?.[0] ?? last;
      if (splitter.complete.length >= MAX_RANGES) yield splitter.complete.splice(0);
      if (pace.due()) await pace.rest();
    }
    splitter.finish();
    yield splitter.complete;
  }

  #row(order: 'ASC' | 'DESC'): CapturedRow | undefined {
    const sql = `${COLUMNS} WHERE at IS NOT NULL ORDER BY seq ${order} LIMIT 1`;
    return this.connection.statement(sql, 'array').get() as CapturedRow | undefined;
  }

  /**
   * A time in the future is now; rows that were put there without one have that of the row before.
   */
  #timeOf(row: CapturedRow | undefined, beforeMs: number): number {
    const at = row?.[1] ?? null;
    if (at === null) return beforeMs;
    return Math.min(this.nowMs, Math.round((at - JULIAN_DAY.unixEpoch) * JULIAN_DAY.ms));
  }
}

/** Below every count. */
const UNKNOWN = -1;

/**
 * What `total` says: how many changes the connection had made before this row, or before the first
 * and the last of the rows that it stands for. No first: it begins no transaction; no last: what
 * was known goes on.
 */
function countsOf(total: number | null): {
  readonly first?: number;
  readonly last?: number;
  readonly isMoved?: true;
} {
  if (total === null) return { last: UNKNOWN };
  if (total >= 0) return { first: total, last: total };
  if (total === TOTAL_MOVED) return { last: UNKNOWN, isMoved: true };
  if (total === TOTAL_WITHIN) return {};
  if (total > TOTAL_JOINED) return { last: TOTAL_MOVED - 1 - total };
  const isMoved = total <= TOTAL_JOINED_MOVED;
  const pair = (isMoved ? TOTAL_JOINED_MOVED : TOTAL_JOINED) - total;
  return { first: Math.floor(pair / TOTAL_PAIR), last: pair % TOTAL_PAIR, ...(isMoved && { isMoved }) };
}

/** Cuts rows that come in order into ranges, and these into spans. */
class Splitter {
  readonly complete: SealRange[] = [];
  #spans: WrittenSpan[] = [];
  /** Of the row before. */
  #seq = 0;
  #writtenMs = 0;
  #total = UNKNOWN;
  /** There are rows in no span yet. */
  #open = false;
  /** Of the first row of the span that is open. */
  #sinceMs = 0;
  #sameTimeMs = SAME_TIME_MS;

  constructor(private readonly eachRow: boolean) {}

  take(seq: number, writtenMs: number, total: number | null): void {
    const { first, last, isMoved } = countsOf(total);
    const begins = first !== undefined && first <= this.#total && this.#total < LARGEST_CERTAIN_TOTAL;
    if (begins) this.#closeRange();
    if (last !== undefined) this.#total = last;
    if (isMoved && this.eachRow) return this.#takeMoved(seq, writtenMs);
    if (!begins && this.eachRow && Math.abs(writtenMs - this.#sinceMs) >= this.#sameTimeMs) this.#closeSpan();
    if (!this.#open) this.#sinceMs = writtenMs;
    this.#open = true;
    this.#seq = seq;
    this.#writtenMs = writtenMs;
  }

  #takeMoved(seq: number, writtenMs: number): void {
    this.#closeSpan();
    this.#push({ end: seq, writtenMs, moved: true });
    this.#seq = seq;
  }

  finish(): void {
    this.#closeRange();
  }

  #closeSpan(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#push({ end: this.#seq, writtenMs: this.#writtenMs });
  }

  #push(span: WrittenSpan): void {
    this.#spans.push(span);
    if (this.#spans.length < MAX_SPANS) return;
    // A transaction of very many times: neighbours share one, that of the later.
    this.#spans = this.#spans
      .filter((_, index) => index % 2 === 1)
      .map(({ end, writtenMs }) => ({ end, writtenMs }));
    this.#sameTimeMs *= 2;
  }

  #closeRange(): void {
    this.#closeSpan();
    this.complete.push({ end: this.#seq, spans: this.#spans });
    this.#spans = [];
    this.#sameTimeMs = SAME_TIME_MS;
  }
}
