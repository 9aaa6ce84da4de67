import {
  AntiphonError,
  assertReplicaId,
  checkOptions,
  findReadableMember,
  isIdentifier,
  mailboxPrefix,
  markRemoved,
  type MemberRecord,
  type OptionNames,
  sleep,
} from '@antiphon/core';
import { readerOf } from '../deliver/feed.js';
import { assertTimeout, Deadline, retryDelayMs } from '../wait/deadline.js';
import type { ReplicaScope } from '../sync/replica-scope.js';

/** How to remove a member. */
export interface RemoveMemberOptions {
  /**
   * Also when it answers: it ends then, and joins again if it is started again.
   * @defaultValue false
   */
  readonly force?: boolean;
  /**
   * How long it may take, in milliseconds. Below 2000 a member that hangs cannot be told from one
   * that runs: TIMEOUT, without `force`.
   * @defaultValue 5000
   */
  readonly timeoutMs?: number;
}

/** A member that was removed, and what is left. */
export interface Removal {
  /** The id of the member that was removed. */
  readonly id: string;
  /** Members of the cluster, whether they run or not. */
  readonly members: readonly string[];
  /**
   * In a synchronous cluster: the members of which `majority` is one, and the entry of the log that
   * says so.
   */
  readonly sync?: {
    readonly known: readonly string[];
    readonly inSync: readonly string[];
    readonly seq: number;
  };
}

const REMOVE_OPTIONS: OptionNames<RemoveMemberOptions> = { force: true, timeoutMs: true };
const DEFAULT_TIMEOUT_MS = 5000;
const PING_TIMEOUT_MS = 2000;

/**
 * Takes a member that is gone out of the cluster: from its record in the log on, no majority counts
 * it, and nobody keeps messages for it. What it wrote stays. Idempotent. Throws BAD_OPTION,
 * MEMBER_RUNNING, NOT_IN_SYNC, LOG_UNAVAILABLE, TIMEOUT.
 */
export async function removeMember(
  scope: ReplicaScope,
  id: string,
  options: RemoveMemberOptions = {},
): Promise<Removal> {
  assertReplicaId(id);
  checkOptions(options, REMOVE_OPTIONS, 'removeMember()');
  const { force = false, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  assertTimeout(timeoutMs);
  const deadline = new Deadline(scope.clock, timeoutMs, [scope.closing], () => late(scope, id, timeoutMs));
  try {
    return await remove(scope, id, force, deadline);
  } finally {
    deadline.end();
  }
}

async function remove(scope: ReplicaScope, id: string, force: boolean, deadline: Deadline): Promise<Removal> {
  const { registry, clock, members, sync } = scope;
  const record = await deadline.race(findReadableMember(registry, id));
  await deadline.race(members.refresh());
  assertRemovable(scope, id, record);
  // Without time for an answer nobody knows whether it runs: only one that was silent for long
  // enough is gone.
  if (!force && (await deadline.race(answers(scope, id)))) throw running(scope, id);
  if (sync?.inSync.known.includes(id) === true) await removeFromLog(scope, id, deadline);
  const removed = record === undefined || (await deadline.race(markRemoved(registry, record, clock.nowMs())));
  if (!removed) throw running(scope, id);
  await deadline.race(members.refresh());
  // Made again when it comes back. Whoever may not, or gets no answer, leaves it there idle.
  await deadline.race(scope.log.forget(readerOf(id)).catch(() => undefined));
  return {
    id,
    members: members.all.map((member) => member.record.id).sort(),
    ...(sync && { sync: { known: sync.inSync.known, inSync: sync.inSync.members, seq: sync.inSync.seq } }),
  };
}

function assertRemovable(scope: ReplicaScope, id: string, record: MemberRecord | undefined): void {
  const { authority, cluster, members, sync } = scope;
  const context = { cluster, replica: id };
  const known = record !== undefined || sync?.inSync.known.includes(id) === true;
  if (!isIdentifier(id) || !known) {
    const ids = members.all.map((member) => member.record.id).join(', ');
    throw new AntiphonError(
      'BAD_OPTION',
      `Cluster ${cluster} has no member ${id.slice(0, 80)}. Its members are ${ids}.`,
      { context },
    );
  }
  if (id === scope.id) {
    throw new AntiphonError(
      'BAD_OPTION',
      `Replica ${id} cannot remove itself. Stop it, and ask another one to remove it.`,
      { context },
    );
  }
  if (authority.current().primary === id) {
    throw new AntiphonError(
      'BAD_OPTION',
      `${id} cannot be removed: it is the primary, and without it the cluster takes no writes. ` +
        (authority.byTerm
          ? 'Let another one take over first: `antiphon switchover ID`, or `antiphon failover ID` when it has gone.'
          : 'It stays the primary, since the cluster was created without `failover`.'),
      { context },
    );
  }
}

/**
 * A paused or hung process does not; when it goes on, it learns from the log that it was removed.
 */
async function answers({ bus, cluster }: ReplicaScope, id: string): Promise<boolean> {
  try {
    await bus.request(`${mailboxPrefix(cluster, id)}.ping`, new Uint8Array(0), {
      timeoutMs: PING_TIMEOUT_MS,
    });
    return true;
  } catch (error) {
    const silent = error instanceof AntiphonError && (error.code === 'NO_ACTOR' || error.code === 'TIMEOUT');
    if (silent) return false;
    throw error;
  }
}

async function removeFromLog(scope: ReplicaScope, id: string, deadline: Deadline): Promise<void> {
  const { sync, clock, id: by, cluster } = scope;
  if (sync === undefined) return;
  const { inSync } = sync;
  for (let attempt = 0; ; attempt++) {
    if (await deadline.race(inSync.remove(id, `${id} was removed through ${by}`))) return;
    if (inSync.members.every((member) => member === id)) {
      throw new AntiphonError(
        'NOT_IN_SYNC',
        `${id} is the only member in sync. Start another one, wait until \`antiphon status\` shows it in sync, then remove ${id}.`,
        { context: { cluster, replica: id } },
      );
    }
    const delayMs = retryDelayMs(attempt, clock);
    if (delayMs >= deadline.leftMs) throw late(scope, id);
    await sleep(clock, delayMs, deadline.signal);
  }
}

/** To remove it again does no harm, whatever has been done. */
function late({ cluster }: ReplicaScope, id: string, timeoutMs?: number): AntiphonError {
  const within = timeoutMs === undefined ? 'in time' : `within ${Math.round(timeoutMs)} ms`;
  return new AntiphonError(
    'TIMEOUT',
    `Replica ${id} was not removed ${within}, or it is not known yet. ` +
      'See whether NATS answers, then remove it again, with more time if it answers slowly.',
    { context: { cluster, replica: id } },
  );
}

function running({ cluster }: ReplicaScope, id: string): AntiphonError {
  return new AntiphonError(
    'MEMBER_RUNNING',
    `Replica ${id} of cluster ${cluster} is running. Stop it first, or remove it with --force: it ends then, and joins again when it is started again.`,
    { context: { cluster, replica: id } },
  );
}

/** What ends a replica that finds itself removed. */
export function memberRemoved(
  { cluster, id }: Pick<ReplicaScope, 'cluster' | 'id'>,
  by: string,
): AntiphonError {
  return new AntiphonError(
    'MEMBER_REMOVED',
    `Replica ${id} was removed from cluster ${cluster}${by}. Start it again to let it join again, or delete its database.`,
    { context: { cluster, replica: id } },
  );
}

/** For remote callers. Throws BAD_OPTION. */
export function parseRemoval(input: Readonly<Record<string, unknown>>): {
  readonly id: string;
  readonly force: boolean;
} {
  const { id, force = false } = input;
  if (typeof id !== 'string' || typeof force !== 'boolean') {
    throw new AntiphonError(
      'BAD_OPTION',
      'The request is not valid. Give `id`, and `force` as true or false.',
    );
  }
  return { id, force };
}
