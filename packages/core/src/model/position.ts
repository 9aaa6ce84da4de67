/**
 * An entry of the log, and what tells it from another one under the same number (I14): a log that
 * lost its newest entries and grew again gives numbers twice. At least one of the two is there.
 */
export interface KnownEntry {
  readonly seq: number;
  /**
   * When the log stored it, milliseconds since 1970 with their microseconds. Known once the entry
   * was read.
   */
  readonly storedAtMs?: number;
  /** The id of the append that brought it there. Known to whoever appended it. */
  readonly attempt?: string;
}

/**
 * A place in the log. `seq` is the JetStream sequence of the last entry dealt with; 0 is before the
 * first.
 */
export interface Position {
  /** Identity of the stream: positions of different generations cannot be compared (I14). */
  readonly generation: string;
  readonly seq: number;
  /**
   * The newest entry up to `seq` that is known well enough to be recognized. As a rule the one at
   * `seq`; an older one when the position went on to an entry that was not read.
   */
  readonly entry?: KnownEntry;
}

/**
 * Of a UUID of version 7, its time to the millisecond: fewer characters do not tell a log from its
 * successor.
 */
const SHOWN_GENERATION = 13;

/** For people: `0192f3a4-b5c6/42`. The beginning of the generation is enough to name a place. */
export function formatPosition(position: Position): string {
  return `${position.generation.slice(0, SHOWN_GENERATION)}/${position.seq}`;
}

/** `next`, with the entry that is known already when `next` names none. */
export function movedTo(position: Position, next: Position): Position {
  const { entry } = position;
  const keeps = next.entry === undefined && entry !== undefined && entry.seq <= next.seq;
  return keeps && next.generation === position.generation ? { ...next, entry } : next;
}

/** Is `found` the entry that is known? undefined when nothing that is known of both tells. */
export function isSameEntry(known: KnownEntry, found: KnownEntry): boolean | undefined {
  if (known.seq !== found.seq) return undefined;
  const { storedAtMs, attempt } = known;
  if (storedAtMs !== undefined && found.storedAtMs !== undefined) return storedAtMs === found.storedAtMs;
  if (attempt !== undefined && found.attempt !== undefined) return attempt === found.attempt;
  return undefined;
}

/** For messages: "stored at 2026-01-02T03:04:05.678Z by r1:5-7~abc1". */
export function describeEntry({ storedAtMs, attempt }: KnownEntry): string {
  const at = storedAtMs === undefined ? '' : ` at ${new Date(storedAtMs).toISOString()}`;
  return `stored${at}${attempt === undefined ? '' : ` by append ${attempt}`}`;
}
