import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import type { BatchSummary } from '../codec/batch-summary.js';
import { summarize } from '../codec/decode-batches.js';
import { isSameEntry } from '../model/position.js';
import type { Log, LogEntry } from '../ports/log.js';
import { readFrom, type ChangeCursor } from './change-cursor.js';
import { MAX_LOOK_BACK } from './change-stream.js';

/** `place`: to read from; or why the log does not hold what follows it, as a sentence. */
export type FoundPlace = { readonly place: ChangeCursor } | { readonly lost: string };

/**
 * Looks for a place in the log as it is now. A log that was cut and grew again gives numbers of
 * entries, and of transactions, twice: only the entry itself tells (I14). Throws LOG_UNAVAILABLE,
 * LOG_REPLACED.
 */
export async function findPlace(
  log: Pick<Log, 'identity' | 'get'>,
  place: ChangeCursor,
  signal?: AbortSignal,
): Promise<FoundPlace> {
  const { seq, entry } = place;
  const { generation, firstSeq, lastSeq } = await log.identity(signal);
  if (place.generation !== generation) return { lost: 'It is a place in another log.' };
  if (seq < firstSeq) return { lost: `It is at entry ${seq}, and the log begins at entry ${firstSeq} now.` };
  if (entry !== undefined && entry.seq >= firstSeq) {
    const found = await log.get(entry.seq, signal);
    if (found === undefined ? entry.seq > lastSeq : isSameEntry(entry, found) === false) {
      const now =
        found === undefined ? `the log ends at entry ${lastSeq}` : 'there is another one under this number';
      return { lost: `It is behind entry ${entry.seq}, which the log lost: ${now}.` };
    }
  }
  // Parts of a transaction that nobody has finished may be trimmed away.
  return { place: readFrom(place) < firstSeq ? { ...place, openSeq: Math.max(1, firstSeq) } : place };
}

/** Where a database stands in the log. */
export interface Standpoint {
  /** It has dealt with everything before this entry. */
  readonly seq: number;
  readonly vector: VectorClock;
  /** Big transactions of which it has some parts, by origin. */
  readonly partial: Readonly<Record<string, { readonly counter: number; readonly time: number }>>;
}

/**
 * Big transactions whose parts are on their way will be committed after now: what a place says of
 * them. Parts that began more than 20,000 entries ago are not looked for. `get`: as of `Log`, which
 * begins at `firstSeq`.
 */
export async function findOpenParts(
  get: (seq: number) => Promise<LogEntry | undefined>,
  { seq: fromSeq, vector, partial }: Standpoint,
  firstSeq = 1,
): Promise<Pick<ChangeCursor, 'openSeq' | 'open'>> {
  const open = new Map(
    Object.entries(partial).filter(([origin, { counter }]) => counter > counterOf(vector, origin)),
  );
  const found: Record<string, number> = {};
  let first = fromSeq;
  for (
    let seq = fromSeq - 1;
    open.size > 0 && seq >= Math.max(firstSeq, fromSeq - MAX_LOOK_BACK + 1);
    seq--
  ) {
    const entry = await get(seq);
    const kept = entry && open.get(entry.origin);
    if (entry === undefined || kept === undefined || !beginsParts(entry, kept)) continue;
    open.delete(entry.origin);
    found[entry.origin] = kept.time;
    first = seq;
  }
  return first < fromSeq ? { openSeq: first, open: found } : {};
}

function beginsParts(entry: LogEntry, { counter, time }: { counter: number; time: number }): boolean {
  return summariesOf(entry).some(
    (batch) =>
      batch.kind === 'part' && batch.offset === 0 && batch.firstCounter === counter && batch.time === time,
  );
}

function summariesOf(entry: LogEntry): readonly BatchSummary[] {
  try {
    return summarize(entry.data);
  } catch {
    return []; // Malformed; replicas have quarantined it.
  }
}
