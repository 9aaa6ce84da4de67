import { decodeRecord, encodeControl, isIdentifier } from '@antiphon/core';

/** The origin of these records in the log; no replica can be called so. */
export const IN_SYNC_ORIGIN = '_insync';
const FORMAT = 1;
const MAX_KNOWN = 1024;

/**
 * Which members `acks: 'all'` waits for, from this entry of the log on until the next such entry.
 */
export interface InSyncRecord {
  readonly members: readonly string[];
  /** Everyone who ever was, without those that were removed since: of these, a majority is one. */
  readonly known: readonly string[];
  /** Who changed it, and why: for people. */
  readonly by: string;
  readonly why: string;
  readonly atMs: number;
}

export function encodeInSyncRecord(record: InSyncRecord): Uint8Array {
  return encodeControl({ format: FORMAT, ...record });
}

/** undefined for what is no such record: somebody else's message must not change the set. */
export function decodeInSyncRecord(data: Uint8Array): InSyncRecord | undefined {
  const input = decodeRecord(data, FORMAT);
  if (input === undefined) return undefined;
  const { members, known, by, why, atMs } = input;
  const inSync = parseIds(members);
  const ever = parseIds(known);
  if (inSync === undefined || ever === undefined || !inSync.every((id) => ever.includes(id)))
    return undefined;
  if (typeof by !== 'string' || typeof why !== 'string') return undefined;
  return { members: inSync, known: ever, by, why: why.slice(0, 200), atMs: Number(atMs) };
}

function parseIds(input: unknown): readonly string[] | undefined {
  if (!Array.isArray(input) || input.length === 0 || input.length > MAX_KNOWN) return undefined;
  const ids = input.filter((id): id is string => typeof id === 'string' && isIdentifier(id));
  return ids.length === input.length ? [...new Set(ids)].sort() : undefined;
}
