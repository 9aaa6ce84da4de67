import { checkOptions, type OptionNames } from '@antiphon/core';
import { byInvocation } from './json-lines.js';
import type { OperationRecord } from './operation.js';
import { operationText } from './operation-text.js';
import { validateRecord } from './record-format.js';

/**
 * The four guarantees of Terry et al., "Session guarantees for weakly consistent replicated data",
 * 1994.
 */
export type SessionGuarantee =
  'read-your-writes' | 'monotonic-reads' | 'monotonic-writes' | 'writes-follow-reads';

/** All four. */
export const SESSION_GUARANTEES: readonly SessionGuarantee[] = [
  'read-your-writes',
  'monotonic-reads',
  'monotonic-writes',
  'writes-follow-reads',
];

/** What to check. */
export interface SessionOptions {
  /**
   * Which guarantees.
   * @defaultValue all four
   */
  readonly guarantees?: readonly SessionGuarantee[];
}

const OPTIONS: OptionNames<SessionOptions> = { guarantees: true };

/** A guarantee that two operations of one session break. */
export interface SessionViolation {
  readonly guarantee: SessionGuarantee;
  readonly process: string;
  readonly key: string;
  readonly earlier: OperationRecord;
  readonly later: OperationRecord;
  readonly explanation: string;
}

/** What the check found. */
export interface SessionResult {
  readonly violations: readonly SessionViolation[];
  /**
   * How many operations had a version to compare; without versions nothing is checked and nothing
   * violated.
   */
  readonly checked: number;
  /** Operations that are ok but told no version. */
  readonly unchecked: number;
}

/**
 * Checks per process (a session) and key what the session may rely on, from versions: a write
 * completes with the version it got (`completion.version`), a read with the version it saw; the
 * versions of a key are numbers, higher is later, and every write gets its own. A read that found
 * nothing saw version 0, unless the key is deleted in this history: then it must say the version.
 *
 * An operation counts as earlier when it ended before the other began. A session does one thing at
 * a time, so where times touch, the ids decide. Failed and unknown operations promise nothing. At
 * most one violation is reported for each guarantee and operation: against the highest version of
 * what came earlier.
 */
export function checkSession(
  records: readonly OperationRecord[],
  options: SessionOptions = {},
): SessionResult {
  checkOptions(options, OPTIONS, 'checkSession()');
  const guarantees = new Set(options.guarantees ?? SESSION_GUARANTEES);
  const deletedKeys = new Set<string>();
  for (const record of records) {
    validateRecord(record);
    if (isDelete(record)) deletedKeys.add(record.operation.key);
  }
  const sessions = new Map<string, Versioned[]>();
  let unchecked = 0;
  for (const record of records) {
    if (record.completion.type !== 'ok') continue;
    const version = versionOf(record, deletedKeys);
    if (version === undefined) {
      unchecked++;
      continue;
    }
    const name = JSON.stringify([record.process, record.operation.key]);
    const session = sessions.get(name) ?? [];
    session.push({ record, version });
    sessions.set(name, session);
  }
  const all = [...sessions.values()];
  const violations = all.flatMap((session) => checkOneSession(session, guarantees));
  return { violations, checked: all.reduce((sum, session) => sum + session.length, 0), unchecked };
}

interface Versioned {
  readonly record: OperationRecord;
  readonly version: number;
}

function isDelete({ operation, completion }: OperationRecord): boolean {
  return operation.kind === 'write' && operation.value === null && completion.type !== 'failed';
}

function versionOf(
  { operation, completion }: OperationRecord,
  deletedKeys: ReadonlySet<string>,
): number | undefined {
  if (completion.type !== 'ok') return undefined;
  if (completion.version !== undefined) return completion.version;
  const foundNothing = operation.kind === 'read' && completion.value === null;
  return foundNothing && !deletedKeys.has(operation.key) ? 0 : undefined;
}

function checkOneSession(
  session: readonly Versioned[],
  guarantees: ReadonlySet<SessionGuarantee>,
): readonly SessionViolation[] {
  const byBeginning = [...session].sort((one, other) => byInvocation(one.record, other.record));
  const byEnd = [...session].sort(
    (one, other) => endOf(one) - endOf(other) || one.record.id - other.record.id,
  );
  const violations: SessionViolation[] = [];
  let ended = 0;
  let lastRead: Versioned | undefined;
  let lastWrite: Versioned | undefined;
  for (const later of byBeginning) {
    for (let next = byEnd[ended]; next !== undefined && isEarlier(next, later); next = byEnd[++ended]) {
      if (isRead(next)) lastRead = higher(lastRead, next);
      else lastWrite = higher(lastWrite, next);
    }
    const afterWrite = isRead(later) ? 'read-your-writes' : 'monotonic-writes';
    const afterRead = isRead(later) ? 'monotonic-reads' : 'writes-follow-reads';
    if (lastWrite !== undefined && guarantees.has(afterWrite) && isViolated(lastWrite, later)) {
      violations.push(violation(afterWrite, lastWrite, later));
    }
    if (lastRead !== undefined && guarantees.has(afterRead) && isViolated(lastRead, later)) {
      violations.push(violation(afterRead, lastRead, later));
    }
  }
  return violations;
}

function endOf({ record }: Versioned): number {
  return record.completedAtMs ?? Infinity;
}

function isEarlier(one: Versioned, other: Versioned): boolean {
  const end = endOf(one);
  const begin = other.record.invokedAtMs;
  return end < begin || (end === begin && one.record.id < other.record.id);
}

function isRead({ record }: Versioned): boolean {
  return record.operation.kind === 'read';
}

function higher(one: Versioned | undefined, other: Versioned): Versioned {
  return one === undefined || other.version > one.version ? other : one;
}

/** A read may see the same version again; a write makes a new one. */
function isViolated(earlier: Versioned, later: Versioned): boolean {
  return isRead(later) ? later.version < earlier.version : later.version <= earlier.version;
}

const MEANS: Readonly<Record<SessionGuarantee, string>> = {
  'read-your-writes': 'it read a version older than the one it had written',
  'monotonic-reads': 'it read a version older than the one it had read',
  'monotonic-writes': 'its write did not come after its earlier write',
  'writes-follow-reads': 'its write did not come after what it had read',
};

function violation(guarantee: SessionGuarantee, earlier: Versioned, later: Versioned): SessionViolation {
  const { process } = later.record;
  const { key } = later.record.operation;
  const gapMs = later.record.invokedAtMs - endOf(earlier);
  const explanation =
    `${guarantee}: ${process} on key ${JSON.stringify(key)}: ${MEANS[guarantee]}. ` +
    `First ${operationText(earlier.record)}, then (${gapMs.toFixed(3)} ms later) ${operationText(later.record)}.`;
  return { guarantee, process, key, earlier: earlier.record, later: later.record, explanation };
}
