import {
  AntiphonError,
  type ClusterDocument,
  counterOf,
  decodeControl,
  encodeClusterDocument,
  HybridClock,
  type InstallOptions,
  isCertified,
  isRecord,
  isReserved,
  type KeptParts,
  type LeaseStandIn,
  mailboxPrefix,
  newestEpoch,
  newestLimits,
  registerMember,
  type RewindReport,
} from '@antiphon/core';
import { Members } from '../cluster/members.js';
import type { Settings } from '../config/options.js';
import { VERSION } from '../config/version.js';
import { Freshness } from '../sync/freshness.js';
import { alarmSuspicious } from '../failover/rescue-alarm.js';
import { ReadBarrier } from '../sync/barrier.js';
import { HeldLease } from '../state/held-lease.js';
import { OwnLog, ownLogState } from '../state/own-log.js';
import { OwnReturn } from '../state/own-return.js';
import { findOwnPast, type OwnRecovery } from '../deliver/own-recovery.js';
import { ActiveSubscriptions } from '../state/active-subscriptions.js';
import { Publishing } from '../state/publishing.js';
import { LogAuthority, roleOf } from '../state/authority.js';
import { CommitWatch } from '../state/commit-watch.js';
import { ClockWatch } from '../state/clock-watch.js';
import { Health } from '../state/health.js';
import { Counters } from '../state/counters.js';
import { Conflicts } from '../state/conflicts.js';
import { LeftOutWatch } from '../state/left-out-watch.js';
import { Positions } from '../state/positions.js';
import { Progress } from '../state/progress.js';
import { Serving } from '../state/serving.js';
import { WriteTraces } from '../state/write-traces.js';
import { SentMessages } from '../state/sent-messages.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { Sync } from '../sync/sync.js';
import { retrying, type Deadline } from '../wait/deadline.js';
import { finishCreating, joinCluster, type Agreement } from './join.js';
import { findReplacedLog } from './known-log.js';
import { findFinishedOwn } from './unfinished-own.js';

const STAND_IN_ALARM = 'lease-thread';

/**
 * Everything that must be so before the first message moves, phase by phase. Each phase adds what
 * it found out, and needs what those before it did. Throws as `startReplica` does; the database may
 * be installed by then, which the next start finds as it is.
 */
export async function prepare(
  settings: Settings,
  closing: AbortSignal,
  deadline: Deadline,
): Promise<ReplicaScope> {
  await assertAlone(settings, deadline);
  const agreed = await agree(settings, deadline);
  const installed = await install(agreed, deadline);
  const recognized = await recognizeLog(installed, deadline);
  const enrolled = await enroll(recognized, deadline);
  const recovered = await recoverOwn(enrolled, deadline);
  const placed = await takePlace(recovered, deadline);
  const checked = await checkDatabase(placed);
  return {
    ...checked,
    sync: await prepareSync(checked, deadline),
    sent: new SentMessages(),
    counters: new Counters(),
    subscriptions: new ActiveSubscriptions(),
    publishing: new Publishing(),
    serving: new Serving(checked.reads, checked.clock),
    traces: new WriteTraces(),
    barrier: new ReadBarrier(checked, checked.positions, checked.progress),
    freshness: new Freshness(checked),
    held: await openLease(checked, deadline),
    standIn: standInOf(checked),
    commits: commitsOf(checked),
    closing,
  };
}

/** For the writers it makes no difference why there is no primary, if it lasts as long. */
function commitsOf({ clock, health, id, document: { failover } }: Agreed): CommitWatch {
  return new CommitWatch(clock, health, id, failover?.leaseMs ?? Infinity);
}

/** In a cluster that elects its primary by itself. */
async function openLease(
  { lease, clock, document: { failover } }: Agreed,
  deadline: Deadline,
): Promise<HeldLease> {
  const isNeeded = failover?.mode === 'automatic';
  if (isNeeded && lease === undefined)
    throw new AntiphonError(
      'BAD_OPTION',
      'This cluster elects its primary, and `lease` is missing among the ports. Give one, as `createReplica` does.',
    );
  if (isNeeded && lease !== undefined) await retrying(clock, deadline, () => lease.open(deadline.signal));
  return new HeldLease(clock, isNeeded, failover?.onIsolation !== 'continue');
}

/** While a write keeps this thread, another one renews the lease. */
function standInOf(agreed: Agreed): LeaseStandIn | undefined {
  const { lease, store, clock, health, limits, document } = agreed;
  if (document.failover?.mode !== 'automatic' || store.watchWriting === undefined) return undefined;
  const standIn = lease?.standIn?.({
    limitMs: limits.blockedMs,
    nowMs: () => clock.monotonicMs(),
    onProblem: (problem) => {
      if (problem === undefined) health.clearAlarm(STAND_IN_ALARM);
      else health.alarm(STAND_IN_ALARM, problem.message);
    },
  });
  if (standIn === undefined) return undefined;
  store.watchWriting({ begins: () => standIn.busy(true), ends: () => standIn.busy(false) });
  return standIn;
}

/**
 * Two processes under one id would number their transactions alike. Whoever runs answers a ping.
 */
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
    `Another process runs as replica ${id} of cluster ${cluster}. Stop it, or choose another id.`,
    { context: { cluster, replica: id } },
  );
}

interface Agreed extends Settings {
  readonly agreement: Agreement;
  readonly document: ClusterDocument;
  readonly authority: LogAuthority;
  readonly health: Health;
}

/** What the cluster is, and who writes in it. */
async function agree(asked: Settings, deadline: Deadline): Promise<Agreed> {
  const agreement = await joinCluster(asked, deadline);
  const { document } = agreement;
  const settings = { ...asked, limits: { ...asked.limits, ...newestLimits(document.limits) } };
  const { id, instance } = asked;
  const authority = new LogAuthority({
    id,
    instance,
    topology: document.topology,
    byTerm: document.failover !== undefined,
  });
  const health = new Health(() => roleOf(authority), asked.clock, asked.logger);
  tellLifecycle(settings, health);
  deadline.renew();
  health.handle('agreed');
  return { ...settings, agreement, document, authority, health };
}

function tellLifecycle({ onLifecycle, logger }: Settings, health: Health): void {
  if (onLifecycle === undefined) return;
  health.onState((state) => {
    try {
      onLifecycle(state, health.stalled ?? health.holding);
    } catch (error) {
      logger.error({ err: error }, 'The `onLifecycle` callback failed.');
    }
  });
}

interface Installed extends Agreed {
  readonly clocks: ClockWatch;
  readonly hybrid: HybridClock;
}

/** The database is a replica of this cluster. */
async function install(agreed: Agreed, deadline: Deadline): Promise<Installed> {
  const { agreement, document, authority, clock, store, localTriggers } = agreed;
  const clocks = new ClockWatch(agreed);
  // Before anything is given a time: the rows of the first replica are, when it is installed.
  if (agreement.replaced === undefined) await retrying(clock, deadline, () => clocks.read(deadline.signal));
  const hybrid = new HybridClock(clock, clocks);
  const { primary } = authority.current();
  const options: InstallOptions = {
    identity: agreement.identity,
    schema: document.schema,
    ...writesOf(agreed),
    ...(primary === undefined ? {} : { primary }),
    rowVersions: document.rowVersions,
    createTables: agreement.createTables,
    sealExistingRows: agreement.sealExistingRows,
    durable: document.update.mode === 'sync',
    certified: isCertified(document),
    ...(localTriggers && { localTriggers }),
    rowLimits: newestLimits(document.limits),
    agreement: encodeClusterDocument(document),
  };
  // Creating a cluster seals every row that is there, which takes as long as it takes.
  const { upgraded } = await retrying(clock, deadline, () =>
    deadline.paused(() => store.install(options, hybrid)),
  );
  authority.follow(() => newestEpoch(store.state()));
  if (upgraded !== undefined)
    agreed.logger.info(
      upgraded,
      `The database of ${agreed.id} has metadata of format ${upgraded.toFormat} now. Builds that know only format ${upgraded.fromFormat} cannot open it any more.`,
    );
  return { ...agreed, clocks, hybrid };
}

/** Where there are terms, the newest one that the database knows decides; see `asPrimary`. */
function writesOf({
  authority,
  document,
}: Agreed): Pick<InstallOptions, 'writes' | 'asPrimary' | 'foreignLeaseMs'> {
  const { update } = document;
  const taken = update.mode === 'sync' && update.foreignWrites === 'refuse' ? 'library' : 'capture';
  const { failover } = document;
  if (failover !== undefined) {
    const { mode, foreignLeaseMs } = failover;
    return { writes: 'refuse', asPrimary: taken, ...(mode === 'automatic' && { foreignLeaseMs }) };
  }
  return { writes: authority.current().mayWrite ? taken : 'refuse' };
}

interface Recognized extends Installed {
  /** Why the log is not the one that this database knows (I14). */
  readonly replaced: AntiphonError | undefined;
}

/** Before anything is published or read: is it the log that this database knows? */
async function recognizeLog(installed: Installed, deadline: Deadline): Promise<Recognized> {
  const { agreement, document } = installed;
  const replaced = agreement.replaced ?? (await findReplacedLog(installed, document, deadline));
  return { ...installed, replaced };
}

interface Enrolled extends Recognized {
  readonly members: Members;
}

/** It is a member, and a cluster that it creates is ready. */
async function enroll(recognized: Recognized, deadline: Deadline): Promise<Enrolled> {
  const { id, clock, store, registry, instance, clocks, hybrid, limits } = recognized;
  const record = { id, joinedAtMs: clock.nowMs(), engine: store.engine, version: VERSION, instance };
  await retrying(clock, deadline, () => registerMember(registry, record));
  const document = await finishCreating(recognized, recognized.agreement, deadline);
  const members = new Members(registry, clock);
  await retrying(clock, deadline, () => members.refresh());
  if (document.rowVersions) clocks.follow(hybrid, limits.clockRefusalMs);
  return { ...recognized, document, members };
}

interface Recovered extends Enrolled {
  readonly recoverOwnUpTo: number;
  readonly ownBegun: number;
  readonly ownLog: OwnLog;
  readonly ownReturn: OwnReturn;
}

/** What the log has of its own transactions and the database has not comes before any new one. */
async function recoverOwn(enrolled: Enrolled, deadline: Deadline): Promise<Recovered> {
  const { store, clock, id, replaced, authority } = enrolled;
  const { past, ownLog, unfinished } =
    replaced === undefined
      ? await findFinishedOwn(enrolled, deadline, {
          find: () => findOwnPast(enrolled, deadline),
          assertAlone: () => assertAlone(enrolled, deadline),
        })
      : { ownLog: ownLogState(id, store.state()), past: undefined, unfinished: undefined };
  const begun = unfinished?.counter ?? 0;
  const passed = ownLog.partial[id];
  const ownReturn = new OwnReturn(() => giveUp(enrolled, { past, begun, passed }));
  try {
    await retrying(clock, deadline, () => deadline.paused(() => ownReturn.finish()));
  } catch (error) {
    // It starts stalled, so that the way out can be taken.
    if (!(error instanceof AntiphonError) || error.code !== 'SCHEMA_DRIFT') throw error;
  }
  // An epoch of this process comes after whatever the log has of it.
  const recoverOwnUpTo = authority.byTerm ? 0 : Math.max(past?.counter ?? 0, interrupted(enrolled));
  return { ...enrolled, recoverOwnUpTo, ownBegun: begun, ownLog: new OwnLog(ownLog), ownReturn };
}

interface OwnInLog {
  readonly past: OwnRecovery | undefined;
  /** The log has parts under this number, which the next epoch drops. */
  readonly begun: number;
  /** These come before the position, and what follows behind it. */
  readonly passed: KeptParts | undefined;
}

async function giveUp(enrolled: Enrolled, { past, begun, passed }: OwnInLog): Promise<void> {
  const { store, logger, id, authority } = enrolled;
  const undo = (spent: number): Promise<RewindReport> => store.rewind({ reason: 'pending', spent, passed });
  if (authority.byTerm && begun > 0) alarmSuspicious(enrolled, await undo(begun));
  if (past === undefined) return;
  const { counter, time } = past;
  logger.warn(
    { counter, known: store.state().lastCounter },
    `The log holds transactions of ${id} that its database does not: it was restored. They are applied first.`,
  );
  // Before-images are of the rows before those that come from the log now, and of all captured
  // rows: what is only forgotten would stand in the way of what is undone.
  if (authority.byTerm) alarmSuspicious(enrolled, await undo(counter));
  const forgotten = await store.resumeFrom(counter, time);
  if (forgotten > 0)
    logger.warn(
      { changes: forgotten },
      `${forgotten} captured changes of this database are in the log already, or come before one that is. ` +
        'They are not published again, and their rows become what the log says.',
    );
  // Nothing is left to recover beside it: all of it comes from the log.
  if (authority.byTerm) await undo(counter);
}

/**
 * It crashed while it took them in: the database knows how far that goes, and has not got there.
 */
function interrupted({ store, id }: Enrolled): number {
  const { lastCounter, vector } = store.state();
  return counterOf(vector, id) < lastCounter ? lastCounter : 0;
}

interface Placed extends Recovered {
  readonly positions: Positions;
  readonly progress: Progress;
}

/** How far the database has come in the log, and how far the log goes. */
async function takePlace(recovered: Recovered, deadline: Deadline): Promise<Placed> {
  const { store, clock, id, health, log, replaced } = recovered;
  const positions = new Positions(() => store.state(), clock);
  const progress = new Progress(store, clock, id, () => health.obstacle);
  // Whoever waits for what replication brings need not wait on once it has stopped.
  health.onState(() => progress.moved());
  health.wait(store.state().gaps);
  const placed = { ...recovered, positions, progress };
  if (replaced !== undefined) return placed;
  const { lastSeq } = await retrying(clock, deadline, () => log.identity(deadline.signal));
  positions.sawEnd(lastSeq);
  if (positions.passed > 0) return placed;
  // The log's own first record is shown to no reader, so nothing else would ever move a position
  // past it.
  const first = await retrying(clock, deadline, () => log.get(1, deadline.signal));
  if (first === undefined || isReserved(first.origin)) positions.skip(Math.min(1, lastSeq));
  return placed;
}

/**
 * A log or a table that is not what it was: it starts stalled, so that the way out can be taken.
 */
async function checkDatabase(placed: Placed): Promise<Placed & Pick<ReplicaScope, 'leftOut' | 'conflicts'>> {
  const { store, health, logger, clock, tables, replaced, document } = placed;
  health.handle('installed');
  const stalling = replaced ?? (await driftOf(placed));
  if (stalling !== undefined) health.stall(stalling);
  const leftOut = new LeftOutWatch(store, health, logger, tables !== undefined);
  leftOut.look();
  return { ...placed, leftOut, conflicts: new Conflicts(health, clock, document.update.mode) };
}

async function driftOf({ store }: Placed): Promise<AntiphonError | undefined> {
  try {
    await store.check();
    return undefined;
  } catch (error) {
    if (error instanceof AntiphonError && error.code === 'SCHEMA_DRIFT') return error;
    throw error;
  }
}

/** Who is in sync, and what certification has to know, as the log says. */
async function prepareSync(placed: Placed, deadline: Deadline): Promise<Sync | undefined> {
  const { document, clock, log, store, positions, progress, replaced } = placed;
  if (document.update.mode === 'async') return undefined;
  const sync = new Sync(document.update, document, placed, { positions, progress });
  if (replaced !== undefined) return sync;
  sync.inSync.begin(store.state().epochs);
  await retrying(clock, deadline, () => sync.inSync.load(deadline.signal));
  const restoring = { log, store, clock, generation: document.generation };
  await sync.certification?.restore(restoring, store.state().position.seq, deadline);
  return sync;
}
