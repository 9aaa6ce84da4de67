import type { ApplyOutcome, ApplyRequest } from '@antiphon/core';
import { captureNothing } from './metadata.js';
import { Pace } from './pace.js';
import { isElected, reapplyPending } from './reapply.js';
import { sealedBatches } from './sealed-messages.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';

/** `together` is fast; `one by one` finds out which step the database refuses. */
export type ApplyManner = 'together' | 'one by one';

/**
 * Applies steps in the transaction that is open on the applying connection, behind what other
 * programs wrote meanwhile. Nothing is captured until the state is stored.
 */
export async function applySteps(
  session: Session,
  draft: ReplicaState,
  request: ApplyRequest,
  how: ApplyManner,
): Promise<ApplyOutcome> {
  const { applier } = session;
  session.verifySchema(applier, draft);
  const pace = new Pace(applier.surroundings, request.sliceMs, request.yield);
  await session.sealPending(applier, draft, pace);
  session.sealing(applier).sealer.finish();
  const work = session.applying();
  captureNothing(applier);
  work.settle(draft);
  const { recovering } = draft;
  const outcome = await (how === 'together'
    ? work.applyTogether(draft, request)
    : work.applyOneByOne(draft, request));
  if (recovering && !draft.recovering) await recovered(session, draft);
  if (draft.policy.writes !== session.policy.writes) session.takeRole(applier, draft);
  if (isElected(draft, request)) await reapplyPending(session, draft, pace);
  draft.published(request.publishedAt?.(draft.position.seq) ?? 0);
  return outcome;
}

/**
 * Recovery of own transactions is complete: later own transactions count as applied now, and lie on
 * top of it again.
 */
async function recovered(session: Session, draft: ReplicaState): Promise<void> {
  const from = draft.recoveryCounter;
  draft.recoveryCounter = 0;
  draft.ownCounter = draft.lastCounter;
  session.applying().forgetParts(draft, draft.identity.replica);
  if (draft.rowVersions || draft.lastCounter === from) return;
  await session.applying().replay(draft, sealedBatches(session.applier, from));
}
