import type { MemberAnswer } from '@antiphon/client';
import { primaryOf, writingMsOf } from '@antiphon/client/internal';
import { counted, sentence } from '@antiphon/core';
import type { ReplicaStatus, SyncStatus, UpdateSettings } from '@antiphon/replica';
import { writingPrimary } from '@antiphon/replica/internal';
import { namesOf } from '../explain/names-of.js';
import { styled, type Style } from '../output/style.js';
import { formatTable, type Column } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';

export interface StatusView {
  readonly cluster: string;
  readonly servers: string;
  readonly answers: readonly MemberAnswer[];
  readonly terminal: Pick<Terminal, 'color' | 'interactive' | 'columns'>;
}

const MAX_LEFT_OUT = 20;
const BYTES_PER_MB = 1_000_000;

/** Said once for the whole cluster, instead of by every replica. */
const SHORTFALL_ALARM = 'in-sync';
/** Said by `holding`. */
const HOLD_ALARM = 'apply';
/** Likewise, and from its first moment. */
const WRITING_ALARM = 'long-write';
const UNSAID_ALARMS: ReadonlySet<string> = new Set([SHORTFALL_ALARM, HOLD_ALARM, WRITING_ALARM]);

/** For people: what the cluster is, a line for each replica, and below whatever needs attention. */
export function statusText({ cluster, servers, answers, terminal }: StatusView): string {
  const statuses = answers.flatMap(({ status }) => status ?? []);
  const sync = newestSync(statuses);
  const columns = sync === undefined ? COLUMNS : [...COLUMNS, ...SYNC_COLUMNS];
  const rows = answers.map((answer) => [
    ...row(answer, writingMsOf(answers, answer.id), terminal),
    ...(sync === undefined ? [] : syncCells(answer, sync, terminal)),
  ]);
  const warning = ([style, text]: Warning): string => `${styled(terminal, style, '!')} ${text}\n`;
  return [
    `cluster ${styled(terminal, 'bold', cluster)} (${kindOf(statuses)}) at ${servers}\n${epochLine(statuses)}\n`,
    formatTable(columns, rows, terminal),
    ...writingWarnings(answers).map(warning),
    ...syncWarnings(statuses, sync).map(warning),
    ...statuses.flatMap(warningsOf).map(warning),
    ...alarmWarnings(statuses).map(warning),
    ...staysHere(statuses).map((text) => warning(['yellow', text])),
    ...subscriptionLines(statuses).map((line) => `${styled(terminal, 'dim', line)}\n`),
    ...publishingLines(statuses).map((line) => `${styled(terminal, 'dim', line)}\n`),
    ...notReplicated(statuses).map((line) => `${styled(terminal, 'dim', line)}\n`),
    ...whatToDo(answers).map((line) => `${styled(terminal, 'dim', line)}\n`),
  ].join('');
}

/** Where to read on, when something of it needs attention. */
function whatToDo(answers: readonly MemberAnswer[]): readonly string[] {
  const names = namesOf(answers);
  return names.length === 0 ? [] : [`  what to do: antiphon explain ${names.join(' ')}`];
}

/** Which replica publishes changes; what is in the way is an alarm. */
function publishingLines(statuses: readonly ReplicaStatus[]): readonly string[] {
  return statuses.flatMap(({ id, publishing }) => {
    if (publishing === undefined) return [];
    const { stream, state, publishedSeq, lagEntries = 0 } = publishing;
    const lag = lagEntries === 0 ? '' : `, ${counted(lagEntries, 'entry', 'entries')} of the log behind`;
    return [`changes published to ${stream}: ${id} is ${state}, message ${publishedSeq}${lag}`];
  });
}

const COLUMNS: readonly Column[] = [
  { title: 'replica' },
  { title: 'role' },
  { title: 'state' },
  { title: 'lag', align: 'right' },
  { title: 'unsent', align: 'right' },
  { title: 'log position' },
  { title: 'conflicts', align: 'right', spare: 'zero' },
  { title: 'quarantined', align: 'right', spare: 'zero' },
  { title: 'memory', align: 'right', spare: 'always' },
  { title: 'up', align: 'right', spare: 'always' },
];

/** `waiting`: synchronous writes that are not complete yet. */
const SYNC_COLUMNS: readonly Column[] = [{ title: 'in sync' }, { title: 'waiting', align: 'right' }];

function kindOf(statuses: readonly ReplicaStatus[]): string {
  const [status] = statuses;
  if (status === undefined) return 'nobody answers';
  const { topology, update } = status;
  const primary = primaryOf(statuses) ?? '';
  const who = topology.mode === 'primary-replica' ? `primary-replica, primary ${primary}` : topology.mode;
  return `${who}, ${updateName(update)}`;
}

/** In a cluster with failover, as the one says that has read furthest. */
function epochLine(statuses: readonly ReplicaStatus[]): string {
  const epoch = statuses
    .flatMap(({ epoch: one }) => one ?? [])
    .reduce<ReplicaStatus['epoch']>(
      (newest, one) => (newest === undefined || one.number > newest.number ? one : newest),
      undefined,
    );
  if (epoch === undefined) return '';
  const { number, primary, seq, sinceMs, why } = epoch;
  const since =
    sinceMs === undefined
      ? ''
      : ` since ${new Date(sinceMs).toISOString()}, entry ${seq} of the log (${why})`;
  return `epoch ${number}: ${primary} is the primary${since}\n`;
}

function updateName(update: UpdateSettings): string {
  if (update.mode === 'async') return 'async';
  const { acks, minInSync, onShortfall } = update;
  return `sync: acks ${acks}, at least ${minInSync} in sync, else ${onShortfall}`;
}

const AWAY: Readonly<Record<string, string>> = { NO_ACTOR: 'away', ACCESS_DENIED: 'not permitted' };

function row(
  { id, status, error }: MemberAnswer,
  writingMs: number | undefined,
  terminal: Pick<Terminal, 'color'>,
): readonly string[] {
  if (status === undefined && writingMs !== undefined) {
    const known = [id, 'primary', styled(terminal, 'yellow', 'in a long write')];
    return COLUMNS.map((_, index) => known[index] ?? '');
  }
  if (status === undefined) {
    const away = styled(terminal, 'red', AWAY[error?.code ?? ''] ?? 'no answer');
    return COLUMNS.map((_, index) => [id, '', away][index] ?? '');
  }
  const { lag, outbox, position, conflicts, quarantined, memoryBytes, startedAtMs, nowMs } = status;
  return [
    id,
    status.role,
    styled(terminal, styleOf(status), stateOf(status)),
    String(lag.entries),
    String(outbox.unpublished),
    position.text,
    String(conflicts),
    String(quarantined),
    memoryBytes === undefined ? '' : `${Math.round(memoryBytes / BYTES_PER_MB)} MB`,
    duration(nowMs - startedAtMs),
  ];
}

function stateOf({ lifecycle, connection, ...status }: ReplicaStatus): string {
  // A build from before that says nothing of reads.
  const { reads }: Partial<ReplicaStatus> = status;
  const drained = reads?.drainedSinceMs === undefined ? '' : ', drained';
  return `${lifecycle}${drained}${connection === 'connected' ? '' : ', no NATS'}`;
}

function styleOf({ lifecycle, connection }: ReplicaStatus): Style {
  if (lifecycle === 'stalled' || lifecycle === 'holding' || lifecycle === 'failed') return 'red';
  return (lifecycle === 'following' || lifecycle === 'primary') && connection === 'connected'
    ? 'green'
    : 'yellow';
}

/** What the one that has read furthest knows: the in-sync set stands in the log. */
export function newestSync(statuses: readonly ReplicaStatus[]): SyncStatus | undefined {
  return statuses
    .flatMap(({ sync }) => sync ?? [])
    .reduce<SyncStatus | undefined>(
      (newest, sync) => (newest === undefined || sync.recordSeq > newest.recordSeq ? sync : newest),
      undefined,
    );
}

function syncCells(
  { id, status }: MemberAnswer,
  { inSync }: SyncStatus,
  terminal: Pick<Terminal, 'color'>,
): readonly string[] {
  const inSet = inSync.includes(id) ? styled(terminal, 'green', 'yes') : styled(terminal, 'yellow', 'no');
  const own = status?.sync;
  return [inSet, own === undefined ? '' : String(own.waiting + own.inFlight + own.unacknowledged)];
}

type Warning = readonly [style: Style, text: string];

function writingWarnings(answers: readonly MemberAnswer[]): readonly Warning[] {
  return answers.flatMap(({ id, status }): Warning[] => {
    const writingMs = status === undefined ? writingMsOf(answers, id) : undefined;
    return writingMs === undefined ? [] : [['yellow', writingPrimary(id, writingMs)]];
  });
}

function syncWarnings(statuses: readonly ReplicaStatus[], sync: SyncStatus | undefined): readonly Warning[] {
  if (sync === undefined) return [];
  const degraded = statuses.filter((status) => status.sync?.degraded === true).map(({ id }) => id);
  if (degraded.length > 0) {
    const text = `DEGRADED: too few replicas are in sync, so ${degraded.join(', ')} completes writes without waiting for the others.`;
    return [['red', text]];
  }
  const { inSync, needed, onShortfall } = sync;
  if (inSync.length >= needed || onShortfall === 'degrade') return [];
  const text = `Only ${inSync.length} of at least ${counted(needed, 'replica')} ${inSync.length === 1 ? 'is' : 'are'} in sync: writes that wait for others are rejected.`;
  return [['red', text]];
}

/** What several replicas say alike is said once. */
function alarmWarnings(statuses: readonly ReplicaStatus[]): readonly Warning[] {
  const sayers = new Map<string, string[]>();
  for (const { id, alarms } of statuses)
    for (const { name, message } of alarms)
      if (!UNSAID_ALARMS.has(name)) sayers.set(message, [...(sayers.get(message) ?? []), id]);
  return [...sayers].map(([message, ids]) => ['yellow', `${ids.join(', ')}: ${message}`]);
}

function warningsOf({ id, stalled, holding, waitingFor, quarantined }: ReplicaStatus): readonly Warning[] {
  return [
    ...(stalled === undefined ? [] : [['red', `${id} stalled: ${stalled.message}`] as const]),
    ...(holding === undefined ? [] : [['red', `${id} holds: ${holding.message}`] as const]),
    ...waitingFor.map(
      ({ origin, expected, reason, answer }) =>
        [
          'yellow',
          `${id} waits for ${origin}:${expected}: ${sentence(reason)}${answer === undefined ? '' : ` ${sentence(answer)}`}`,
        ] as const,
    ),
    ...(quarantined > 0
      ? [
          [
            'yellow',
            `${id} has quarantined messages. See \`antiphon quarantine list --replica ${id}\`.`,
          ] as const,
        ]
      : []),
  ];
}

/** Each subscription of which there is an instance, with where it is active. */
function subscriptionLines(statuses: readonly ReplicaStatus[]): readonly string[] {
  const all = statuses.flatMap(({ id, subscriptions }) => subscriptions.map((one) => ({ id, ...one })));
  const names = [...new Set(all.map(({ name }) => name))].sort();
  return names.map((name) => {
    const instances = all.filter((one) => one.name === name);
    const active = instances.filter(({ state }) => state === 'active');
    const standby = instances.filter(({ state }) => state === 'standby').map(({ id }) => id);
    const where = active.map(({ id, lagEntries }) => `active on ${id}, lag ${lagEntries}`);
    if (where.length === 0) where.push('active nowhere');
    if (standby.length > 0) where.push(`standby on ${standby.join(', ')}`);
    for (const { id, waitsFor } of instances)
      if (waitsFor !== undefined) where.push(`${id} waits for ${waitsFor}`);
    return `  subscription ${name}: ${where.join('; ')}`;
  });
}

/** Tables whose rows no other replica has, once for all replicas. */
function staysHere(statuses: readonly ReplicaStatus[]): readonly string[] {
  const holders = new Map<string, { readonly reason: string; readonly ids: string[] }>();
  for (const { id, leftOut = [] } of statuses) {
    for (const { name, reason, isData = false } of leftOut) {
      if (!isData) continue;
      const ids = holders.get(name)?.ids ?? [];
      holders.set(name, { reason, ids: [...ids, id] });
    }
  }
  return [...holders]
    .slice(0, MAX_LEFT_OUT)
    .map(
      ([name, { reason, ids }]) =>
        `Rows of table ${name} stay on ${ids.join(', ')}. Other replicas do not get them: ${sentence(reason)}`,
    );
}

/**
 * What else is left out, once for all replicas that leave it out. Alarms have said what is a
 * surprise.
 */
export function notReplicated(statuses: readonly ReplicaStatus[]): readonly string[] {
  const holders = new Map<string, string[]>();
  for (const { id, leftOut = [] } of statuses) {
    for (const { type, name, reason, unexpected, isData = false } of leftOut) {
      if ((unexpected && type === 'trigger') || isData) continue;
      const line = `the ${type} ${name} is not replicated: ${sentence(reason)}`;
      holders.set(line, [...(holders.get(line) ?? []), id]);
    }
  }
  const lines = [...holders].map(([line, ids]) => `  ${ids.join(', ')}: ${line}`);
  const more = lines.length - MAX_LEFT_OUT;
  return more > 0
    ? [...lines.slice(0, MAX_LEFT_OUT), `  and ${more} more. See \`antiphon status --json\`.`]
    : lines;
}

function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}
