import { counted } from '../errors/counted.js';

/** What a replica says of itself when somebody asks who could be the next primary. */
export interface Candidacy {
  readonly id: string;
  /** Of the process that answers. */
  readonly instance: string;
  /** The newest epoch that it has read, and who is the primary in it. */
  readonly epoch: number;
  readonly primary?: string;
  /** It has read the log up to here. */
  readonly seq: number;
  /** The end of the log, as far as it knows. */
  readonly lastSeq: number;
  /** It is in the in-sync set; false in an asynchronous cluster. */
  readonly inSync: boolean;
  readonly eligible: boolean;
  /** Why it is not eligible, in words. */
  readonly why?: string;
  /** The same, whatever its priority: who is chosen by somebody needs none. */
  readonly obstacle?: string;
  /**
   * What it tried to commit was not committed at once. A slow disk is no obstacle; a lock that
   * another program keeps is one.
   */
  readonly isBusy?: true;
  /** Higher goes first; 0: never. */
  readonly priority: number;
  readonly lagMs: number;
  /** Since it last heard that the primary is there. Absent: never. */
  readonly heardPrimaryMsAgo?: number;
  /** How long the primary has been inside of a write, renewing its lease. Absent: it is in none. */
  readonly primaryWritingMs?: number;
  /** The highest counter of its own transactions. */
  readonly lastCounter: number;
}

/** What makes a replica no candidate, whatever the others are. */
export interface Obstacles {
  /** Nobody can take over in this cluster. */
  readonly withoutFailover: boolean;
  /** Why replication stands still here; undefined while it does not. */
  readonly stopped: string | undefined;
  /** Messages of the current primary that were quarantined here: its rows are not what it wrote. */
  readonly quarantined: number;
  /** Transactions that are missing here. */
  readonly gaps: number;
  /** Its tables are of an older form than the cluster's. */
  readonly schemaTooOld: boolean;
  readonly priority: number;
}

/** Why a replica is no candidate; undefined when it is one. */
export function obstacleIn(obstacles: Obstacles): string | undefined {
  const { withoutFailover, stopped, quarantined, gaps, schemaTooOld, priority } = obstacles;
  if (withoutFailover) return 'the cluster was created without failover';
  if (priority === 0) return 'its priority is 0';
  if (stopped !== undefined) return `replication has stopped: ${stopped}`;
  if (quarantined > 0)
    return `${count(quarantined, 'message of the primary', 'messages of the primary')} in quarantine`;
  if (gaps > 0) return `${count(gaps, 'transaction', 'transactions')} missing`;
  return schemaTooOld ? 'its schema is older than that of the cluster' : undefined;
}

export interface RankOptions {
  /** In a synchronous cluster those in sync have every acknowledged write, and go first. */
  readonly sync: boolean;
  /** For how long nobody has been a candidate; then one that lags is better than none. */
  readonly nobodyForMs: number;
}

export interface Placed {
  readonly candidate: Candidacy;
  /** From 1; undefined: it is no candidate. */
  readonly place: number | undefined;
  /** Why it is not further in front, or no candidate; of the first one, why it is. */
  readonly reason: string;
}

/** More than this behind the log, and a replica would keep everybody waiting for long. */
export const MAX_CANDIDATE_LAG_MS = 30_000;
/** For so long a lag only postpones. */
export const PATIENCE_WITH_LAG_MS = 30_000;
/**
 * So few entries are read in no time. Without it the exact place in the log, which differs by
 * chance under load, would decide before the priority that somebody has set.
 */
export const SAME_LAG_ENTRIES = 1000;
/** By so much the next one waits longer: the one in front of it may be gone as well. */
const PLACE_WAIT_MS = 200;

/** How long the candidate at a place, from 1, waits before it takes the lease. */
export function candidateWaitMs(place: number): number {
  return (place - 1) * PLACE_WAIT_MS;
}

interface Rule {
  /** Below 0: `a` goes first. */
  compare(a: Candidacy, b: Candidacy): number;
  /** Why `b` comes after `a`. */
  why(a: Candidacy, b: Candidacy): string;
}

/**
 * Who becomes the primary, best first, and those who cannot at the end. The same for whoever has
 * the same answers. It decides how soon there is a primary, and never what is lost: the elected one
 * reads the log up to its own record before it writes.
 */
export function rankCandidates(answers: readonly Candidacy[], options: RankOptions): readonly Placed[] {
  const possible = answers.filter(isPossible);
  const inTime = possible.filter(({ lagMs }) => lagMs <= MAX_CANDIDATE_LAG_MS);
  const late = possible.filter(({ lagMs }) => lagMs > MAX_CANDIDATE_LAG_MS);
  const patient = options.nobodyForMs < PATIENCE_WITH_LAG_MS;
  const running = inTime.length > 0 ? inTime : patient ? [] : late;
  const waiting = running === late ? [] : late;
  const impossible = answers.filter((answer) => !isPossible(answer));
  return [
    ...placed(running, options),
    ...sorted(waiting, [BY_SEQ, BY_ID]).map((candidate) => noCandidate(candidate, lagText(candidate))),
    ...sorted(impossible, [BY_ID]).map((candidate) => noCandidate(candidate, whyNot(candidate))),
  ];
}

function isPossible({ eligible, priority }: Candidacy): boolean {
  return eligible && priority > 0;
}

function whyNot({ why, priority }: Candidacy): string {
  return why ?? (priority > 0 ? 'it says that it cannot' : 'its priority is 0');
}

function lagText({ lagMs }: Candidacy): string {
  return `it lags by ${seconds(lagMs)}; without a better one it is a candidate after ${seconds(PATIENCE_WITH_LAG_MS)}`;
}

function noCandidate(candidate: Candidacy, reason: string): Placed {
  return { candidate, place: undefined, reason };
}

function placed(candidates: readonly Candidacy[], { sync }: RankOptions): readonly Placed[] {
  const highest = candidates.reduce((seq, candidate) => Math.max(seq, candidate.seq), 0);
  const rules = [...(sync ? [BY_SYNC] : []), byLag(highest), BY_PRIORITY, BY_SEQ, BY_ID];
  return sorted(candidates, rules).map((candidate, index, all): Placed => {
    const before = all[index - 1];
    if (before === undefined) return { candidate, place: 1, reason: firstText(candidate, all[1], rules) };
    return { candidate, place: index + 1, reason: whyAfter(before, candidate, rules) };
  });
}

function firstText(first: Candidacy, second: Candidacy | undefined, rules: readonly Rule[]): string {
  return second === undefined
    ? 'it is the only candidate'
    : `first: of ${second.id}, ${whyAfter(first, second, rules)}`;
}

function whyAfter(a: Candidacy, b: Candidacy, rules: readonly Rule[]): string {
  return rules.find((rule) => rule.compare(a, b) !== 0)?.why(a, b) ?? 'nothing tells them apart';
}

function sorted(candidates: readonly Candidacy[], rules: readonly Rule[]): readonly Candidacy[] {
  return [...candidates].sort((a, b) => {
    for (const rule of rules) {
      const order = rule.compare(a, b);
      if (order !== 0) return order;
    }
    return 0;
  });
}

const BY_SYNC: Rule = {
  compare: (a, b) => Number(b.inSync) - Number(a.inSync),
  why: () => 'it is not in sync',
};
/** Those that are near enough to the one that has read most are alike. */
function byLag(highest: number): Rule {
  const gap = ({ seq }: Candidacy): number => (highest - seq <= SAME_LAG_ENTRIES ? 0 : highest - seq);
  return {
    compare: (a, b) => gap(a) - gap(b),
    why: (a, b) => `it has read ${counted(a.seq - b.seq, 'entry', 'entries')} less than ${a.id}`,
  };
}
const BY_PRIORITY: Rule = {
  compare: (a, b) => b.priority - a.priority,
  why: (a, b) => `its priority is ${b.priority}, that of ${a.id} ${a.priority}`,
};
const BY_SEQ: Rule = {
  compare: (a, b) => b.seq - a.seq,
  why: (a, b) => `it has read up to entry ${b.seq}, ${a.id} up to ${a.seq}`,
};
const BY_ID: Rule = {
  compare: (a, b) => (a.id < b.id ? -1 : Number(a.id > b.id)),
  why: (a) => `all else is the same as for ${a.id}, whose id comes first`,
};

function count(number: number, one: string, many: string): string {
  return `${counted(number, one, many)} ${number === 1 ? 'is' : 'are'}`;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
