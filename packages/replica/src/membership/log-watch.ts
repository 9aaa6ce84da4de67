import {
  AntiphonError,
  counted,
  FIRST_ENTRY_SEQ,
  isSameEntry,
  type LogIdentity,
  sentence,
} from '@antiphon/core';
import { Deadline } from '../wait/deadline.js';
import { assertReadable, assertSameLog } from '../log/log-check.js';
import { OwnEntries } from '../log/own-entries.js';
import { assertHolds, type Testimony } from '../log/testimony.js';
import type { Scope } from '../state/scope.js';

/**
 * So often, in looks, the newest known entry is read back, and the newest own one. A reconnect or
 * another leader has the first read at once, a reconnect the second as well.
 */
const VERIFY_EVERY_LOOKS = 10;
/** Without an answer; begun anew with every page that is read. */
const OWN_ENTRIES_MS = 5000;
const REMOVED_ALARM = 'removed';
const TRIMMED_ALARM = 'trimmed';
/** So often one entry that another member knows is read; of a member that has stalled, at once. */
const COMPARE_EVERY_LOOKS = 3;
/** This replica ends, or NATS denies it something, which is an alarm of its own. */
const NOT_OF_THE_LOG: ReadonlySet<string> = new Set(['ABORTED', 'ACTOR_STOPPED', 'ACCESS_DENIED']);

interface Heard extends Testimony {
  readonly isStalled: boolean;
}

/**
 * Looks at the log at every beat (I14): is it the same, how far does it go, and does it hold what
 * the other members have dealt with? A log that was cut while one member was down looks whole to
 * that one; the others know better.
 */
export class LogWatch {
  #looks = 0;
  readonly #own: OwnEntries;
  /** Entries of other members that were found in the log. */
  readonly #compared = new Map<string, number>();

  constructor(
    private readonly scope: Scope,
    /** The end of the log was seen. */
    private readonly onSeen: () => void,
  ) {
    this.#own = new OwnEntries(scope);
  }

  /** The connection is new: everything is looked at. */
  lookAnew(signal: AbortSignal): Promise<void> {
    this.#looks = 0;
    return this.look(signal);
  }

  /**
   * A log that does not answer is no finding. Also while this replica has stalled: whether it
   * answers is news.
   */
  async look(signal: AbortSignal): Promise<void> {
    const { health, log } = this.scope;
    if (health.ended) return;
    try {
      if (health.stalled?.code === 'LOG_REPLACED') await log.answers(signal);
      else await this.#look(signal);
      health.clearAlarm('log');
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      if (error.code === 'LOG_REPLACED') this.#replaced(error);
      else if (!NOT_OF_THE_LOG.has(error.code))
        health.alarm('log', `The log does not answer: ${sentence(error.message)}`);
    }
  }

  /**
   * It answered; and how many entries the log lacked that was there before is of no use any more.
   */
  #replaced(error: AntiphonError): void {
    const { health } = this.scope;
    health.stall(error);
    health.clearAlarm('log');
    health.clearAlarm(REMOVED_ALARM);
    health.clearAlarm(TRIMMED_ALARM);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { log, document, positions, clock } = this.scope;
    const knownSeq = positions.passed;
    const askedMs = clock.monotonicMs();
    const testimonies = this.#testimonies();
    const identity = await log.identity(signal);
    assertSameLog(identity, document.generation, knownSeq);
    assertReadable(identity, knownSeq);
    this.#alarmRemoved(identity);
    this.#alarmTrimmed(identity);
    positions.sawEnd(identity.lastSeq, askedMs - (identity.leaderSilentMs ?? 0));
    this.onSeen();
    if (this.#looks++ % VERIFY_EVERY_LOOKS === 0) {
      await log.verify(signal);
      await this.#checkOwn(signal);
    }
    await this.#compare(testimonies, identity, signal);
  }

  async #checkOwn(signal: AbortSignal): Promise<void> {
    const { clock, store } = this.scope;
    if (store.state().publishedCounter === 0) return;
    const deadline = new Deadline(clock, OWN_ENTRIES_MS, [signal]);
    try {
      await this.#own.check(deadline);
    } finally {
      deadline.end();
    }
  }

  /**
   * A replica that has read them is not affected, and would never notice; one that has not learns
   * it from the reader.
   */
  #alarmRemoved({ removed = 0 }: LogIdentity): void {
    const { health } = this.scope;
    if (removed === 0) return health.clearAlarm(REMOVED_ALARM);
    health.alarm(
      REMOVED_ALARM,
      `${counted(removed, 'entry', 'entries')} of the log ${removed === 1 ? 'was' : 'were'} removed from between others (\`nats stream rmm\`, or a purge of one ` +
        'subject). A replica that has not read them stops there, and so does one with an empty file. What they held ' +
        'is only in the databases that read them before. Copy one of these, and begin a new log from it ' +
        '(docs/lost-log.md, way 4).',
    );
  }

  /** Replicas that have read it are not affected. One that comes later reads from the beginning. */
  #alarmTrimmed({ firstSeq, lastSeq }: LogIdentity): void {
    const { health } = this.scope;
    if (lastSeq === 0 || firstSeq <= FIRST_ENTRY_SEQ) return health.clearAlarm(TRIMMED_ALARM);
    health.alarm(
      TRIMMED_ALARM,
      `The log begins at entry ${firstSeq}: what came before was trimmed (a limit of the stream, or ` +
        '`nats stream purge`). Replicas that had read it are not affected. One with an empty file, or an older one, can no ' +
        'longer join. What was trimmed is only in the databases that read it. Copy one of these, and begin a new ' +
        'log from it (docs/lost-log.md, way 4).',
    );
  }

  /** What the other members have dealt with, in their own words. */
  #testimonies(): readonly Heard[] {
    const { members, document, id } = this.scope;
    return members.all.flatMap(({ record, beat }) => {
      const { entry } = beat ?? {};
      if (record.id === id || entry === undefined || beat?.generation !== document.generation) return [];
      return [{ id: record.id, entry, isStalled: beat.lifecycle === 'stalled' }];
    });
  }

  /** The log was asked after the beats were heard: it holds what they name, or it lost it. */
  async #compare(
    testimonies: readonly Heard[],
    { lastSeq }: LogIdentity,
    signal: AbortSignal,
  ): Promise<void> {
    const beyond = testimonies.find(({ entry }) => entry.seq > lastSeq);
    if (beyond !== undefined) await assertHolds(this.scope, beyond, signal);
    const due = testimonies.filter(({ id, entry }) => this.#compared.get(id) !== entry.seq);
    const one = due.find(({ isStalled }) => isStalled);
    if (one !== undefined) return this.#compareOne(one, signal);
    if (this.#looks % COMPARE_EVERY_LOOKS !== 0) return;
    const next = due[Math.floor(this.#looks / COMPARE_EVERY_LOOKS) % due.length];
    if (next !== undefined) await this.#compareOne(next, signal);
  }

  async #compareOne(heard: Heard, signal: AbortSignal): Promise<void> {
    const { id, entry } = heard;
    if (isSameEntry(entry, this.scope.log.known ?? { seq: 0 }) !== true)
      await assertHolds(this.scope, heard, signal);
    this.#compared.set(id, entry.seq);
  }
}
