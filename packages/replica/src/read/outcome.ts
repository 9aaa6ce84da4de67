import {
  AntiphonError,
  checkOptions,
  counterOf,
  findVoided,
  formatOutcomeId,
  type GroupOutcome,
  hasOtherPrimary,
  newestEpoch,
  type OptionNames,
  parseOutcomeId,
  type Position,
  REQUESTS_TABLE,
  type TransactionId,
} from '@antiphon/core';
import type { ActorRef } from '@antiphon/actor';
import { assertTimeout, Deadline } from '../wait/deadline.js';
import { isTokenOf } from '../config/ids.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';
import { assertRequestId, isOutcomeId } from '../write/request-id.js';

/** What became of a write, as far as this replica can tell. */
export interface Outcome {
  /**
   * `rejected`: nothing of it is anywhere, nor ever will be. `unknown`: ask again, or ask its
   * origin.
   */
  readonly outcome: 'committed' | 'rejected' | 'unknown';
  /**
   * The id that was asked for, as text: `eu-1:42`, or with the token of an attempt; or that of a
   * request.
   */
  readonly id: string;
  /** The write's place in the log, when it was synchronous and is committed. */
  readonly position?: Position;
  /** Why it was rejected, what to do to learn more, or under which other id it is committed. */
  readonly reason?: string;
}

/** How long to wait for an outcome. */
export interface OutcomeOptions {
  /**
   * How long to wait for the log, in milliseconds.
   * @defaultValue 5000
   */
  readonly timeoutMs?: number;
  /** Ends the wait. */
  readonly signal?: AbortSignal;
}

const OUTCOME_OPTIONS: OptionNames<OutcomeOptions> = { timeoutMs: true, signal: true };

type Asked = TransactionId & { readonly token?: string };

const DEFAULT_TIMEOUT_MS = 5000;
const PAGE = 1000;
const MAX_PAGES = 100;
const NEVER_LOGGED = 'it never came into the log, and no longer can';
const DEPOSED = 'it did not come into the log before the next epoch, and no longer can';
const NOT_GIVEN = 'no write has this number yet';

/**
 * Whatever the log holds now is looked at first. The origin itself can decide what nobody has seen:
 * a group without changes takes the place of an attempt that was lost, which can never come back
 * then. Throws BAD_OPTION, TIMEOUT, LOG_UNAVAILABLE, ABORTED, CLOSED.
 */
export async function findOutcome(
  scope: Scope,
  replica: ActorRef<ReplicaProtocol>,
  given: string | TransactionId,
  options: OutcomeOptions = {},
): Promise<Outcome> {
  checkOptions(options, OUTCOME_OPTIONS, 'outcome()');
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  assertTimeout(timeoutMs);
  if (typeof given === 'string' && scope.authority.byTerm && !isOutcomeId(given))
    return ofRequest(scope, given, { timeoutMs, ...(signal && { signal }) });
  const asked: Asked = typeof given === 'string' ? parseOutcomeId(given) : transactionId(given);
  const known = await look(scope, asked);
  if (known !== undefined) return known;
  const what = 'the log says what it holds of this write';
  const deadline = new Deadline(scope.clock, timeoutMs, [signal, scope.closing], what);
  try {
    await seeEverything(scope, deadline);
    const seen = await look(scope, asked);
    if (seen !== undefined) return seen;
    const fenced = fencedOf(scope, asked);
    // What was applied since the last look came before that epoch.
    if (fenced !== undefined) return (await look(scope, asked)) ?? fenced;
    if (asked.token === undefined)
      return { outcome: 'unknown', id: formatOutcomeId(asked), reason: NOT_GIVEN };
    if (isDeposed(scope, asked)) return (await look(scope, asked)) ?? rejected(asked, DEPOSED);
    if (asked.origin !== scope.id || scope.sync === undefined || !scope.authority.current().mayWrite) {
      await deadline.race(scope.members.refresh());
      return undecided(asked, scope);
    }
    await noOpGroup(scope, replica, deadline);
    return (await look(scope, asked)) ?? rejected(asked, NEVER_LOGGED);
  } finally {
    deadline.end();
  }
}

/** By its row, which is in the transaction that wrote it. */
async function ofRequest(
  scope: Scope,
  id: string,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<Outcome> {
  assertRequestId(id);
  const what = 'the log says what it holds of this request';
  const deadline = new Deadline(scope.clock, timeoutMs, [signal, scope.closing], what);
  try {
    if (await isRemembered(scope, id, deadline)) return { outcome: 'committed', id };
    await seeEverything(scope, deadline);
    if (await isRemembered(scope, id, deadline)) return { outcome: 'committed', id };
  } finally {
    deadline.end();
  }
  const reason =
    `the log holds no request with this id now. Call execute again with \`requestId: '${id}'\` ` +
    'within an hour of the first call: it is written once';
  return { outcome: 'unknown', id, reason };
}

async function isRemembered({ store }: Scope, id: string, { signal }: Deadline): Promise<boolean> {
  const { rows } = await store.query(`SELECT 1 FROM ${REQUESTS_TABLE} WHERE id = ?`, [id], { signal });
  return rows.length > 0;
}

function rejected(asked: Asked, reason: string): Outcome {
  return { outcome: 'rejected', id: formatOutcomeId(asked, asked.token), reason };
}

/**
 * Behind an attempt's epoch: it counts for nobody, wherever it stands in the log. Whoever made it
 * had been elected before, and the log has been read up to where it ended since then, so it is of
 * the newest epoch or of an earlier one.
 */
function isDeposed({ authority, store }: Scope, { origin, token = '' }: Asked): boolean {
  if (!authority.byTerm) return false;
  const { primary, instance = '' } = newestEpoch(store.state());
  return primary !== origin || !isTokenOf(instance, token);
}

/**
 * One group of ours that comes after every attempt so far: what is not in the log by then can't
 * come into it any more.
 */
async function noOpGroup(
  { progress }: Scope,
  replica: ActorRef<ReplicaProtocol>,
  deadline: Deadline,
): Promise<void> {
  const counter = progress.ownCounter + 1;
  replica.tell('noOpGroup', counter);
  await progress.until(() => progress.ownCounter >= counter, {
    timeoutMs: deadline.leftMs,
    what: 'a group without changes has gone through the log',
    signal: deadline.signal,
  });
}

async function look(scope: Scope, asked: Asked): Promise<Outcome | undefined> {
  const { store, sync } = scope;
  // Of before the question: what is applied while it is answered is in neither.
  const { vector, epochs } = store.state();
  const group = await store.outcomeOf(asked);
  const id = formatOutcomeId(asked, asked.token);
  if (group !== undefined) return ofGroup(group, asked, id, store.state().position.generation);
  const voided = findVoided(epochs, asked);
  if (voided?.again === true && asked.token === undefined) return ofUndone(scope, asked);
  if (voided !== undefined) return rejected(asked, inLedger(asked.origin));
  if (counterOf(vector, asked.origin) < asked.counter) return undefined;
  if (sync === undefined) return { outcome: 'committed', id };
  if (asked.token !== undefined && (await isKept(store, asked))) {
    return { outcome: 'rejected', id, reason: NEVER_LOGGED };
  }
  const reason = 'it was not a synchronous write, or it is too long ago: its outcome is no longer kept';
  return { outcome: 'unknown', id, reason };
}

/**
 * Its replica undid it before it went on as the primary, and wrote it again then, unless the
 * database refused that. Under which number is known only there.
 */
async function ofUndone(scope: Scope, asked: Asked): Promise<Outcome> {
  const { origin, counter } = asked;
  const id = formatOutcomeId(asked);
  const kept = origin === scope.id ? await scope.store.rescues({ afterId: 0, limit: 2, counter }) : [];
  const [one] = kept;
  if (one !== undefined && kept.every(({ state }) => state !== 'reapplied'))
    return rejected(asked, inLedger(origin));
  // After a power loss a number may have been given twice.
  if (one === undefined || kept.length > 1) {
    const reason =
      `${origin} undid it and went on as the primary, ` +
      'so it may have written it again under another number';
    return {
      outcome: 'unknown',
      id,
      reason: `${reason}: \`antiphon rescue list --all --replica ${origin}\` tells`,
    };
  }
  if (one.reappliedAs === undefined)
    return {
      outcome: 'committed',
      id,
      reason: 'it was undone, and what it had written was there again already',
    };
  const again = await look(scope, parseOutcomeId(one.reappliedAs));
  const reason = `it was undone, and written again as ${one.reappliedAs}`;
  return {
    ...(again ?? { outcome: 'committed' }),
    id,
    reason: again?.reason === undefined ? reason : `${reason}: ${again.reason}`,
  };
}

/**
 * The log had not got it when another replica became the primary, so it counts for nobody, for
 * good: its origin need not be asked. Undefined where that is not so.
 */
function fencedOf({ store }: Scope, asked: Asked): Outcome | undefined {
  const state = store.state();
  const { origin } = asked;
  const isMissing = state.gaps.some((gap) => gap.origin === origin);
  const epoch = newestEpoch(state);
  if (!hasOtherPrimary(epoch, origin) || isMissing) return undefined;
  const since =
    `${epoch.primary} is the primary since entry ${epoch.seq} of the log, ` +
    'and the log had not got it by then';
  const id = formatOutcomeId(asked, asked.token);
  return { outcome: 'rejected', id, reason: `${since}: ${inLedger(origin)}` };
}

function inLedger(origin: string): string {
  return `it is in the rescue ledger of ${origin} (\`antiphon rescue list\`), or it was never written`;
}

/**
 * Whether its outcome would be here, had it been a group: one of the same origin that came before
 * it is.
 */
async function isKept(store: Scope['store'], { origin, counter }: TransactionId): Promise<boolean> {
  for (let fromSeq = 0, page = 0; page < MAX_PAGES; page++) {
    const outcomes = await store.outcomes(fromSeq, PAGE);
    const first = outcomes.find((outcome) => outcome.origin === origin);
    const last = outcomes.at(-1);
    if (first !== undefined) return first.firstCounter <= counter;
    if (last === undefined || outcomes.length < PAGE) return false;
    fromSeq = last.seq + 1;
  }
  return false;
}

function ofGroup(group: GroupOutcome, asked: Asked, id: string, generation: string): Outcome {
  if (asked.token !== undefined && asked.token !== group.token) {
    return { outcome: 'rejected', id, reason: NEVER_LOGGED };
  }
  if (group.rejected.includes(asked.counter)) {
    return { outcome: 'rejected', id, reason: 'certification: another transaction was committed first' };
  }
  return { outcome: 'committed', id, position: { generation, seq: group.seq } };
}

async function seeEverything({ log, positions, progress, health }: Scope, deadline: Deadline): Promise<void> {
  if (!health.replicating) return;
  const { lastSeq } = await deadline.race(log.identity(deadline.signal));
  await progress.until(() => positions.passed >= lastSeq || !health.replicating, {
    timeoutMs: deadline.leftMs,
    what: `entry ${lastSeq} of the log is applied here`,
    signal: deadline.signal,
  });
}

/**
 * What a removed member sent is applied whenever it comes (decision 0026), so its removal settles
 * nothing: only the end of its process does, and that is for its operator to say.
 */
function undecided(asked: Asked, { members, cluster }: Scope): Outcome {
  const { origin } = asked;
  const reason = members.isFormer(origin)
    ? `the log does not hold it now, and ${origin}, which alone could tell whether it still may, ` +
      `was removed from cluster ${cluster}. Make sure that no process of ${origin} is running, then ask again: ` +
      'if the log still does not hold it, it was not committed and never will be'
    : `the log does not hold it now, and only ${origin} can tell whether it still may. ` +
      `Ask there, or again once ${origin} has written`;
  return {
    outcome: 'unknown',
    id: formatOutcomeId(asked, asked.token),
    reason,
  };
}

/** For remote callers. Throws BAD_OPTION. */
export function parseOutcomeRequest(input: unknown): string {
  if (typeof input === 'string') return input;
  throw new AntiphonError('BAD_OPTION', '`id` is not valid. Give the id of a transaction, like eu-1:42.');
}

/** Throws BAD_OPTION. */
function transactionId(given: unknown): Asked {
  const { origin, counter } = (given ?? {}) as Partial<TransactionId>;
  if (typeof origin === 'string' && Number.isSafeInteger(counter)) return given as Asked;
  throw new AntiphonError(
    'BAD_OPTION',
    '`id` of outcome() must be the id of a write: a text, or { origin, counter }.',
  );
}
