import { ActorSystem, type ActorEvent, type Supervision } from '@antiphon/actor';
import {
  AntiphonError,
  HybridClock,
  counterOf,
  decodeControl,
  type InstallOptions,
  type Store,
} from '@antiphon/core';
import { newestLimits } from '../config/agreed-limits.js';
import { ClockWatch } from '../state/clock-watch.js';
import { isRecord, type ClusterDocument } from '../cluster/cluster-document.js';
import { Condition } from '../state/condition.js';
import { Conflicts } from '../state/conflicts.js';
import { Deadline, retrying } from '../wait/deadline.js';
import { finishCreating, joinCluster, type Agreement } from './join.js';
import { isReserved } from '../config/reserved.js';
import { findReplacedLog } from './known-log.js';
import { LeftOutWatch } from '../state/left-out-watch.js';
import { LogEnd } from '../log/log-end.js';
import { MailboxActor, exposeMailbox, type MailboxProtocol } from '../service/mailbox.js';
import { registerMember } from '../cluster/member-record.js';
import { Members } from '../cluster/members.js';
import { resolveSettings, type ReplicaOptions, type ReplicaPorts, type Settings } from '../config/options.js';
import { findOwnPast, type OwnPast } from '../deliver/own-past.js';
import { Progress } from '../state/progress.js';
import { Quarantine } from '../repair/quarantine.js';
import { ReplicaActor, replicaMailbox } from '../replica/replica-actor.js';
import { Recapturer } from '../repair/recapture.js';
import { ACTORS_SHARE, RunningReplica, type Replica } from '../replica/replica.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { SentMessages } from '../state/sent-messages.js';
import { mailboxPrefix } from '../config/subjects.js';
import { Sync } from '../sync/sync.js';
import { roleOf, soleWriter } from '../config/topology.js';
import { VERSION } from '../config/version.js';
import { Writer } from '../write/writer.js';

/** So much of the log is applied in well under a second. */
const SOON_CAUGHT_UP_ENTRIES = 10_000;

/**
 * A defect that passes costs fractions of a second; one that stays ends the replica within some seconds, and
 * says so.
 */
const SUPERVISION: Supervision = {
  restart: {
    maxRestarts: 6,
    windowMs: 60_000,
    backoff: { initialMs: 50, maxMs: 2000, factor: 2, jitter: 0.2 },
  },
};

/**
 * Starts a replica on the given ports. Resolves when it takes writes; it may still be behind the log
 * (`caughtUp`). Rejects with LOG_UNAVAILABLE when NATS does not answer in time, TIMEOUT when the cluster has
 * not been created, CLUSTER_MISMATCH, STORE_CONTENT, UNSUPPORTED_TABLE, DUPLICATE_REPLICA, BAD_OPTION. The
 * store is closed then.
 */
export async function startReplica<Tx>(
  options: ReplicaOptions<Tx> & ReplicaPorts,
  release: () => Promise<void> = () => Promise.resolve(),
): Promise<Replica<Tx>> {
  const settings = resolveSettings(options);
  const { clock, limits } = settings;
  const { onProgress } = options;
  const deadline = new Deadline(clock, limits.connectTimeoutMs, [options.signal], 'NATS answers', onProgress);
  const closing = new AbortController();
  let replica: Replica<Tx> | undefined;
  try {
    const scope = await prepare(settings, closing.signal, deadline);
    deadline.end();
    replica = run<Tx>(scope, closing, release);
    await ownPastTaken(scope, options.signal, onProgress);
    await joinedInSync(scope, options.signal);
    return replica;
  } catch (error) {
    if (replica === undefined) {
      settings.log.detach();
      await settings.store.close().catch(() => undefined);
    } else await replica.close();
    throw error;
  } finally {
    deadline.end();
  }
}

/** Everything that must be so before the first message moves. */
async function prepare(asked: Settings, closing: AbortSignal, deadline: Deadline): Promise<ReplicaScope> {
  const { clock, logger, id, store, registry } = asked;
  await assertAlone(asked, deadline);
  const agreed = await joinCluster(asked, deadline);
  const settings = { ...asked, limits: { ...asked.limits, ...newestLimits(agreed.document.limits) } };
  const role = roleOf(agreed.document.topology, id);
  const condition = new Condition(role, clock, logger);
  tellLifecycle(settings, condition);
  deadline.renew();
  condition.handle('agreed');
  const clocks = new ClockWatch({ ...settings, condition });
  // Before anything is given a time: the rows of the first replica are, when it is installed.
  if (agreed.replaced === undefined) await retrying(clock, deadline, () => clocks.read(deadline.signal));
  const hybrid = new HybridClock(clock, clocks);
  await install(settings, agreed, hybrid, deadline);
  const agreement = await withKnownLog(settings, agreed, deadline);
  const record = {
    id,
    joinedAtMs: clock.nowMs(),
    engine: store.engine,
    version: VERSION,
    instance: settings.instance,
  };
  await retrying(clock, deadline, () => registerMember(registry, record));
  const document = await finishCreating(settings, agreement, deadline);
  const members = new Members(registry, clock);
  await retrying(clock, deadline, () => members.refresh());
  if (document.rowVersions) clocks.follow(hybrid, settings.limits.clockRefusalMs);
  const ownPast = await takeUpOwnPast(settings, agreement, deadline);
  const logEnd = new LogEnd(clock);
  const progress = new Progress(
    store,
    clock,
    id,
    () => condition.firstGapSeq,
    () => condition.obstacle,
  );
  condition.wait(store.state().gaps);
  progress.moved(store.state().position.seq);
  if (agreement.replaced === undefined) {
    logEnd.seen((await retrying(clock, deadline, () => settings.log.identity(deadline.signal))).lastSeq);
    // The log's own first record is shown to no reader, so nothing else would ever move a position past it.
    const first =
      progress.seq > 0
        ? undefined
        : await retrying(clock, deadline, () => settings.log.get(1, deadline.signal));
    if (progress.seq === 0 && (first === undefined || isReserved(first.origin)))
      progress.moved(Math.min(1, logEnd.seq));
  }
  condition.handle('installed');
  const stalling = agreement.replaced ?? (await driftOf(settings.store));
  if (stalling !== undefined) condition.stall(stalling);
  const leftOut = new LeftOutWatch(store, condition, logger, settings.tables !== undefined);
  leftOut.look();
  const ownPastUpTo = Math.max(ownPast?.counter ?? 0, interruptedOwnPast(settings));
  const sync = await prepareSync({ ...settings, condition }, agreement, progress, deadline);
  return {
    ...{
      ...settings,
      role,
      document,
      hybrid,
      clocks,
      condition,
      conflicts: new Conflicts(condition, clock),
      leftOut,
      progress,
      members,
      ownPastUpTo,
      logEnd,
      sync,
      sent: new SentMessages(),
      closing,
    },
    writable: role !== 'replica',
    soleAppender: role === 'primary' && sync === undefined,
  };
}

function tellLifecycle({ onLifecycle, logger }: Settings, condition: Condition): void {
  if (onLifecycle === undefined) return;
  condition.onState((state) => {
    try {
      onLifecycle(state, condition.stalled ?? condition.holding);
    } catch (error) {
      logger.error({ err: error }, 'onLifecycle failed');
    }
  });
}

/** Before anything is published or read: is it the log that this database knows (I14)? */
async function withKnownLog(
  settings: Settings,
  agreement: Agreement,
  deadline: Deadline,
): Promise<Agreement> {
  if (agreement.replaced !== undefined) return agreement;
  const replaced = await findReplacedLog(settings, agreement.document, deadline);
  return replaced === undefined ? agreement : { ...agreement, replaced };
}

async function prepareSync(
  settings: Settings & { readonly condition: Condition },
  { document, replaced }: Agreement,
  progress: Progress,
  deadline: Deadline,
): Promise<Sync | undefined> {
  if (document.update.mode === 'async') return undefined;
  const { clock, log, store } = settings;
  const sync = new Sync(document.update, document.topology, settings, progress);
  if (replaced !== undefined) return sync;
  await retrying(clock, deadline, () => sync.inSync.load(deadline.signal));
  const restoring = { log, store, clock, generation: document.generation };
  await sync.certification?.restore(restoring, store.state().position.seq, deadline);
  return sync;
}

async function install(
  settings: Settings,
  agreement: Agreement,
  hybrid: HybridClock,
  deadline: Deadline,
): Promise<void> {
  const { store } = settings;
  const { document, identity, createTables, sealExistingRows } = agreement;
  const primary = soleWriter(document.topology);
  const options: InstallOptions = {
    identity,
    schema: document.schema,
    writes: writesOf(settings, document),
    ...(primary === undefined ? {} : { primary }),
    rowVersions: document.rowVersions,
    createTables,
    sealExistingRows,
    durable: document.update.mode === 'sync',
    certified: document.update.mode === 'sync' && primary === undefined,
    ...(settings.localTriggers && { localTriggers: settings.localTriggers }),
    rowLimits: newestLimits(document.limits),
  };
  // Founding a cluster seals every row that is there, which takes as long as it takes.
  await retrying(settings.clock, deadline, () => deadline.paused(() => store.install(options, hybrid)));
}

function writesOf({ id }: Settings, { topology, update }: ClusterDocument): InstallOptions['writes'] {
  const primary = soleWriter(topology);
  if (primary !== undefined && primary !== id) return 'refuse';
  return update.mode === 'sync' && update.foreignWrites === 'refuse' ? 'library' : 'capture';
}

async function takeUpOwnPast(
  settings: Settings,
  agreement: Agreement,
  deadline: Deadline,
): Promise<OwnPast | undefined> {
  if (agreement.replaced !== undefined) return undefined;
  const ownPast = await findOwnPast(settings, agreement.document, deadline);
  if (ownPast === undefined) return undefined;
  const { store, logger, clock, id } = settings;
  logger.warn(
    { counter: ownPast.counter, known: store.state().lastCounter },
    `the log holds transactions of ${id} that its database does not: it was restored; taking them in first`,
  );
  const forgotten = await retrying(clock, deadline, () => store.resumeFrom(ownPast.counter, ownPast.time));
  if (forgotten > 0)
    logger.warn(
      { changes: forgotten },
      `${forgotten} captured changes of this database made of their rows what the log says that ${id} made of them at the same ` +
        'time, or come before such a one: they are not published again, and these rows become what the log says',
    );
  // Where several write, it counts as published when the feed has read it back in order, together with the position.
  const { topology, update } = agreement.document;
  if (soleWriter(topology) !== undefined && update.mode === 'async') store.markPublished(ownPast.counter);
  return ownPast;
}

/** A table that was rebuilt while no replica ran: it starts stalled, so that the way out can be taken. */
async function driftOf(store: Store): Promise<AntiphonError | undefined> {
  try {
    await store.check();
    return undefined;
  } catch (error) {
    if (error instanceof AntiphonError && error.code === 'SCHEMA_DRIFT') return error;
    throw error;
  }
}

/** It crashed while it took in its own past: the database knows how far that goes, and has not got there. */
function interruptedOwnPast({ store, id }: Settings): number {
  const { lastCounter, vector } = store.state();
  return counterOf(vector, id) < lastCounter ? lastCounter : 0;
}

/** Two processes under one id would number their transactions alike. Whoever runs answers a ping. */
async function assertAlone(settings: Settings, deadline: Deadline): Promise<void> {
  const { bus, cluster, id, instance, limits } = settings;
  const timeoutMs = Math.min(limits.duplicateCheckMs, Math.max(1, deadline.leftMs));
  let reply: unknown;
  try {
    reply = decodeControl(
      await bus.request(`${mailboxPrefix(cluster, id)}.ping`, new Uint8Array(0), {
        timeoutMs,
        signal: deadline.signal,
      }),
    );
  } catch (error) {
    if (error instanceof AntiphonError && error.code === 'ACCESS_DENIED') throw error;
    // Nobody there, or nobody who answers; without a connection, the next steps say so.
    return;
  }
  const running = isRecord(reply) && isRecord(reply['ok']) ? reply['ok']['instance'] : undefined;
  if (running === instance) return;
  throw new AntiphonError(
    'DUPLICATE_REPLICA',
    `another process runs as replica ${id} of cluster ${cluster}; stop it, or choose another id`,
    { context: { cluster, replica: id } },
  );
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
  const answering = system.spawn<MailboxProtocol>(
    'mailbox',
    () => new MailboxActor(scope, actor, writer, { quarantine, recapturer }),
  );
  const exposure = exposeMailbox(scope, answering);
  return new RunningReplica<Tx>({
    ...{ scope, system, replica: actor, writer },
    quarantine,
    recapturer,
    exposure,
    closing,
    release,
  });
}

/** However much there is: it fails only when nothing moves any more. */
async function ownPastTaken(
  scope: ReplicaScope,
  signal: AbortSignal | undefined,
  onProgress: (() => void) | undefined,
): Promise<void> {
  const { progress, ownPastUpTo, condition, clock, limits } = scope;
  const what = 'the transactions of its own that only the log has are applied';
  const deadline = new Deadline(clock, limits.connectTimeoutMs, [signal], what, onProgress);
  let seq = -1;
  const stopListening = progress.onMove(() => {
    // Only what the log brings counts: local moves say nothing about it.
    if (progress.seq === seq) return;
    seq = progress.seq;
    deadline.renew();
  });
  try {
    await progress.until(() => progress.ownCounter >= ownPastUpTo || !condition.replicating, {
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
 * Who starts all members and then writes expects them to count; a replica that has much to catch up with is
 * not waited for.
 */
async function joinedInSync(scope: ReplicaScope, signal: AbortSignal | undefined): Promise<void> {
  const { sync, id, progress, condition, limits, logEnd } = scope;
  if (sync === undefined || logEnd.lagMessages(progress.seq) > SOON_CAUGHT_UP_ENTRIES) return;
  const limit = { timeoutMs: limits.inSyncJoinMs, what: `${id} is in sync`, ...(signal && { signal }) };
  await progress
    .until(() => sync.inSync.has(id) || !condition.replicating, limit)
    .catch((error: unknown) => {
      if (!(error instanceof AntiphonError) || error.code !== 'TIMEOUT') throw error;
    });
}

function report({ logger }: ReplicaScope, event: ActorEvent): void {
  if (event.type === 'crashed') {
    logger.error({ actor: event.path, err: event.error, restartInMs: event.restartInMs }, 'an actor crashed');
  } else if (event.type === 'unheard') {
    logger.warn(
      { actor: event.path, err: event.error },
      `nobody waited for the answer to ${event.during}, which failed`,
    );
  } else if (event.type === 'abandoned') {
    logger.warn({ actor: event.path }, 'an actor did not end in time and was left behind');
  }
}
