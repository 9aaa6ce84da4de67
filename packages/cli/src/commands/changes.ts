import type { AntiphonError } from '@antiphon/core';
import { formatTransactionId, type Log, type Value } from '@antiphon/core';
import { CLUSTER_KEY, decodeClusterDocument, replicatedNames } from '@antiphon/replica';
import { ClusterClient } from '../cluster/cluster-client.js';
import { GroupVerdicts } from '../cluster/group-verdicts.js';
import {
  logChanges,
  parseCursor,
  type LoggedChange,
  type LogPlace,
  type RowObject,
} from '../cluster/log-changes.js';
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
      await using client = await ClusterClient.open(resolveTarget(options, env, cwd));
      await client.members();
      const log = client.nats.log(client.cluster);
      const start = await startOf(client, log, options.from, signal);
      const tables = options.tables && new Set(await tablesMeant(client, options.tables));
      let count = 0;
      const onProblem = (text: string): void => terminal.err(`${styled(terminal, 'yellow', '!')} ${text}\n`);
      const onIgnored = (seq: number, error: AntiphonError): void => {
        if (seq > 1) onProblem(`entry ${seq} of the log is ignored: ${error.message}`);
      };
      const verdicts = new GroupVerdicts({ client, onProblem, signal });
      const rejectedIn: GroupVerdicts['rejectedIn'] = (seq, batches) => verdicts.rejectedIn(seq, batches);
      const isMember = (origin: string): Promise<boolean> => client.isMember(origin);
      for await (const change of logChanges({ log, start, isMember, rejectedIn, onIgnored, signal })) {
        if (tables !== undefined && !tables.has(change.table)) continue;
        terminal.out(terminal.json ? `${changeToJson(change)}\n` : `${changeToText(change, terminal)}\n`);
        count += 1;
        if (count === options.max) break;
      }
      return EXIT.ok;
    },
  });
}

async function tablesMeant(
  { nats, cluster }: ClusterClient,
  tables: readonly string[],
): Promise<readonly string[]> {
  const entry = await nats.registry(cluster).get(CLUSTER_KEY);
  // A description that was lost is written again by whoever runs; the log can be followed meanwhile.
  if (entry === undefined) return tables;
  return replicatedNames(tables, decodeClusterDocument(entry.value).schema.tables, `Cluster ${cluster}`);
}

/** `now` is a replica's word for it: where it stands, and what lies before that place. */
async function startOf(
  client: ClusterClient,
  log: Log,
  from: string,
  signal: AbortSignal,
): Promise<LogPlace> {
  const { generation, firstSeq, lastSeq } = await log.open({ create: false, signal });
  if (from === 'beginning')
    return { generation, seq: Math.max(1, firstSeq), vector: {}, vectorIsComplete: firstSeq <= 1, skip: 0 };
  if (from !== 'now') return parseCursor(from);
  const [id] = await client.answering();
  if (id === undefined) return { generation, seq: lastSeq + 1, vector: {}, vectorIsComplete: false, skip: 0 };
  const standing = await client.replica(id).ask('standing');
  return { ...standing, seq: standing.seq + 1, vectorIsComplete: true, skip: 0 };
}

function changeToJson({ id, time, ...change }: LoggedChange): string {
  const named = (row: RowObject | undefined): unknown =>
    row === undefined
      ? undefined
      : Object.fromEntries(Object.entries(row).map(([name, value]) => [name, databaseValue(value)]));
  const { table, op, key, before, after, seq, cursor } = change;
  const rows = { key: named(key), before: named(before), after: named(after) };
  return toJson({
    transaction: formatTransactionId(id),
    time: timeOf(time),
    table,
    op,
    ...rows,
    seq,
    cursor,
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
