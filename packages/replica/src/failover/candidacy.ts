import { type ActorRef, remoteRef } from '@antiphon/actor';
import { type Candidacy, mailboxPrefix, obstacleIn, sleep } from '@antiphon/core';
import { knownOf } from '../state/authority.js';
import { isCreated, notCreatedYet } from '../state/created.js';
import { missingOf } from '../state/missing.js';
import type { PeerProtocol } from '../state/peer.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { whyUnfit } from '../state/unfit.js';

const QUARANTINE_PAGE = 500;
/** Answers of those who are there come in a fraction of it; nobody else is waited for. */
const ASK_MS = 150;
/** A disk that takes longer, or a database that is busy, is not full. */
const TRY_MS = 50;

/**
 * What every member says that answers in time, this one included. A primary that is lost is not
 * asked: it tries for nothing itself, and one that is stopped would be waited for.
 */
export async function candidacies(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
  signal: AbortSignal,
): Promise<readonly Candidacy[]> {
  const { bus, cluster, id, members, authority } = scope;
  const { primary } = authority.current();
  const others = members.all
    .map(({ record }) => record.id)
    .filter((member) => member !== id && member !== primary);
  const own = ownCandidacy(scope, replica);
  const answers = await Promise.all(
    others.map(async (member): Promise<Candidacy | undefined> => {
      const mailbox = remoteRef<PeerProtocol>(bus, mailboxPrefix(cluster, member));
      return mailbox.ask('candidacy', undefined, { timeoutMs: ASK_MS, signal }).catch(() => undefined);
    }),
  );
  return [await own, ...answers.filter((answer) => answer !== undefined)];
}

/** What this replica is as the next primary, for whoever chooses one. */
export async function ownCandidacy(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
): Promise<Candidacy> {
  const isBusy = await isBusyNow(scope, replica);
  const { id, instance, authority, store, positions, sync, members, failoverPriority: priority } = scope;
  // A deposed one that cannot follow yet has read who has its place.
  const { epoch, primary } = knownOf(authority);
  const quarantined = await quarantinedOf(scope, primary);
  const state = store.state();
  const uncreated = isCreated(scope) ? undefined : notCreatedYet(scope);
  const obstacles = {
    withoutFailover: !authority.byTerm,
    stopped: stopped(scope) ?? uncreated,
    quarantined,
    gaps: missingOf(scope).length,
    // All schemas are the first one so far.
    schemaTooOld: false,
    priority,
  };
  const why = obstacleIn(obstacles);
  const obstacle = obstacleIn({ ...obstacles, priority: 1 });
  const heardMsAgo = heardPrimaryMsAgo(scope, primary);
  const writingMs = members.writingMs(primary);
  return {
    ...{ id, instance, epoch },
    ...(primary !== undefined && { primary }),
    ...{ seq: positions.passed, lastSeq: positions.end },
    inSync: sync?.inSync.has(id) === true,
    eligible: why === undefined,
    ...(why !== undefined && { why }),
    ...(obstacle !== undefined && { obstacle }),
    ...(isBusy && { isBusy }),
    ...{ priority, lagMs: Math.round(positions.lagSeconds * 1000) },
    ...(heardMsAgo !== undefined && { heardPrimaryMsAgo: heardMsAgo }),
    ...(writingMs !== undefined && { primaryWritingMs: writingMs }),
    lastCounter: state.lastCounter,
  };
}

/** One that has just committed is at its next writes, and not behind the lock of somebody else. */
async function isBusyNow(
  { commits, clock }: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
): Promise<boolean> {
  if (commits.isFresh) return false;
  const tried = commits
    .tryOnce(() => replica.ask('tryCommit'))
    .then(
      () => false,
      () => !commits.isFresh,
    );
  return Promise.race([tried, sleep(clock, TRY_MS).then(() => !commits.isFresh)]);
}

function stopped(scope: ReplicaScope): string | undefined {
  const { health, closing, commits, authority } = scope;
  if (health.ended) return `it is ${health.state}`;
  if (closing.aborted) return 'it is closing';
  const halted = (health.stalled ?? health.holding)?.message;
  if (halted !== undefined) return halted;
  if (authority.successor !== undefined) return 'it was the primary, and undoes first what only it has';
  return whyUnfit(scope) ?? commits.failure?.message;
}

/** Messages of the primary that its followers have applied and this one has not. */
async function quarantinedOf({ store }: ReplicaScope, primary: string | undefined): Promise<number> {
  let found = 0;
  for (let afterId = 0, left = store.state().quarantined; left > 0;) {
    const page = await store.quarantine({ afterId, limit: QUARANTINE_PAGE });
    const last = page.at(-1);
    if (last === undefined) break;
    // What is malformed nobody has applied.
    found += page.filter(({ origin, code }) => origin === primary && code !== 'MALFORMED_MESSAGE').length;
    [afterId, left] = [last.id, left - page.length];
  }
  return found;
}

/** Its last beat, if there was one. */
function heardPrimaryMsAgo(
  { members, clock }: ReplicaScope,
  primary: string | undefined,
): number | undefined {
  const member = members.all.find(({ record }) => record.id === primary);
  if (member?.beat === undefined) return undefined;
  return Math.max(0, Math.round(clock.monotonicMs() - member.lastSeenMs));
}
