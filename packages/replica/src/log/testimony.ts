import { type Clock, describeEntry, isSameEntry, type KnownEntry } from '@antiphon/core';
import { confirmedLoss } from './log-check.js';
import type { VerifiedLog } from './verified-log.js';

/** The newest entry that another member has dealt with, in its own words. */
export interface Testimony {
  readonly id: string;
  readonly entry: KnownEntry;
}

/**
 * I14: the log is asked after the member, so it holds that entry or has lost it. One that it holds
 * is not known here for that: who has begun in another log would vouch for it, in place of what is
 * known, and not compared yet. Throws LOG_REPLACED.
 */
export async function assertHolds(
  { log, clock }: { readonly log: VerifiedLog; readonly clock: Clock },
  testimony: Testimony,
  signal: AbortSignal,
): Promise<void> {
  const loss = await confirmedLoss({ log, clock }, () => lossOf(testimony, log, signal), signal);
  if (loss !== undefined) throw log.replace(loss);
}

async function lossOf(
  { id, entry }: Testimony,
  log: VerifiedLog,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { seq } = entry;
  const found = await log.get(seq, signal);
  if (found === undefined) {
    const { lastSeq } = await log.identity(signal);
    // Trimmed, or removed: nobody can tell.
    if (lastSeq >= seq) return undefined;
    return `it ends at ${lastSeq}, and ${id} has dealt with its entry ${seq}: the stream was truncated or restored`;
  }
  if (isSameEntry(entry, found) !== false) return undefined;
  return `its entry ${seq} is ${describeEntry(found)}, and ${id} knows it as ${describeEntry(entry)}`;
}
