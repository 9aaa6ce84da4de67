import { ActorSystem, type ActorEvent, type Supervision } from '@antiphon/actor';
import { abortReason, AntiphonError, type Timer } from '@antiphon/core';
import { Deadline } from '../wait/deadline.js';
import { exposeMailbox, MailboxActor } from '../service/mailbox.js';
import type { MailboxProtocol } from '../service/mailbox-protocol.js';
import type { Logger } from '../config/logger.js';
import type { Left, LeaveOptions } from '../membership/leave.js';
import { resolveSettings, type ReplicaOptions, type ReplicaPorts } from '../config/options.js';
import { RescueLedgerAccess } from '../failover/rescue.js';
import { ChangePublisher } from '../read/publisher.js';
import { Quarantine } from '../repair/quarantine.js';
import { ReplicaActor, replicaMailbox } from '../replica/replica-actor.js';
import { Recapturer } from '../repair/recapture.js';
import { ACTORS_SHARE, RunningReplica, type Replica } from '../replica/replica.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { prepare } from './prepare.js';
import { Writer } from '../write/writer.js';

/** So much of the log is applied in well under a second. */
const SOON_CAUGHT_UP_ENTRIES = 10_000;
/** To whoever has asked over the bus that it leaves. */
const ANSWER_FIRST_MS = 50;
/** How often it is looked whether a rewind goes on. */
const REWINDING_LOOK_MS = 500;

/**
 * A defect that passes costs fractions of a second; one that stays ends the replica within some
 * seconds, and says so.
 */
const SUPERVISION: Supervision = {
  restart: {
    maxRestarts: 6,
    windowMs: 60_000,
    backoff: { initialMs: 50, maxMs: 2000, factor: 2, jitter: 0.2 },
  },
};

/**
 * Starts a replica on ports of your choice, for example the in-memory ones of `@antiphon/testing`;
 * most programs call `createReplica`. Resolves when writes can be called, the first of which may
 * wait for a lease; it may still be behind the log (see `caughtUp`). `release` is called when it
 * closes.
 *
 * @throws AntiphonError LOG_UNAVAILABLE when the log does not answer in time, TIMEOUT when the
 * cluster has not been created, CLUSTER_MISMATCH, STORE_CONTENT, UNSUPPORTED_TABLE,
 * DUPLICATE_REPLICA, BAD_OPTION. The store is closed then: make
 *   another one for the next try.
 */
export async function startReplica<Tx>(
  options: ReplicaOptions<Tx> & ReplicaPorts,
  release: () => Promise<void> = () => Promise.resolve(),
): Promise<Replica<Tx>> {
  const settings = resolveSettings(options);
  const { clock, limits } = settings;
  const onProgress = tellProgress(options.onProgress, settings.logger);
  const deadline = new Deadline(clock, limits.connectTimeoutMs, [options.signal], 'NATS answers', onProgress);
  const closing = new AbortController();
  let replica: Replica<Tx> | undefined;
  try {
    const scope = await prepare(settings, closing.signal, deadline);
    deadline.end();
    replica = run<Tx>(scope, closing, release);
    await ownRecovered(scope, options.signal, onProgress);
    await elected(scope, options.signal, onProgress);
    await joinedInSync(scope, options.signal);
    return replica;
  } catch (error) {
    if (replica === undefined) {
      settings.log.detach();
      await settings.store.close().catch(() => undefined);
    } else await replica.close();
    throw abortReason(error, options.signal);
  } finally {
    deadline.end();
  }
}

/**
 * It is called from timers and in turns of the replica, which its caller's mistakes must not end.
 */
function tellProgress(onProgress: (() => void) | undefined, logger: Logger): () => void {
  return () => {
    try {
      onProgress?.();
    } catch (error) {
      logger.error({ err: error }, '`onProgress` failed.');
    }
  };
}

function run<Tx>(scope: ReplicaScope, closing: AbortController, release: () => Promise<void>): Replica<Tx> {
  const { clock, id, limits } = scope;
  const system = new ActorSystem({
    clock,
    name: id,
    stopTimeoutMs: limits.closeTimeoutMs * ACTORS_SHARE,
    onEvent: (event) => report(scope, event),
  });
  const mailbox = replicaMailbox(limits.waitingWrites);
  const actor = system.spawn('replica', () => new ReplicaActor(scope), { mailbox, supervision: SUPERVISION });
  const writer = new Writer<Tx>(scope, actor);
  const quarantine = new Quarantine(scope, actor);
  const recapturer = new Recapturer(scope, actor, writer);
  const rescue = new RescueLedgerAccess(scope, actor, writer);
  const leave = async (options: LeaveOptions): Promise<Left> => {
    const left = await running.prepareToLeave(options);
    // After the answer, which would not come through any more.
    clock.setTimer(ANSWER_FIRST_MS, () => void running.close());
    return left;
  };
  const answering = system.spawn<MailboxProtocol>(
    'mailbox',
    () => new MailboxActor(scope, actor, writer, { quarantine, recapturer, rescue, leave }),
  );
  const exposure = exposeMailbox(scope, answering);
  const running = new RunningReplica<Tx>({
    ...{ scope, system, replica: actor, writer },
    quarantine,
    recapturer,
    rescue,
    exposure,
    closing,
    release,
  });
  const { publish, publication } = scope;
  if (publish !== undefined && publication !== undefined)
    scope.publishing.opened(new ChangePublisher({ scope, settings: publish, publication }));
  return running;
}

/** However much there is: it fails only when nothing moves any more. */
async function ownRecovered(
  scope: ReplicaScope,
  signal: AbortSignal | undefined,
  onProgress: () => void,
): Promise<void> {
  const { positions, progress, recoverOwnUpTo, health, clock, limits } = scope;
  const what = 'the transactions of its own that only the log has are applied';
  const deadline = new Deadline(clock, limits.connectTimeoutMs, [signal], what, onProgress);
  let seq = -1;
  const stopListening = progress.onMove(() => {
    // Only what the log brings counts: local moves say nothing about it.
    if (positions.passed === seq) return;
    seq = positions.passed;
    deadline.renew();
  });
  try {
    await progress.until(() => progress.ownCounter >= recoverOwnUpTo || !health.replicating, {
      timeoutMs: Infinity,
      what,
      signal: deadline.signal,
    });
  } finally {
    stopListening();
    deadline.end();
  }
}

/**
 * A primary takes writes from when the log has its epoch. Until it knows that, it may have much to
 * read, and to give up: it fails only when nothing moves any more.
 */
async function elected(
  scope: ReplicaScope,
  signal: AbortSignal | undefined,
  onProgress: () => void,
): Promise<void> {
  const { authority, progress, id, health, limits, positions, clock } = scope;
  const what = `the log has the epoch of ${id}`;
  const deadline = new Deadline(clock, limits.connectTimeoutMs, [signal], what, onProgress);
  let seq = positions.passed;
  const stopListening = progress.onMove(() => {
    if (positions.passed === seq) return;
    seq = positions.passed;
    deadline.renew();
  });
  const isOver = (): boolean => {
    const { mayWrite, primary } = authority.current();
    return mayWrite || primary !== id || !health.replicating;
  };
  let timer: Timer | undefined;
  const look = (): void => {
    if (health.state === 'rewinding') deadline.renew();
    timer = clock.setTimer(REWINDING_LOOK_MS, look);
  };
  look();
  try {
    await progress.until(isOver, { timeoutMs: Infinity, what, signal: deadline.signal });
  } finally {
    timer?.cancel();
    stopListening();
    deadline.end();
  }
}

/**
 * Who starts all members and then writes expects them to count; a replica that has much to catch up
 * with is not waited for.
 */
async function joinedInSync(scope: ReplicaScope, signal: AbortSignal | undefined): Promise<void> {
  const { sync, id, positions, progress, health, limits } = scope;
  if (sync === undefined || positions.lagEntries > SOON_CAUGHT_UP_ENTRIES) return;
  const limit = { timeoutMs: limits.inSyncJoinMs, what: `${id} is in sync`, ...(signal && { signal }) };
  await progress
    .until(() => sync.inSync.has(id) || !health.replicating, limit)
    .catch((error: unknown) => {
      if (!(error instanceof AntiphonError) || error.code !== 'TIMEOUT') throw error;
    });
}

function report({ logger }: ReplicaScope, event: ActorEvent): void {
  if (event.type === 'crashed') {
    logger.error(
      { actor: event.path, err: event.error, restartInMs: event.restartInMs },
      'An actor crashed.',
    );
  } else if (event.type === 'unheard') {
    logger.warn(
      { actor: event.path, err: event.error },
      `Nobody waited for the answer to ${event.during}, which failed.`,
    );
  } else if (event.type === 'abandoned') {
    logger.warn({ actor: event.path }, 'An actor did not end in time and was abandoned.');
  }
}
