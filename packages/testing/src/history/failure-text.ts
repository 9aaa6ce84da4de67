import { byInvocation } from './json-lines.js';
import type { OperationRecord, RegisterValue } from './operation.js';
import { operationTable, operationText } from './operation-text.js';
import type { Failure } from './smallest-failure.js';

/** How many operations before the culprit are listed, besides those that contradict each other. */
const LAST_OPERATIONS = 10;
/** Of a contradiction that did not get small, only the last ones are listed. */
const MAX_LISTED = 40;

/** Why a key is not linearizable, for a person to read. */
export function failureText(key: string, records: readonly OperationRecord[], failure: Failure): string {
  const { core, completedCount } = failure;
  const culprit = failure.culprit.record;
  const sorted = [...records].sort(byInvocation);
  const startMs = sorted[0]?.invokedAtMs ?? 0;
  const before = sorted.filter(({ invokedAtMs }) => invokedAtMs <= (culprit.completedAtMs ?? Infinity));
  const listed = core.map(({ record }) => record).slice(-MAX_LISTED);
  const omitted = core.length - listed.length;
  return [
    `Key ${JSON.stringify(key)} is not linearizable: ${culprit.process} got an answer that no order of the operations explains.`,
    `  ${operationText(culprit)}`,
    ...reasons(sorted, failure),
    `The ${completedCount - 1} operations that completed before it have an order; with it there is none.`,
    'These contradict each other (times from the first operation on this key):',
    ...(omitted > 0 ? [`   … ${omitted} before`] : []),
    ...operationTable(listed, startMs, culprit),
    'The last operations on this key until then:',
    ...operationTable(before.slice(-LAST_OPERATIONS), startMs, culprit),
  ].join('\n');
}

function reasons(
  records: readonly OperationRecord[],
  { culprit, possibleValues }: Failure,
): readonly string[] {
  const lines: string[] = [];
  if (culprit.effect.kind === 'read') lines.push(sourceText(records, culprit.effect.value));
  if (possibleValues !== undefined && possibleValues.length > 0) {
    const values = possibleValues.map((value) => JSON.stringify(value));
    lines.push(`It could have returned ${values.join(' or ')}.`);
  }
  return lines;
}

function sourceText(records: readonly OperationRecord[], value: RegisterValue): string {
  const text = JSON.stringify(value);
  const writers = records.filter(({ operation }) => operation.kind === 'write' && operation.value === value);
  const [writer] = writers;
  if (writer === undefined) {
    const byIncrements = records.some(({ operation }) => operation.kind === 'increment');
    return byIncrements ? `Nobody wrote ${text} as such.` : `Nobody wrote ${text}.`;
  }
  if (writers.every(({ completion }) => completion.type === 'failed'))
    return `The write of ${text} was reported as failed.`;
  if (writers.length > 1) return `${text} was written ${writers.length} times.`;
  return `${text} was written once, by ${writer.process} (${writer.completion.type}).`;
}
