import { remoteRef, type Ref } from '@antiphon/actor';
import {
  AntiphonError,
  type Bus,
  checkRequired,
  type ChecksumReport,
  type Clock,
  compareVectors,
  counterOf,
  listMembers,
  mailboxPrefix,
  merge,
  type OptionNames,
  type Registry,
  type RowDigest,
  sleep,
  toAntiphonError,
  type Value,
  type VectorClock,
  sentence,
  withAbortReason,
} from '@antiphon/core';
import { Deadline } from '../wait/deadline.js';
import type { Standing } from '../state/peer.js';
import type { MailboxProtocol } from './mailbox-protocol.js';
import { comparePages, type DifferentRow } from './row-differences.js';

/** Which replicas to compare, how, and for how long. */
export interface VerifyOptions {
  /** The name of the cluster. */
  readonly cluster: string;
  /** Asks the replicas; `bus()` of a NATS connection. */
  readonly bus: Bus;
  /** Knows the members; `registry(cluster)` of a NATS connection. */
  readonly registry: Registry;
  /** `systemClock()` of `@antiphon/core`. */
  readonly clock: Clock;
  /**
   * Only these tables.
   * @defaultValue all that are replicated
   */
  readonly tables?: readonly string[];
  /**
   * How long all of it may take, in milliseconds; TIMEOUT after that, and the replicas stop
   * reading.
   * @defaultValue 600 000
   */
  readonly timeoutMs?: number;
  /**
   * How often to try to find all replicas at the same state while other programs write.
   * @defaultValue 10
   */
  readonly attempts?: number;
  /**
   * How long library writes may be held per try, in milliseconds.
   * @defaultValue 5000
   */
  readonly holdMs?: number;
  /**
   * Maximum differing rows that are named per table and pair of replicas.
   * @defaultValue 20
   */
  readonly maxRows?: number;
  /** Ends it; library writes go on at once. */
  readonly signal?: AbortSignal;
}

const VERIFY_OPTIONS: OptionNames<VerifyOptions> = {
  ...{ cluster: true, bus: true, registry: true, clock: true, tables: true, timeoutMs: true },
  ...{ attempts: true, holdMs: true, maxRows: true, signal: true },
};

/** Rows of one table that two replicas do not have in common. */
export interface TableDifference {
  readonly table: string;
  /** Their ids; `only-left` means the first. */
  readonly replicas: readonly [string, string];
  readonly rows: readonly DifferentRow[];
  /** False when there may be more than the named ones. */
  readonly complete: boolean;
}

/** What a comparison of replicas came to. */
export interface VerifyResult {
  /**
   * `equal`, `different`: checksums of every table at the same state. `unsettled`: no such moment
   * came; writes by other programs kept moving the databases, or a replica did not keep up. Nothing
   * is said about equality then.
   */
  readonly outcome: 'equal' | 'different' | 'unsettled';
  /** The checksums of each replica, by its id. */
  readonly reports: Readonly<Record<string, ChecksumReport>>;
  /** Members that did not answer, and why; they were left out. */
  readonly absent: readonly { readonly id: string; readonly reason: string }[];
  /** The rows that differ, as far as they were looked for. */
  readonly differences: readonly TableDifference[];
  /** How many tries it took. */
  readonly attempts: number;
  /** Why it is unsettled. */
  readonly reason?: string;
}

type Mailbox = Ref<MailboxProtocol>;

/** What every step needs. */
interface Verification extends VerifyOptions {
  readonly deadline: Deadline;
}

const DEFAULT_TIMEOUT_MS = 600_000;
const PING_MS = 2000;
/** A replica that has ended its checksum says so: its answer is worth a moment longer. */
const ANSWER_MS = 2000;
const DEFAULT_HOLD_MS = 5000;
const POLL_MS = 5;
const PAGE_ROWS = 1000;
/** Of one table and pair of replicas; beyond it the search for differing rows ends incomplete. */
const MAX_PAGES = 2000;

/**
 * Compares all replicas that answer, at the same state of the cluster: do they hold the same rows?
 * Needs at least two. Library writes wait while checksums are taken.
 *
 * @throws AntiphonError BAD_OPTION, NO_ACTOR when fewer than two answer, TIMEOUT, LOG_UNAVAILABLE,
 * UNKNOWN_TABLE
 */
export async function verifyCluster(options: VerifyOptions): Promise<VerifyResult> {
  checkRequired(options, VERIFY_OPTIONS, 'verifyCluster()', ['cluster', 'bus', 'registry', 'clock']);
  const { timeoutMs = DEFAULT_TIMEOUT_MS, clock, signal, cluster } = options;
  const what = `the replicas of ${cluster} are compared`;
  const deadline = new Deadline(clock, timeoutMs, [signal], what);
  try {
    return await withAbortReason(compare({ ...options, deadline }), options);
  } finally {
    deadline.end();
  }
}

async function compare(options: Verification): Promise<VerifyResult> {
  const { attempts = 10, clock, deadline } = options;
  const { present, absent } = await whoAnswers(options);
  if (present.size < 2) {
    const found = present.size === 0 ? 'No replica' : `Only ${[...present.keys()].join('')}`;
    const others = absent.map(({ id, reason }) => ` ${id}: ${sentence(reason)}`).join('');
    throw new AntiphonError(
      'NO_ACTOR',
      `${found} of ${options.cluster} can be compared, and verifying needs two.${others}`,
    );
  }
  let reason = '';
  for (let attempt = 1; attempt <= attempts; attempt++) {
    try {
      const reports = await takeReports(options, present);
      const result = { reports: Object.fromEntries(reports), absent, attempts: attempt };
      const moved = movedApart(reports);
      if (moved === undefined) {
        const differences = await findDifferences(options, present, reports);
        return { ...result, differences, outcome: differences.length === 0 ? 'equal' : 'different' };
      }
      reason = moved;
    } catch (thrown) {
      const error = toAntiphonError(thrown);
      if (!error.retriable || deadline.passed) throw error;
      reason = error.message;
    } finally {
      for (const mailbox of present.values()) mailbox.tell('release');
    }
    await sleep(clock, POLL_MS * attempt * (1 + clock.random()), deadline.signal);
  }
  return { outcome: 'unsettled', reports: {}, absent, differences: [], attempts, reason };
}

async function whoAnswers(
  options: Verification,
): Promise<{ present: Map<string, Mailbox>; absent: { id: string; reason: string }[] }> {
  const present = new Map<string, Mailbox>();
  const absent: { id: string; reason: string }[] = [];
  const members = await listMembers(options.registry);
  await Promise.all(
    members.map(async ({ id }) => {
      const mailbox = remoteRef<MailboxProtocol>(options.bus, mailboxPrefix(options.cluster, id));
      try {
        const { lifecycle } = await mailbox.ask('ping', undefined, { timeoutMs: PING_MS });
        if (lifecycle === 'stalled' || lifecycle === 'holding' || lifecycle === 'failed')
          absent.push({ id, reason: `it is ${lifecycle}; see its status` });
        else present.set(id, mailbox);
      } catch (error) {
        absent.push({ id, reason: toAntiphonError(error).message });
      }
    }),
  );
  return { present: new Map([...present].sort(([a], [b]) => (a < b ? -1 : 1))), absent };
}

/**
 * Holds library writes everywhere, waits until everything published has arrived everywhere, and
 * takes the checksums.
 */
async function takeReports(
  options: Verification,
  present: ReadonlyMap<string, Mailbox>,
): Promise<Map<string, ChecksumReport>> {
  const standings = await Promise.all([...present.values()].map((mailbox) => hold(options, mailbox)));
  const target = standings.reduce<VectorClock>((vector, standing) => merge(vector, standing.vector), {});
  await Promise.all([...present].map(([id, mailbox]) => reach(options, id, mailbox, target)));
  const reports = [...present].map(
    async ([id, mailbox]) => [id, await checksum(options, id, mailbox)] as const,
  );
  return new Map(await Promise.all(reports));
}

function hold({ deadline, holdMs = DEFAULT_HOLD_MS }: Verification, mailbox: Mailbox): Promise<Standing> {
  const limit = { timeoutMs: Math.min(holdMs + PING_MS, deadline.leftMs), signal: deadline.signal };
  return mailbox.ask('hold', { holdMs }, limit);
}

/** One that took too long will not be faster the next time. */
async function checksum(
  { tables, deadline, signal }: Verification,
  id: string,
  mailbox: Mailbox,
): Promise<ChecksumReport> {
  const timeoutMs = Math.max(1, Math.floor(deadline.leftMs));
  const limit = { timeoutMs: timeoutMs + ANSWER_MS, ...(signal && { signal }) };
  try {
    return await mailbox.ask('checksum', { timeoutMs, ...(tables && { tables }) }, limit);
  } catch (error) {
    if (!(error instanceof AntiphonError) || error.code !== 'TIMEOUT') throw error;
    throw new AntiphonError('TIMEOUT', `Replica ${id}: ${error.message}`, { cause: error, retriable: false });
  }
}

async function reach(
  options: Verification,
  id: string,
  mailbox: Mailbox,
  target: VectorClock,
): Promise<void> {
  const { clock, deadline, holdMs: timeoutMs = DEFAULT_HOLD_MS } = options;
  const { signal } = deadline;
  const untilMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const { vector } = await mailbox.ask('standing', undefined, { timeoutMs: PING_MS, signal });
    const behind = Object.keys(target).find(
      (origin) => counterOf(vector, origin) < counterOf(target, origin),
    );
    if (behind === undefined) return;
    if (clock.monotonicMs() > untilMs) {
      const missing = `${behind}:${counterOf(target, behind)}`;
      throw new AntiphonError(
        'TIMEOUT',
        `${id} has not applied ${missing} within ${timeoutMs} ms. See its status.`,
      );
    }
    await sleep(clock, POLL_MS, signal);
  }
}

/** Why the reports cannot be compared; undefined when all are of one state. */
function movedApart(reports: ReadonlyMap<string, ChecksumReport>): string | undefined {
  const [first, ...others] = [...reports];
  if (first === undefined) return undefined;
  const other = others.find(([, report]) => compareVectors(report.vector, first[1].vector) !== 'equal');
  if (other === undefined) return undefined;
  return `${first[0]} and ${other[0]} were at different states: other programs write to their databases`;
}

async function findDifferences(
  options: Verification,
  present: ReadonlyMap<string, Mailbox>,
  reports: ReadonlyMap<string, ChecksumReport>,
): Promise<readonly TableDifference[]> {
  const [reference, ...others] = [...reports];
  if (reference === undefined) return [];
  const [leftId, leftReport] = reference;
  const left = present.get(leftId);
  const differences: TableDifference[] = [];
  for (const [rightId, rightReport] of others) {
    const right = present.get(rightId);
    if (left === undefined || right === undefined) continue;
    const names = new Set([...leftReport.tables, ...rightReport.tables].map(({ table }) => table));
    for (const table of names) {
      if (sumOf(leftReport, table) === sumOf(rightReport, table)) continue;
      const found = await differingRows(options, table, left, right);
      differences.push({ table, replicas: [leftId, rightId], ...found });
    }
  }
  return differences;
}

function sumOf(report: ChecksumReport, table: string): string | undefined {
  return report.tables.find((sum) => sum.table === table)?.checksum;
}

async function differingRows(
  options: Verification,
  table: string,
  left: Mailbox,
  right: Mailbox,
): Promise<{ readonly rows: readonly DifferentRow[]; readonly complete: boolean }> {
  const { maxRows = 20 } = options;
  const rows: DifferentRow[] = [];
  let leftAfter: readonly Value[] | undefined;
  let rightAfter: readonly Value[] | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    // The databases must not move on while they are compared row by row.
    await Promise.all([left, right].map((mailbox) => hold(options, mailbox)));
    const [ours, theirs] = await Promise.all([
      pageOf(options, left, table, leftAfter),
      pageOf(options, right, table, rightAfter),
    ]);
    if (ours.length === 0 && theirs.length === 0) return { rows, complete: true };
    const compared = comparePages(ours, theirs);
    rows.push(...compared.rows.slice(0, maxRows - rows.length));
    if (rows.length >= maxRows) return { rows, complete: false };
    leftAfter = compared.leftAfter ?? leftAfter;
    rightAfter = compared.rightAfter ?? rightAfter;
  }
  return { rows, complete: false };
}

/** A page whose keys are so long that no answer holds them is asked for in halves. */
async function pageOf(
  options: Verification,
  mailbox: Mailbox,
  table: string,
  afterKey: readonly Value[] | undefined,
): Promise<readonly RowDigest[]> {
  const { deadline } = options;
  for (let limit = PAGE_ROWS; ; limit = Math.ceil(limit / 2)) {
    const request = { table, limit, ...(afterKey === undefined ? {} : { afterKey }) };
    const waiting = { timeoutMs: Math.max(1, deadline.leftMs), signal: deadline.signal };
    try {
      return await mailbox.ask('rowDigests', request, waiting);
    } catch (error) {
      const tooLarge = error instanceof AntiphonError && error.code === 'MESSAGE_TOO_LARGE';
      if (!tooLarge || limit === 1) throw error;
    }
  }
}
