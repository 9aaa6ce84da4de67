import { counted } from '@antiphon/core';
import type { Value } from '@antiphon/core';
import type {
  ReapplyAnswer,
  RescueDetail,
  RescueList,
  ShownRescueChange,
  ShownRescueConflict,
  ShownRow,
} from '@antiphon/replica';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import { formatTable } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';
import { keyOf, type Said, valueJson } from './quarantine-text.js';

const COLUMNS = [
  { title: 'id', align: 'right' },
  { title: 'transaction' },
  { title: 'state' },
  { title: 'changes', align: 'right' },
  { title: 'tables' },
  { title: 'written' },
  { title: 'rescued', spare: 'always' },
] as const;
const US_PER_MS = 1000;

export function showList({ id, answer, error }: Said<RescueList>, terminal: Terminal): void {
  terminal.out(`${styled(terminal, 'bold', id)}: `);
  if (answer === undefined)
    return terminal.out(`${styled(terminal, 'red', error?.message ?? 'no answer')}\n`);
  const { transactions, kept, more } = answer;
  terminal.out(kept === 0 ? 'nothing is kept\n' : `${kept} kept\n`);
  if (transactions.length > 0)
    terminal.out(
      formatTable(
        COLUMNS,
        transactions.map(({ id: number, transaction, state, reason, reappliedAs, ...one }) => [
          String(number),
          transaction,
          reappliedAs === undefined
            ? reason === 'pending'
              ? 'pending'
              : state
            : `${state} as ${reappliedAs}`,
          String(one.changes),
          tablesOf(one),
          time(one.time / US_PER_MS),
          time(one.notedAtMs),
        ]),
        terminal,
      ),
    );
  if (more) terminal.out('  … there are more: --limit\n');
  if (kept > 0)
    terminal.out(
      `  Write them again with \`antiphon rescue reapply ID --replica ${id}\`, or dismiss them (\`antiphon rescue dismiss ID\`).\n`,
    );
}

export function showDetail(replica: string, detail: RescueDetail, terminal: Terminal): void {
  const { transaction, id, state, changes, reappliedAs, shown, more } = detail;
  const as = reappliedAs === undefined ? '' : ` as ${reappliedAs}`;
  terminal.out(
    `${styled(terminal, 'bold', transaction)} (${id} on ${replica}), written at ${time(detail.time / US_PER_MS)}, ` +
      `${counted(changes, 'change')}: ${state}${as}\n`,
  );
  for (const { op, ...change } of shown) {
    terminal.out(`  ${op} ${rowOf(change)}\n`);
    showImages(change, terminal);
  }
  if (more) terminal.out('  … there is more: --limit, or `antiphon rescue export`\n');
}

export function showAnswer(replica: string, answer: ReapplyAnswer, terminal: Terminal): void {
  const { id, outcome, transaction, primary, written, present, conflicting, conflicts, earlier } = answer;
  const name = `${replica}: ${id}`;
  if (outcome === 'present')
    terminal.out(`${name} is there already: all of its rows are what it had made of them on ${primary}\n`);
  if (outcome === 'done') {
    const as = transaction === undefined ? '' : ` as ${transaction}`;
    terminal.out(`${name} was written again before${as}: nothing is left to do\n`);
  }
  if (outcome === 'reapplied') {
    const rest = present === 0 ? '' : `, ${present} were there already`;
    const as = transaction === undefined ? '' : ` as ${transaction}`;
    terminal.out(
      `${name} ${styled(terminal, 'green', 'was written again')}${as} on ${primary}: ${counted(written, 'row')}${rest}\n`,
    );
  }
  if (outcome !== 'conflicts') return;
  terminal.out(
    `${name} ${styled(terminal, 'red', 'was not written')}: ${counted(conflicting, 'row')} on ${primary} ${conflicting === 1 ? 'is' : 'are'} neither as before it nor as after it\n`,
  );
  for (const conflict of conflicts) {
    terminal.out(`  ${rowOf(conflict)}\n`);
    showImages(conflict, terminal);
  }
  if (earlier.length > 0)
    terminal.out(
      `Earlier ones changed some of the same rows, and are kept as well. Write them again first: ${earlier.join(', ')}\n`,
    );
  terminal.out('With `--force` the rows become what it had made of them, whatever they are now.\n');
}

function rowOf({ table, key }: Pick<ShownRescueChange, 'table' | 'key'>): string {
  return `${table} ${keyOf(key)}`;
}

function showImages(change: Omit<ShownRescueConflict, 'table' | 'key'>, terminal: Terminal): void {
  const { columns, before, after, here } = change;
  for (const [title, row] of [
    ['before', before],
    ['after', after],
    ['here', here],
  ] as const)
    terminal.out(`    ${title.padEnd(6)} ${row === undefined ? 'no row' : toJson(rowJson(columns, row))}\n`);
  terminal.out(moreColumnsOf(change));
}

function tablesOf({
  tables,
  moreTables = 0,
}: Pick<RescueList['transactions'][number], 'tables' | 'moreTables'>) {
  return [...tables, ...(moreTables > 0 ? [`… ${moreTables} more`] : [])].join(', ');
}

/** Says what of a wide row is not shown. */
export function moreColumnsOf({ moreColumns = 0 }: Pick<ShownRescueChange, 'moreColumns'>): string {
  return moreColumns === 0
    ? ''
    : `    … ${counted(moreColumns, 'more column')} did not fit into the answer\n`;
}

export function asListJson({ id, answer, error }: Said<RescueList>): object {
  return { id, ...answer, ...(error && { error: { code: error.code, message: error.message } }) };
}

export function asDetailJson(replica: string, { shown, ...detail }: RescueDetail): object {
  return { replica, ...detail, shown: shown.map(asChangeJson) };
}

export function asChangeJson(change: ShownRescueChange | ShownRescueConflict): object {
  const { columns, key, before, after, here, ...rest } = change;
  return {
    ...rest,
    key: key.map(valueJson),
    ...(before && { before: rowJson(columns, before) }),
    ...(after && { after: rowJson(columns, after) }),
    ...(here && { here: rowJson(columns, here) }),
  };
}

export function asAnswerJson(replica: string, { conflicts, ...answer }: ReapplyAnswer): object {
  return { replica, ...answer, conflicts: conflicts.map(asChangeJson) };
}

export function rowJson(columns: readonly string[], row: ShownRow): object {
  return Object.fromEntries(columns.map((column, index) => [column, valueJson(row[index] as Value)]));
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
