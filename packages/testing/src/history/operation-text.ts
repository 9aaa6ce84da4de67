import type { OperationRecord } from './operation.js';

/** What an operation did and how it ended, e.g. `write 7: unknown`. */
export function operationText({ operation, completion }: OperationRecord): string {
  const asked = askedText(operation);
  if (completion.type !== 'ok') return `${asked}: ${completion.type}`;
  const version = completion.version === undefined ? '' : ` (version ${completion.version})`;
  if (completion.value === undefined) return `${asked}: ok${version}`;
  return `${asked} -> ${JSON.stringify(completion.value)}${version}`;
}

function askedText(operation: OperationRecord['operation']): string {
  switch (operation.kind) {
    case 'read':
      return 'read';
    case 'write':
      return `write ${JSON.stringify(operation.value)}`;
    case 'increment':
      return `increment by ${operation.by}`;
  }
}

/**
 * Operations as a table, a line each, with times from `startMs` on; the marked one gets an arrow.
 */
export function operationTable(
  records: readonly OperationRecord[],
  startMs: number,
  marked?: OperationRecord,
): readonly string[] {
  const width = Math.max(0, ...records.map(({ process }) => process.length));
  return records.map((record) => {
    const from = timeText(record.invokedAtMs - startMs);
    const to =
      record.completedAtMs === undefined
        ? '?'.padStart(from.length)
        : timeText(record.completedAtMs - startMs);
    const arrow = record === marked ? '->' : '  ';
    return `${arrow} ${from} .. ${to} ms  ${record.process.padEnd(width)}  ${operationText(record)}`;
  });
}

function timeText(ms: number): string {
  return ms.toFixed(3).padStart(12);
}
