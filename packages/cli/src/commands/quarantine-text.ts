import { type AntiphonError, counted, sentence, TaggedValue, type Value } from '@antiphon/core';
import type {
  CutValue,
  DiscardAnswer,
  QuarantinedDetail,
  QuarantineList,
  RetryAnswer,
} from '@antiphon/replica';
import { databaseValue, keyToText, toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import { formatTable } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';

/** What one replica said, or why it did not. */
export interface Said<T> {
  readonly id: string;
  readonly answer?: T;
  readonly error?: AntiphonError;
}

const COLUMNS = [
  { title: 'entry', align: 'right' },
  { title: 'origin' },
  { title: 'error' },
  { title: 'bytes', align: 'right' },
  { title: 'quarantined' },
] as const;

export function showList({ id, answer, error }: Said<QuarantineList>, terminal: Terminal): void {
  terminal.out(`${styled(terminal, 'bold', id)}: `);
  if (answer === undefined)
    return terminal.out(`${styled(terminal, 'red', error?.message ?? 'no answer')}\n`);
  const { messages, total, bytes, discarded, overflow, holding, waitingFor, more } = answer;
  const ever = [
    `${total} quarantined (${counted(bytes, 'byte')})`,
    ...(discarded > 0 ? [`${discarded} discarded`] : []),
    ...(overflow > 0 ? [`${overflow} not kept, for lack of space`] : []),
  ];
  terminal.out(`${ever.join(', ')}\n`);
  if (messages.length > 0) {
    const rows = messages.map((message) => [
      String(message.seq),
      message.origin,
      message.code,
      String(message.bytes),
      time(message.quarantinedAtMs),
    ]);
    terminal.out(formatTable(COLUMNS, rows, terminal));
    for (const message of reasonsOf(messages)) terminal.out(`  ${message}\n`);
  }
  if (more) terminal.out('  … there are more: --limit\n');
  if (holding !== undefined) {
    const { nextTryAtMs, message, attempts } = holding;
    const next =
      nextTryAtMs === undefined ? 'once the schema is what it was' : `at ${time(nextTryAtMs)} at the latest`;
    terminal.out(`${styled(terminal, 'red', 'holds')}: ${message}\n`);
    terminal.out(
      `  tried ${counted(attempts, 'time')}, again ${next}; \`antiphon quarantine retry --replica ${id}\` does it now\n`,
    );
  }
  for (const { origin, expected, reason, answer: said } of waitingFor) {
    const why = said === undefined ? sentence(reason) : `${sentence(reason)} ${sentence(said)}`;
    terminal.out(`${styled(terminal, 'yellow', 'waits')} for ${origin}:${expected}: ${why}\n`);
  }
}

const SHOWN_REASONS = 5;

/** Databases keep what older builds said. */
function withoutEntry(message: string): string {
  return message.replace(/^entry \d+ of the log (?:was (?:quarantined|put aside): )?/i, '');
}

/** Each once: a flood has one reason. */
export function reasonsOf(
  messages: readonly Pick<QuarantineList['messages'][number], 'message'>[],
): readonly string[] {
  const reasons = [...new Set(messages.map(({ message }) => withoutEntry(message)))];
  return reasons.slice(0, SHOWN_REASONS);
}

export function showDetail(id: string, details: readonly QuarantinedDetail[], terminal: Terminal): void {
  for (const { seq, origin, code, message, bytes, storedAtMs } of details) {
    terminal.out(
      `entry ${styled(terminal, 'bold', String(seq))} of the log, from ${origin}, ${counted(bytes, 'byte')}, `,
    );
    terminal.out(`stored at ${time(storedAtMs)}, on ${id}:\n${message} [${code}]\n`);
  }
  const content = details[0]?.content;
  if (content === undefined) return;
  if (content.type === 'unreadable') {
    const more = content.hex.length / 2 < content.bytes ? '…' : '';
    terminal.out(`It cannot be read: ${content.reason}\n${content.hex}${more}\n`);
    return;
  }
  for (const { origin, firstCounter, lastCounter, tables, part, synchronous } of content.batches) {
    const which = firstCounter === lastCounter ? firstCounter : `${firstCounter}–${lastCounter}`;
    const kind = synchronous
      ? ', synchronous'
      : part === undefined
        ? ''
        : `, a part from byte ${part.offset} on`;
    terminal.out(`transactions ${origin}:${which} on ${tables.join(', ')}${kind}\n`);
  }
  for (const { transaction, op, table, row } of content.changes)
    terminal.out(`  ${transaction} ${op} ${table} ${toJson(rowJson(row))}\n`);
  if (content.more) terminal.out('  … there is more\n');
}

export function asListJson({ id, answer, error }: Said<QuarantineList>): object {
  return { id, ...answer, ...(error && { error: { code: error.code, message: error.message } }) };
}

export function asDetailJson(id: string, details: readonly QuarantinedDetail[]): object {
  const messages = details.map(({ content, ...message }) => {
    if (content.type === 'unreadable') return { ...message, content };
    const changes = content.changes.map((change) => ({ ...change, row: rowJson(change.row) }));
    return { ...message, content: { ...content, changes } };
  });
  return { replica: id, messages };
}

function rowJson(row: Readonly<Record<string, Value | CutValue>>): object {
  return Object.fromEntries(Object.entries(row).map(([column, value]) => [column, valueJson(value)]));
}

/**
 * A value that was cut keeps its length; it is marked, so that nobody takes its beginning for the
 * whole.
 */
export function valueJson(value: Value | CutValue): unknown {
  return isCut(value) ? { cut: value } : databaseValue(value);
}

/** The values of a key, in a line of text. */
export function keyOf(key: readonly (Value | CutValue)[]): string {
  return key
    .map((value) => (isCut(value) ? `${keyToText(value.start)}… (${value.length} in all)` : keyToText(value)))
    .join('/');
}

function isCut(value: Value | CutValue): value is CutValue {
  return (
    typeof value === 'object' &&
    value !== null &&
    !(value instanceof Uint8Array) &&
    !(value instanceof TaggedValue)
  );
}

const STATE_STYLES = { applied: 'green', present: 'green', refused: 'yellow' } as const;

export function showRetried({ id, answer, error }: Said<RetryAnswer>, terminal: Terminal): void {
  const name = styled(terminal, 'bold', id);
  if (answer === undefined)
    return terminal.out(`${name}: ${styled(terminal, 'red', error?.message ?? 'no answer')}\n`);
  const { results, held } = answer;
  if (results.length === 0 && held === undefined) terminal.out(`${name}: there is nothing to retry\n`);
  for (const { seq, origin, state, message } of results)
    terminal.out(
      `${name}: entry ${seq} of ${origin} ${styled(terminal, STATE_STYLES[state], state)}. ${message}\n`,
    );
  if (held !== undefined)
    terminal.out(
      `${name}: ${styled(terminal, held.applied ? 'green' : 'yellow', held.applied ? 'applied' : 'held')}. ${held.message}\n`,
    );
}

export function showDiscarded({ id, answer, error }: Said<DiscardAnswer>, terminal: Terminal): void {
  const name = styled(terminal, 'bold', id);
  if (answer === undefined)
    return terminal.out(`${name}: ${styled(terminal, 'red', error?.message ?? 'no answer')}\n`);
  terminal.out(`${name}: ${answer.discarded} discarded\n`);
  for (const { origin, expected } of answer.waitingFor)
    terminal.out(`  it still waits for ${origin}:${expected}, which its origin has to publish again\n`);
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
