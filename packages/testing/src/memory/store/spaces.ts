import type {
  BatchHeader,
  GroupOutcome,
  QuarantinedMessage,
  Row,
  SealedMessage,
  Version,
} from '@antiphon/core';
import type { CapturedChange } from './capture.js';
import type { Space } from './database-transaction.js';
import type { MemoryTable } from './table.js';

/** What the latest writer of a row left there, or that it deleted it. Kept when deleted: a tombstone. */
export interface RowVersion {
  readonly version: Version;
  readonly deleted: boolean;
  /** A row that won but is not visible, since a later one holds its unique values. */
  readonly displaced: Row | undefined;
}

export interface KeptParts {
  readonly header: BatchHeader;
  readonly bodies: readonly Uint8Array[];
}

export type KeptMessage = Omit<QuarantinedMessage, 'bytes'> & { readonly data: Uint8Array };

/** One transaction that this database holds, in the order in which it came to hold them. */
export interface HistoryEntry {
  readonly origin: string;
  readonly counter: number;
  readonly time: number;
  readonly context: Readonly<Record<string, number>>;
  /** Equal for equal changes, however they were sent. */
  readonly digest: string;
}

export const TABLES: Space<MemoryTable> = { name: 'tables' };
export const CAPTURED: Space<CapturedChange> = { name: 'captured' };
export const OUTBOX: Space<SealedMessage> = { name: 'outbox' };
/** By origin. */
export const PARTIAL: Space<KeptParts> = { name: 'partial' };
export const QUARANTINE: Space<KeptMessage> = { name: 'quarantine' };
/** By their entry of the log. */
export const OUTCOMES: Space<GroupOutcome> = { name: 'outcomes' };
export const HISTORY: Space<HistoryEntry> = { name: 'history' };
/** By `table key`: the own transaction that wrote it while the own past was still to come, where rows have no versions to tell. */
export const WRITTEN_SINCE: Space<number> = { name: 'written since' };
export const SEQUENCES: Space<number> = { name: 'sequences' };

export function rowsOf(table: string): Space<Row> {
  return { name: `rows of ${table}` };
}

export function versionsOf(table: string): Space<RowVersion> {
  return { name: `versions of ${table}` };
}

const DIGITS = 12;

/** Keys that sort like the numbers. */
export function sequenceKey(number: number): string {
  return String(number).padStart(DIGITS, '0');
}
