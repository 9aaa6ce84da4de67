import type { ActorRef } from '@antiphon/actor';
import {
  AntiphonError,
  checkOptions,
  findReadableMember,
  markRemoved,
  newestEpoch,
  type OptionNames,
  toAntiphonError,
} from '@antiphon/core';
import { bestSuccessor } from '../failover/hand-over.js';
import { switchOver } from '../failover/switch-over.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import { untilReplicated } from '../state/progress.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { assertTimeout } from '../wait/deadline.js';

/** How a replica leaves its cluster. */
export interface LeaveOptions {
  /**
   * Also when its rescue ledger keeps transactions that nobody has decided about: they are in its
   * file, and nowhere else.
   * @defaultValue false
   */
  readonly force?: boolean;
  /**
   * How long handing over, and sending what it has, may take, in milliseconds.
   * @defaultValue 10 000
   */
  readonly timeoutMs?: number;
}

/** What a replica that leaves has left behind. */
export interface Left {
  readonly id: string;
  /** The primary from now on, if it was the one before. */
  readonly handedOverTo?: string;
}

const LEAVE_OPTIONS: OptionNames<LeaveOptions> = { force: true, timeoutMs: true };
const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * Whatever must be so before a replica leaves: another one is the primary, and the log has
 * everything. Nothing has changed but that when it throws.
 *
 * @throws AntiphonError BAD_OPTION, NOT_IN_SYNC, TIMEOUT, and what `switchOver` throws
 */
export async function prepareToLeave(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
  options: LeaveOptions,
): Promise<Left> {
  const { id, cluster, sync, progress, health, authority } = scope;
  checkOptions(options, LEAVE_OPTIONS, 'leave()');
  const { force = false, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  assertTimeout(timeoutMs);
  if (health.stopped !== undefined) throw health.stopped;
  if (!force) assertNothingRescued(scope);
  if (sync?.inSync.members.every((member) => member === id) === true)
    throw new AntiphonError(
      'NOT_IN_SYNC',
      `${id} is the only member in sync. Start another one, wait until \`antiphon status\` shows it in sync, then leave.`,
      { context: { cluster, replica: id } },
    );
  // A primary that was deposed has undone nothing yet, and its ledger says nothing.
  const isDecided = (): boolean => authority.successor === undefined;
  const undone = `${id} has undone what only it has, since another replica is the primary`;
  await untilReplicated(progress, health, isDecided, { timeoutMs, what: undone });
  const isPrimary = authority.current().primary === id;
  const handedOverTo = isPrimary ? await handedOver(scope, replica, timeoutMs) : undefined;
  // Whatever the interval.
  await replica.ask('seal');
  const what = `the log has everything of ${id}`;
  const isSent = (): boolean => progress.unpublished === 0 && isDecided();
  await untilReplicated(progress, health, isSent, { timeoutMs, what });
  // It may have learned only now that it is not the primary any more.
  if (!force) assertNothingRescued(scope);
  return { id, ...(handedOverTo !== undefined && { handedOverTo }) };
}

function assertNothingRescued({ store, id, cluster }: ReplicaScope): void {
  const { rescued } = store.state();
  if (rescued === 0) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `The rescue ledger of ${id} keeps ${rescued} transactions that nobody has decided about, and they are nowhere else. ` +
      'See `antiphon rescue list`, or leave with --force and keep the file.',
    { context: { cluster, replica: id } },
  );
}

/** To whom it was: another one may have been faster than the successor. */
async function handedOver(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
  timeoutMs: number,
): Promise<string> {
  const { id, cluster } = scope;
  const to = await successor(scope, replica);
  const { primary } = await switchOver(scope, replica, to, { timeoutMs });
  if (primary !== id) return primary;
  throw new AntiphonError(
    'BAD_OPTION',
    `${id} cannot leave: it became the primary again while it handed over to ${to}. Leave again.`,
    { context: { cluster, replica: id } },
  );
}

async function successor(scope: ReplicaScope, replica: ActorRef<ReplicaProtocol>): Promise<string> {
  const { authority, id, cluster } = scope;
  const found = authority.byTerm ? await bestSuccessor(scope, replica) : undefined;
  if (found !== undefined) return found;
  const why = authority.byTerm
    ? 'no other one can take over now. See `antiphon explain-candidate`.'
    : 'it stays the primary, since the cluster was created without `failover`.';
  throw new AntiphonError('BAD_OPTION', `${id} cannot leave: it is the primary, and ${why}`, {
    context: { cluster, replica: id },
  });
}

/**
 * At the end of closing: nobody counts it any more, and nothing is kept for it. If that does not
 * succeed, it is a member that is not running. Never throws.
 */
export async function endMembership(
  scope: ReplicaScope,
  readerOf: (id: string) => string,
  { force }: Pick<LeaveOptions, 'force'>,
): Promise<void> {
  const { id, registry, clock, log, progress, sync, logger } = scope;
  try {
    if (force !== true) assertNothingRescued(scope);
    if (newestEpoch(scope.store.state()).primary === id && scope.authority.byTerm)
      throw new AntiphonError('BAD_OPTION', `${id} has become the primary while it was about to leave.`);
    if (progress.unpublished > 0)
      throw new AntiphonError('TIMEOUT', `The log has not got everything that ${id} has written.`);
    if (sync !== undefined && !(await sync.inSync.remove(id, `${id} leaves`)))
      throw new AntiphonError('LOG_UNAVAILABLE', `The log did not take the record that ${id} leaves.`);
    const record = await findReadableMember(registry, id);
    if (record !== undefined) await markRemoved(registry, record, clock.nowMs());
    await log.forget(readerOf(id));
    logger.info({}, `Replica ${id} has left the cluster.`);
  } catch (thrown) {
    const { code, message } = toAntiphonError(thrown);
    logger.error(
      { code },
      `Replica ${id} ends, and is a member still: ${message} Remove it with \`antiphon member remove ${id}\`, or start it again.`,
    );
  }
}
