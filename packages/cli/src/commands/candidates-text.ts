import type { RankedCandidate } from '@antiphon/client/internal';
import { writingPrimary } from '@antiphon/replica/internal';
import { styled } from '../output/style.js';
import { formatTable, type Column } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';

export interface CandidatesView {
  readonly cluster: string;
  /** Of failover; `none`: the cluster was created without it. */
  readonly mode: 'automatic' | 'manual' | 'none';
  readonly primary: string | undefined;
  /** It does. */
  readonly answers: boolean;
  /** It does not since it is inside of a write, and keeps its lease. */
  readonly writingMs: number | undefined;
  /** Only then there is an in-sync set. */
  readonly sync: boolean;
  /** In the order in which they are shown. */
  readonly candidates: readonly RankedCandidate[];
  readonly terminal: Pick<Terminal, 'color' | 'interactive' | 'columns'>;
}

const SYNC_COLUMN: Column = { title: 'in sync' };
const COLUMNS: readonly Column[] = [
  { title: 'place', align: 'right' },
  { title: 'replica' },
  { title: 'priority', align: 'right' },
  { title: 'read up to', align: 'right' },
  { title: 'lag', align: 'right' },
  { title: 'heard the primary', align: 'right' },
];

/** What becomes of the primary's place. */
function successionOf({ mode, answers, candidates }: CandidatesView): string {
  if (mode === 'none')
    return 'No replica takes over when it fails: the cluster was created without failover.';
  const isThere = candidates.some(({ place }) => place !== null);
  const byHand = '`antiphon failover ID` makes one the primary.';
  if (mode === 'manual')
    return answers
      ? 'Another replica takes over when somebody says so.'
      : `Nobody takes its place by itself: ${byHand}`;
  if (isThere)
    return answers ? 'Another replica takes over when it fails.' : 'Another replica takes its place.';
  return answers
    ? 'No replica would take over by itself if it failed now.'
    : `No replica can take its place by itself: ${byHand}`;
}

function primaryText(view: CandidatesView): string {
  const { primary, answers, writingMs } = view;
  if (primary === undefined) return 'Every replica takes writes.';
  if (answers) return `${primary} is the primary. ${successionOf(view)}`;
  if (writingMs === undefined) return `${primary} is the primary, and does not answer. ${successionOf(view)}`;
  const then = 'Another replica takes its place when the write takes longer than `limits.blockedMs`.';
  return `${writingPrimary(primary, writingMs)} ${then}`;
}

/** For people: a line for each replica, and below why each has its place. */
export function candidatesText(view: CandidatesView): string {
  const { cluster, sync, candidates, terminal } = view;
  const who = primaryText(view);
  return [
    `cluster ${styled(terminal, 'bold', cluster)}: ${who}\n\n`,
    formatTable(sync ? [...COLUMNS, SYNC_COLUMN] : COLUMNS, candidates.map(cells), terminal),
    '\n',
    ...candidates.map(({ id, reason }) => `${styled(terminal, 'bold', id)}: ${reason}\n`),
  ].join('');
}

function cells(candidate: RankedCandidate): readonly string[] {
  const { id, place, priority, seq, lagMs, inSync, heardPrimaryMsAgo } = candidate;
  return [
    place === null ? '-' : String(place),
    id,
    ...[priority, seq].map((number) => String(number ?? '')),
    lagMs === undefined ? '' : seconds(lagMs),
    heardPrimaryMsAgo === undefined ? '' : `${seconds(heardPrimaryMsAgo)} ago`,
    inSync === undefined ? '' : inSync ? 'yes' : 'no',
  ];
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
