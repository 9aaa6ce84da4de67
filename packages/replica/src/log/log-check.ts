import {
  AntiphonError,
  type Clock,
  describeEntry,
  isSameEntry,
  type KnownEntry,
  type LogEntry,
  type LogIdentity,
  sleep,
} from '@antiphon/core';

/** Between the looks that it takes to believe bad news. */
const CONFIRM_WAIT_MS = 250;
/**
 * Of several servers, one that has just begun to lead the log may not show all of it yet, and the
 * one before it may answer for a moment when it is back: bad news has to last.
 */
const REPLICATED_CONFIRM_MS = 10_000;

interface Confirming {
  readonly log: { readonly isReplicated: boolean };
  readonly clock: Clock;
}

/** What is wrong with the log, once that has been found again and again; undefined when nothing. */
export async function confirmedLoss(
  { log, clock }: Confirming,
  look: () => Promise<string | undefined>,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const startedMs = clock.monotonicMs();
  for (;;) {
    const loss = await look();
    const forMs = log.isReplicated ? REPLICATED_CONFIRM_MS : CONFIRM_WAIT_MS;
    if (loss === undefined || clock.monotonicMs() - startedMs >= forMs) return loss;
    await sleep(clock, CONFIRM_WAIT_MS, signal);
  }
}

/** I14. `knownSeq`: an entry that the log had before it was asked. Throws LOG_REPLACED. */
export function assertSameLog(identity: LogIdentity, generation: string, knownSeq: number): void {
  if (identity.generation !== generation) {
    throw logReplaced(
      `it has generation ${identity.generation}, not ${generation}: the stream was recreated`,
    );
  }
  const loss = lossOfEnd(identity, knownSeq);
  if (loss !== undefined) throw logReplaced(loss, { seq: knownSeq });
}

/** As well: what comes next for a reader at `seq` is still there. */
export function assertReadable(identity: LogIdentity, seq: number): void {
  if (identity.firstSeq > seq + 1) {
    throw logReplaced(
      `it begins at ${identity.firstSeq}, and this replica needs it from ${seq + 1} on: it was trimmed`,
      { seq },
    );
  }
}

/**
 * What is wrong with a log that is known to have had `knownSeq`, by its length alone; undefined
 * when nothing.
 */
export function lossOfEnd({ firstSeq, lastSeq }: LogIdentity, knownSeq: number): string | undefined {
  if (lastSeq < knownSeq)
    return `it ends at ${lastSeq}, although it had ${knownSeq} before: the stream was truncated or restored`;
  if (lastSeq > 0 && firstSeq > lastSeq) return `all its entries up to ${lastSeq} were purged`;
  return undefined;
}

/**
 * What is wrong with the entry that the log has under the number of one that is known; undefined
 * when nothing.
 */
export function lossOfEntry(
  known: KnownEntry,
  found: LogEntry | undefined,
  { firstSeq }: LogIdentity,
): string | undefined {
  const { seq } = known;
  if (found === undefined) return firstSeq > seq ? undefined : `its entry ${seq} was removed`;
  if (isSameEntry(known, found) !== false) return undefined;
  return (
    `its entry ${seq} is not the one that this replica knows (${describeEntry(known)}), but another one ` +
    `(${describeEntry(found)}): the log lost its newest entries and grew again`
  );
}

export function logReplaced(why: string, context: Readonly<Record<string, unknown>> = {}): AntiphonError {
  return new AntiphonError(
    'LOG_REPLACED',
    `The log is not what this database was replicating with: ${why}. Nothing more of it is applied. ` +
      'Stop the replicas and follow docs/lost-log.md: put the log back, or decide which databases to keep.',
    { context },
  );
}
