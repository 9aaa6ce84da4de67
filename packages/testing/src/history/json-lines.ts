import { AntiphonError, toAntiphonError } from '@antiphon/core';
import type { OperationRecord } from './operation.js';
import { validateRecord } from './record-format.js';

/** One operation as one line of JSON, without the line's end. */
export function formatRecord(record: OperationRecord): string {
  return JSON.stringify(record);
}

/** A history as JSON lines: each operation a line, each line ended. */
export function formatHistory(records: readonly OperationRecord[]): string {
  return records.map((record) => `${formatRecord(record)}\n`).join('');
}

/**
 * Reads JSON lines, of one process or of several joined in any order, and returns the operations in
 * the order of invocation. Whoever may be killed writes each operation twice: its line when it is
 * invoked (unknown) and again when it is completed, which replaces the first; else a write that was
 * under way would be missing, and what others read of it would look invented. A last line that was
 * cut off by the kill is left out.
 *
 * @throws AntiphonError BAD_OPTION for a line that is no operation, or two different endings of one
 *   operation.
 */
export function parseHistory(text: string): readonly OperationRecord[] {
  const records = new Map<string, OperationRecord>();
  const lines = text.split('\n');
  lines.forEach((line, index) => {
    if (line.trim() === '') return;
    const record = parseLine(line, index + 1, index === lines.length - 1);
    if (record !== undefined) add(records, record);
  });
  return [...records.values()].sort(byInvocation);
}

/**
 * The operations of several processes as one history. They must have been recorded on one clock.
 */
export function mergeHistories(
  histories: readonly (readonly OperationRecord[])[],
): readonly OperationRecord[] {
  const records = new Map<string, OperationRecord>();
  for (const record of histories.flat()) add(records, record);
  return [...records.values()].sort(byInvocation);
}

function parseLine(line: string, number: number, isUnfinished: boolean): OperationRecord | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (cause) {
    if (isUnfinished) return undefined;
    throw new AntiphonError('BAD_OPTION', `Line ${number} is not JSON. Write one operation a line.`, {
      cause,
    });
  }
  try {
    validateRecord(parsed);
  } catch (cause) {
    throw new AntiphonError('BAD_OPTION', `Line ${number}: ${toAntiphonError(cause).message}`, { cause });
  }
  return parsed;
}

function add(records: Map<string, OperationRecord>, record: OperationRecord): void {
  const name = JSON.stringify([record.process, record.id]);
  const earlier = records.get(name);
  if (earlier === undefined || earlier.completion.type === 'unknown') {
    if (earlier !== undefined && !isSameInvocation(earlier, record)) throw contradiction(record);
    records.set(name, record);
    return;
  }
  if (
    record.completion.type === 'unknown'
      ? !isSameInvocation(earlier, record)
      : formatRecord(earlier) !== formatRecord(record)
  ) {
    throw contradiction(record);
  }
}

function isSameInvocation(one: OperationRecord, other: OperationRecord): boolean {
  return (
    one.invokedAtMs === other.invokedAtMs && JSON.stringify(one.operation) === JSON.stringify(other.operation)
  );
}

function contradiction(record: OperationRecord): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `Operation ${record.process}#${record.id} was recorded twice and differently. Give every process a name of its own.`,
  );
}

export function byInvocation(one: OperationRecord, other: OperationRecord): number {
  if (one.invokedAtMs !== other.invokedAtMs) return one.invokedAtMs - other.invokedAtMs;
  if (one.process !== other.process) return one.process < other.process ? -1 : 1;
  return one.id - other.id;
}
