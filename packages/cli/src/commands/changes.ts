import { clusterChanges, parseCursor, type ClusterChangesOptions } from '@antiphon/client';
import { formatTransactionId, type LoggedChange, type RowObject, type Value } from '@antiphon/core';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { databaseValue, toJson, valueToText } from '../output/json.js';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, commaList, defineCommand, wholeNumber, type CommandHost } from './define.js';

interface ChangesOptions extends TargetOptions {
  readonly from: string;
  readonly tables?: readonly string[];
  readonly max?: number;
}

const MICROSECONDS_PER_MS = 1000;

export function defineChanges(host: CommandHost): void {
  defineCommand<ChangesOptions>(host, {
    name: 'changes',
    description: 'follow committed changes, in the order of the log, until Ctrl-C',
    examples: ['antiphon changes --from beginning --tables orders,customers --json'],
    configure: (command) => {
      command
        .option('--from <place>', 'now, beginning, or the cursor of a change', 'now')
        .option('--tables <names>', 'only of these tables, separated by commas', commaList)
        .option('-n, --max <count>', 'end after so many changes', wholeNumber(1, Number.MAX_SAFE_INTEGER));
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }) => {
      const from = placeOf(options.from);
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      const onProblem = (text: string): void => terminal.err(`${styled(terminal, 'yellow', '!')} ${text}\n`);
      const { tables } = options;
      let count = 0;
      terminal.waitingFor('changes');
      for await (const change of clusterChanges(client, {
        from,
        ...(tables && { tables }),
        onProblem,
        signal,
      })) {
        terminal.out(terminal.json ? `${changeToJson(change)}\n` : `${changeToText(change, terminal)}\n`);
        count += 1;
        if (count === options.max) break;
      }
      return EXIT.ok;
    },
  });
}

function placeOf(from: string): ClusterChangesOptions['from'] {
  return from === 'now' || from === 'beginning' ? from : parseCursor(from, '--from');
}

function changeToJson({ id, time, ...change }: LoggedChange): string {
  const named = (row: RowObject | undefined): unknown =>
    row === undefined
      ? undefined
      : Object.fromEntries(Object.entries(row).map(([name, value]) => [name, databaseValue(value)]));
  const { table, op, key, before, after, seq, cursor, last } = change;
  const rows = { key: named(key), before: named(before), after: named(after) };
  return toJson({
    transaction: formatTransactionId(id),
    time: timeOf(time),
    table,
    op,
    ...rows,
    seq,
    cursor,
    last,
  });
}

function changeToText({ id, time, table, op, key, before, after }: LoggedChange, terminal: Terminal): string {
  const style = { insert: 'green', update: 'yellow', delete: 'red' } as const;
  const shown = (row: RowObject): string =>
    Object.entries(row)
      .map(([name, value]) => `${name}=${shortened(value)}`)
      .join(' ');
  const changed = (): string =>
    Object.entries(before ?? {})
      .map(([name, value]) => `${name}: ${shortened(value)} → ${shortened(after?.[name] ?? null)}`)
      .join(', ');
  const detail = op === 'update' ? changed() : shown((op === 'insert' ? after : before) ?? {});
  const what = `${styled(terminal, style[op], op.padEnd(6))} ${table} ${shown(key)}`;
  return `${styled(terminal, 'dim', timeOf(time).slice(11, 23))} ${formatTransactionId(id)} ${what}  ${detail}`;
}

const SHOWN_CHARACTERS = 40;

function shortened(value: Value): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : valueToText(value);
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS - 1)}…`;
}

function timeOf(hybridTime: number): string {
  return new Date(hybridTime / MICROSECONDS_PER_MS).toISOString();
}
