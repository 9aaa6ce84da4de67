import type { ActorRef } from '@antiphon/actor';
import {
  AntiphonError,
  type BatchSummary,
  type Beat,
  counterOf,
  decodeControl,
  encodeControl,
  type Gap,
  hasOtherPrimary,
  isRecord,
  type LogEntry,
  mailboxPrefix,
  newestEpoch,
  summarize,
  sentence,
} from '@antiphon/core';
import type { Waiting } from '../config/standstill.js';
import { missingOf } from '../state/missing.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';
import { SecondReading } from './second-reading.js';

/**
 * In beats: how long a transaction is missed before its origin is asked, which sends most of it
 * again by itself.
 */
const PATIENCE_BEATS = 2;
/** In beats: between two questions, twice as long each time. */
const LONGEST_PAUSE_BEATS = 64;
const ANSWER_MS = 2000;
/** So often an origin says that a transaction comes, before the log is read again as well. */
const TRUSTED_TIMES = 3;

interface Question {
  readonly expected: number;
  /** Where the log ended when the transaction was first missed: it may come before that. */
  readonly endSeq: number;
  nextAtMs: number;
  times: number;
  asking: boolean;
}

interface Answer {
  readonly message: string;
  readonly coming: boolean;
}

/**
 * What the log does not hold in order, is asked of its origin: it keeps its sealed messages until
 * every member has applied them (I3), and publishes them again. A transaction is missed when a
 * later one of its origin came without it, or when its origin says that it has published more than
 * the log holds. What nobody publishes again, the log may hold all the same: it is read a second
 * time.
 */
export class MissingTransactions {
  readonly #questions = new Map<string, Question>();
  /** How often in a row an origin said that there is more than the log holds. */
  readonly #claimed = new Map<string, { readonly expected: number; readonly times: number }>();
  /** Origins whose newest entry was looked at since the start. */
  readonly #recalled = new Set<string>();
  readonly #reading: SecondReading;
  #recalling = false;
  #retried = 0;

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {
    this.#reading = new SecondReading(scope, replica);
  }

  close(): void {
    this.#reading.close();
  }

  /** At every beat. Never waits. */
  look(): void {
    const { counters, health } = this.scope;
    if (!health.replicating) return;
    void this.#recall();
    this.#believeBeats();
    const waiting = health.waiting;
    let hurry = counters.retried !== this.#retried;
    this.#retried = counters.retried;
    for (const origin of this.#questions.keys()) {
      if (waiting.some((one) => one.origin === origin)) continue;
      this.#questions.delete(origin);
      hurry = true;
    }
    // Something has come that others may have waited for.
    if (hurry) for (const question of this.#questions.values()) question.nextAtMs = 0;
    for (const one of waiting) this.#consider(one);
  }

  /** Remembers in the database that something is missing. */
  #noteGap(gap: Gap): void {
    this.replica.tell('noteGap', gap);
  }

  /**
   * What was dropped before this process began, nothing in the database tells: the newest entry of
   * each origin does. One origin per beat.
   */
  async #recall(): Promise<void> {
    const { members, id, log, logger } = this.scope;
    const next = members.known.find((record) => record.id !== id && !this.#recalled.has(record.id));
    if (next === undefined || this.#recalling || !log.isTrusted) return;
    const origin = next.id;
    this.#recalling = true;
    try {
      this.#compareNewest(origin, await log.lastOf(origin));
      this.#recalled.add(origin);
    } catch (error) {
      // Asked again at the next beat. A log that was replaced is told by the watch.
      logger.debug({ origin, err: error }, 'The newest entry of a member was not read.');
    } finally {
      this.#recalling = false;
    }
  }

  #compareNewest(origin: string, newest: LogEntry | undefined): void {
    const { store } = this.scope;
    const { position, vector, partial } = store.state();
    // What comes after the position is decided when it is read.
    if (newest === undefined || newest.seq > position.seq || partial[origin] !== undefined) return;
    const [last] = summariesOf(newest).slice(-1);
    const applied = counterOf(vector, origin);
    if (last === undefined || last.origin !== origin || last.lastCounter <= applied) return;
    const reason = 'it was not applied here when the log held it, and so nothing after it was';
    this.#noteGap({ origin, expected: applied + 1, found: last.firstCounter, seq: newest.seq, reason });
  }

  /**
   * The end of an origin's transactions may be missing: nothing comes after it that would show it.
   */
  #believeBeats(): void {
    const { members, id } = this.scope;
    for (const { record, beat } of members.all) {
      if (record.id === id || beat === undefined) continue;
      const published = publishedOf(beat);
      const applied = counterOf(this.scope.progress.vector, record.id);
      if (published <= applied || !this.#hasRead(beat)) {
        this.#claimed.delete(record.id);
        continue;
      }
      const expected = applied + 1;
      const claimed = this.#claimed.get(record.id);
      const times = claimed?.expected === expected ? claimed.times + 1 : 1;
      this.#claimed.set(record.id, { expected, times });
      if (times < PATIENCE_BEATS) continue;
      const reason = `${record.id} has published up to ${record.id}:${published}, and the log does not hold it`;
      // Nothing that the log holds now is missing; what comes next may build on what is.
      const seq = this.scope.positions.passed + 1;
      this.#noteGap({ origin: record.id, expected, found: published, seq, reason });
    }
  }

  /** Everything that the log held when the origin said so has been dealt with here. */
  #hasRead({ generation, seq }: Beat): boolean {
    const { document, positions } = this.scope;
    return generation === document.generation && positions.passed >= seq;
  }

  #consider({ origin, expected }: Waiting): void {
    const { clock, limits, positions, health } = this.scope;
    const nowMs = clock.monotonicMs();
    let question = this.#questions.get(origin);
    if (question?.expected !== expected) {
      const nextAtMs = nowMs + PATIENCE_BEATS * limits.beatMs;
      question = { expected, endSeq: positions.end, nextAtMs, times: 0, asking: false };
      this.#questions.set(origin, question);
    }
    if (question.asking || nowMs < question.nextAtMs) return;
    // What holds the position up may be what is missing.
    if (positions.passed < question.endSeq && health.holding === undefined) return;
    question.nextAtMs =
      nowMs + Math.min(LONGEST_PAUSE_BEATS, PATIENCE_BEATS * 2 ** ++question.times) * limits.beatMs;
    void this.#ask(origin, question);
  }

  async #ask(origin: string, question: Question): Promise<void> {
    const { health, log } = this.scope;
    if (log.connection !== 'connected') return;
    question.asking = true;
    const { expected } = question;
    try {
      const { message, coming } = await this.#answer(origin, expected);
      // It may be in the log already, where this replica has not read it.
      if (coming && question.times <= TRUSTED_TIMES) return health.answered(origin, expected, message);
      if (this.#reading.found(origin, expected) === undefined)
        health.answered(origin, expected, `${sentence(message)} The log is read again for it.`);
      await this.#reading.read();
      const found = this.#reading.found(origin, expected);
      if (found === undefined) return;
      const absent = this.#reading.isAbsent(origin, expected);
      health.answered(origin, expected, `${sentence(message)} ${found}`, absent);
      this.scope.progress.moved();
      if (missingOf(this.scope).every((one) => one.origin !== origin)) this.#forget(origin);
    } finally {
      question.asking = false;
    }
  }

  /** What the log did not hold when another replica became the primary never comes. */
  #forget(origin: string): void {
    const { epochs, gaps } = this.scope.store.state();
    const epoch = newestEpoch({ epochs });
    if (!hasOtherPrimary(epoch, origin)) return;
    const over = gaps.filter((gap) => gap.origin === origin && gap.seq < epoch.seq);
    if (over.length > 0) this.replica.tell('forgetGaps', over);
  }

  /** Where the position is held up, what is published now would come behind that. */
  #answer(origin: string, expected: number): Promise<Answer> {
    const { holding } = this.scope.health;
    if (holding === undefined) return this.#request(origin, expected);
    const message = `Nothing that is published again would be read before entry ${holding.seq ?? 0}.`;
    return Promise.resolve({ message, coming: false });
  }

  /** What `status` says of it, and whether it is published again or may soon be. */
  async #request(origin: string, from: number): Promise<Answer> {
    const { bus, cluster } = this.scope;
    try {
      const subject = `${mailboxPrefix(cluster, origin)}.resend`;
      const reply = decodeControl(
        await bus.request(subject, encodeControl({ from }), { timeoutMs: ANSWER_MS }),
      );
      const ok = isRecord(reply) ? reply['ok'] : undefined;
      if (!isRecord(ok) || typeof ok['message'] !== 'string')
        return { message: `The answer of ${origin} cannot be read.`, coming: false };
      const { state, message } = ok;
      return { message, coming: state !== 'gone' && state !== 'refused' };
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      const message = `${origin} does not answer. Start it: it publishes again what it still keeps.`;
      return { message, coming: false };
    }
  }
}

/** None for what cannot be read. */
function summariesOf({ data }: LogEntry): readonly BatchSummary[] {
  try {
    return summarize(data);
  } catch (error) {
    if (error instanceof AntiphonError) return [];
    throw error;
  }
}

/** What a replica has of its own in the log, by its own account. */
function publishedOf({ id, vector, unpublished }: Beat): number {
  return counterOf(vector, id) - unpublished;
}
