import {
  AntiphonError,
  ChangeStream,
  decodeCursor,
  type Epoch,
  isReserved,
  summarize,
  type BatchSummary,
  type ChangeCursor,
  type IntakeRules,
  type Log,
  type LogEntry,
  type LoggedChange,
  type LogReader,
  readFrom,
  type SecondLook,
  type TransactionId,
} from '@antiphon/core';

/**
 * Parts of big transactions that are kept until their last part comes; a stream in a terminal need
 * not hold more.
 */
const MAX_KEPT_BYTES = 256 * 1024 * 1024;
const READ = { maxEntries: 64, maxBytes: 1024 * 1024 };

/** Between two looks at what replicas have, while nothing comes. */
const LOOK_MS = 2000;

/** `option`: what a message calls it. Throws BAD_OPTION. */
export function parseCursor(text: string, option = 'from'): ChangeCursor {
  try {
    return decodeCursor(text);
  } catch (cause) {
    const message = `${option} must be now, beginning, or the cursor of a change, not "${text.slice(0, 80)}".`;
    throw new AntiphonError('BAD_OPTION', message, { cause, context: { option } });
  }
}

export interface LogChangesOptions {
  readonly log: Pick<Log, 'read'>;
  readonly start: ChangeCursor;
  /** As of `ChangeStreamDeps`. */
  readonly again?: SecondLook['order'];
  /** What the cluster's description says now; undefined: it is lost. */
  readonly rules: () => Promise<IntakeRules | undefined>;
  readonly isMember: (origin: string) => Promise<boolean>;
  readonly isWanted: (table: string) => boolean;
  /** Counters of its transactions that certification rejected: they change nothing. */
  readonly rejectedIn: (seq: number, batches: readonly BatchSummary[]) => Promise<readonly number[]>;
  /** Called for entries that hold nothing a replica would apply. */
  /** The epoch that holds in front of this entry; undefined when nobody can tell. */
  readonly epochAt: (seq: number) => Epoch | undefined;
  readonly onEpoch: (epoch: Epoch) => void;
  readonly onIgnored: (seq: number, error: AntiphonError) => void;
  /** It was committed before the stream began. */
  readonly isOld?: (id: TransactionId) => boolean;
  /**
   * Asked again and again, with the place behind the last entry that was read, entry `seq`: true
   * ends the stream.
   */
  readonly isMissing?: (place: ChangeCursor, seq: number) => boolean;
  readonly signal: AbortSignal;
}

/**
 * Every change of the log from a place on, each once, an origin's transactions in their order; then
 * waits for more. Ends with the signal. It reads the log itself and takes part in nothing: no
 * replica notices it.
 */
export async function* logChanges(options: LogChangesOptions): AsyncGenerator<LoggedChange, void, undefined> {
  const { log, start, again, isWanted, isOld, isMissing, onIgnored, signal } = options;
  let seq = readFrom(start) - 1;
  const reader = await log.read({ generation: start.generation, fromSeq: seq + 1 });
  let isMember = false;
  let rules: IntakeRules | undefined;
  const stream = new ChangeStream(start, {
    rules: () => rules,
    epochAt: options.epochAt,
    onEpoch: options.onEpoch,
    isMember: () => isMember,
    keptBytes: MAX_KEPT_BYTES,
    tooLargeHint: 'Read its rows with a query, and continue from now.',
    isCommitted: () => true,
    // The replicas may know members that this stream cannot know.
    judgesCauses: false,
    onIgnored,
    ...(again && { again }),
    ...(isOld && { isOld }),
  });
  try {
    while (!signal.aborted) {
      if (isMissing?.(stream.placeAfter(seq), seq)) return;
      const entries = await nextOf(reader, signal, isMissing && LOOK_MS);
      rules = await options.rules();
      for (const entry of entries) {
        isMember = !isReserved(entry.origin) && (await options.isMember(entry.origin));
        const rejected = isMember ? await options.rejectedIn(entry.seq, summariesOf(entry)) : [];
        yield* stream.changesIn(entry, rejected, isWanted);
        seq = entry.seq;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    void reader.close();
  }
}

/** None when nothing comes for so long. */
async function nextOf(
  reader: LogReader,
  signal: AbortSignal,
  patienceMs: number | undefined,
): Promise<readonly LogEntry[]> {
  if (patienceMs === undefined) return reader.next({ ...READ, signal });
  const waking = new AbortController();
  const timer = setTimeout(() => waking.abort(), patienceMs);
  try {
    return await reader.next({ ...READ, signal: AbortSignal.any([signal, waking.signal]) });
  } catch (error) {
    if (waking.signal.aborted && !signal.aborted) return [];
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** None of what cannot be read, which the stream tells. */
function summariesOf(entry: LogEntry): readonly BatchSummary[] {
  try {
    return summarize(entry.data);
  } catch (error) {
    if (error instanceof AntiphonError) return [];
    throw error;
  }
}
