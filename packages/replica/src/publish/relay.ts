import type { ActorRef, Behaviour, Context, NoReply, Received } from '@antiphon/actor';
import {
  AntiphonError,
  type AppendRequest,
  type AppendResult,
  counterOf,
  cutMessage,
  type LogConnection,
  type SealedMessage,
  type Timer,
  toAntiphonError,
  sentence,
  withEpoch,
} from '@antiphon/core';
import { retryDelayMs } from '../wait/deadline.js';
import { assertSameLog } from '../log/log-check.js';
import { assertNobodyServed } from '../deliver/own-recovery.js';
import { appendsAlone } from '../state/authority.js';
import type { FeedProtocol, RelayProtocol, ResendAnswer } from '../state/protocols.js';
import { barrierEntry } from '../state/barrier-entry.js';
import { alarmPublish, endPublishAlarm } from './publish-alarm.js';
import { Resend } from './resend.js';
import type { Scope } from '../state/scope.js';
import { isBefore, SendWindow, type Sent, type SentMark } from './send-window.js';
import { groupOf } from '../state/certification.js';
import { type Sending, sending } from '../tracing/sending.js';

const OWN_PAST_POLL_MS = 20;
/** How often the log's end is looked at again while the feed has not come there. */
const READ_AGAIN_MS = 1000;
/**
 * Looks at the log's end, one per beat, until what was acknowledged and never read back counts as
 * lost.
 */
const UNSEEN_LOOKS = 4;

/** No later try goes better. */
const STALLING: ReadonlySet<string> = new Set(['LOG_REPLACED', 'STORE_CORRUPT', 'DUPLICATE_REPLICA']);

type AskedBarrier = Received<RelayProtocol, 'barrier'>;

interface Settled {
  readonly number: number;
  readonly result: AppendResult;
  /** What it was appended for. */
  readonly barriers: readonly AskedBarrier[];
}

/**
 * Sealed transactions to the log, in order, many in flight. On the first message that the log
 * refused or did not answer, everything from there on is sent again (go-back-N), since the log may
 * hold later ones without earlier ones.
 *
 * Each attempt has ids of its own: would a repeated message keep its id, the log would drop the
 * repetition of one that it stored ahead of a lost one, and receivers, who dropped it then as out
 * of order, would never see it.
 *
 * A replica that appends alone chains its messages by the log's last sequence: nothing of an
 * attempt is stored after a gap. Whatever else is in the log by then (its own messages without an
 * answer, somebody else's), the feed reads first, and the chain goes on behind it.
 */
export class Relay implements Behaviour<RelayProtocol> {
  readonly receive = {
    wake: (_: undefined, context: Context<RelayProtocol>): Promise<void> | void => {
      if (this.scope.intervalMs === 0) return this.#pump(context);
    },
    flush: (_: undefined, context: Context<RelayProtocol>): Promise<void> => this.#pump(context),
    settled: (_: undefined, context: Context<RelayProtocol>): Promise<void> => this.#takeResults(context),
    resume: (_: undefined, context: Context<RelayProtocol>): Promise<void> => this.#resume(context),
    resend: (from: number, context: Context<RelayProtocol>): Promise<ResendAnswer> =>
      this.#askedAgain(from, context),
    barrier: (_: undefined, context: Context<RelayProtocol>, message: AskedBarrier): NoReply => {
      this.#barriers.push(message);
      this.#sendBarriers(context);
      return message.defer();
    },
  };
  readonly #window: SendWindow;
  readonly #chained: boolean;
  /** Read from the outbox and not sent yet. */
  #page: readonly SealedMessage[] = [];
  #cursor: SentMark;
  #results: Settled[] = [];
  #attempt = 0;
  #resumed = false;
  /** Tries since the last success. */
  #failures = 0;
  #sending = false;
  #retry: Timer | undefined;
  /** What the log's last sequence will be once everything in flight is stored; for the chain. */
  #chainSeq = 0;
  /** The feed is reading up to this entry, and the chain goes on behind it. */
  #awaitedSeq = Infinity;
  #stopListening: (() => void)[] = [];
  /** Where to go back to, when a failed attempt ended inside of a big transaction. */
  #acknowledgedMark: SentMark | undefined;
  /** What somebody misses. */
  readonly #resend: Resend;
  /** It is begun with when nothing is in flight: what is voided would only be sent twice. */
  #goesBack = false;
  /**
   * Looks at the log's end in a row that found everything acknowledged, and not all of it read
   * back.
   */
  #unseenLooks = 0;
  /** Asked for, and not sent yet. */
  #barriers: AskedBarrier[] = [];

  constructor(
    private readonly scope: Scope,
    private readonly feed: ActorRef<FeedProtocol>,
  ) {
    const { limits, store, id, clock, sync } = scope;
    const certified = sync?.certification !== undefined;
    this.#resend = new Resend({ id, store, clock, pageBytes: limits.pageBytes, certified });
    this.#window = new SendWindow({ messages: limits.windowMessages, bytes: limits.windowBytes });
    this.#chained = appendsAlone(scope);
    this.#cursor = { counter: store.state().publishedCounter, part: 0, whole: true };
  }

  started(context: Context<RelayProtocol>): void {
    const { log, positions, intervalMs, progress } = this.scope;
    this.#stopListening = [
      log.onConnection((connection: LogConnection) => {
        if (connection === 'connected') context.self.tell('resume');
      }),
      positions.onEnd((lastSeq) => this.#lookPast(lastSeq, context)),
      progress.onMove(() => {
        if (positions.passed < this.#awaitedSeq) return;
        this.#awaitedSeq = Infinity;
        context.self.tell('resume');
      }),
    ];
    if (intervalMs > 0) context.every(intervalMs, 'flush', undefined);
    context.self.tell('resume');
  }

  stopped(): void {
    for (const stop of this.#stopListening) stop();
  }

  /** The log's end was seen, and nothing is in flight: is it where it should be? */
  #lookPast(lastSeq: number, context: Context<RelayProtocol>): void {
    if (!this.#sending || this.#window.inFlight > 0 || this.#page.length > 0) return;
    if (this.#chained) {
      // Somebody else's entry stands after ours: an idle primary, which reads nothing, would never
      // come past it.
      if (lastSeq <= this.#chainSeq) return;
    } else {
      const { positions, sync, store } = this.scope;
      const { lastCounter, publishedCounter } = store.state();
      const isUnseen =
        this.#cursor.counter >= lastCounter && publishedCounter < lastCounter && positions.passed >= lastSeq;
      this.#unseenLooks = isUnseen && sync?.standing().idle !== false ? this.#unseenLooks + 1 : 0;
      if (this.#unseenLooks < UNSEEN_LOOKS) return;
      // The log acknowledged it, and does not hold it: a change of leaders, or a cut.
      this.#unseenLooks = 0;
      this.#acknowledgedMark = undefined;
    }
    this.#sending = false;
    context.self.tell('resume');
  }

  /** Somebody misses a transaction that counts as published here. */
  async #askedAgain(from: number, context: Context<RelayProtocol>): Promise<ResendAnswer> {
    const { health, id } = this.scope;
    if (!health.replicating) {
      const why = health.stalled?.message ?? health.state;
      return { state: 'stopped', message: `${id} publishes nothing now: ${sentence(why)}` };
    }
    const answer = await this.#resend.ask(from);
    if (answer.state === 'sending') {
      this.scope.logger.warn({ from }, answer.message);
      this.#goesBack = true;
      await this.#goBack(context);
    }
    return answer;
  }

  async #goBack(context: Context<RelayProtocol>): Promise<void> {
    const { cursor } = this.#resend;
    if (!this.#goesBack || !this.#sending || this.#window.inFlight > 0 || cursor === undefined) return;
    this.#goesBack = false;
    this.#page = [];
    this.#cursor = cursor;
    this.#attempt = this.scope.sent.nextAttempt();
    await this.#pump(context);
  }

  /** Sends what is there, as far as the window allows. */
  async #pump(context: Context<RelayProtocol>): Promise<void> {
    this.#sendBarriers(context);
    while (this.#maySend) {
      try {
        if (this.#page.length === 0) this.#page = await this.#read();
        if (this.#page.length === 0) break;
        const { maxMessageBytes } = this.scope.log;
        const messages = this.#pack(maxMessageBytes);
        this.#send(messages, maxMessageBytes, context);
      } catch (thrown) {
        // What no cutting makes small enough, or cannot be read now, waits, and what comes after
        // it.
        if (!(thrown instanceof AntiphonError)) throw thrown;
        return this.#fail(thrown, context);
      }
    }
  }

  get #maySend(): boolean {
    return this.#sending && !this.#goesBack && this.#window.hasRoom && this.scope.health.replicating;
  }

  /** One entry for all of them, in front of what is not sent yet: nothing of ours is behind it. */
  #sendBarriers(context: Context<RelayProtocol>): void {
    const barriers = this.#barriers.filter(({ wanted }) => wanted);
    if (barriers.length > 0 && !this.#maySend) return;
    this.#barriers = [];
    if (barriers.length === 0) return;
    // Of the process, not of this relay: the log would take a repeated id for a repetition.
    const entry = barrierEntry(this.scope, `.${this.scope.sent.nextAttempt()}`);
    this.#append(entry, { mark: this.#cursor }, context, barriers);
  }

  /**
   * The next page of the outbox. What is published is passed over: parts of a big transaction stay
   * there until it is pruned.
   */
  async #read(): Promise<readonly SealedMessage[]> {
    const { store, sync } = this.scope;
    if (this.#resend.cursor !== undefined) {
      const again = this.#resend.within(await this.#pageAfter(this.#cursor));
      if (again.length > 0) return again;
      // What comes behind it may be in flight already.
      const unsent = this.#unsent();
      if (isBefore(this.#cursor, unsent)) this.#cursor = unsent;
    }
    // What went through the log before it was committed lies in the outbox too, is published, and
    // must never be sent with something else.
    const { publishedCounter } = store.state();
    if (sync !== undefined && publishedCounter > this.#cursor.counter) {
      this.#cursor = { counter: publishedCounter, part: 0, whole: true };
    }
    const { counter, whole } = this.#cursor;
    return whole && counter >= store.state().lastCounter ? [] : this.#pageAfter(this.#cursor);
  }

  async #pageAfter(mark: SentMark): Promise<readonly SealedMessage[]> {
    const { store, limits } = this.scope;
    const { counter, whole } = mark;
    for (let { part } = mark; ;) {
      const page = await store.sealed({ counter, part }, limits.pageBytes);
      const fresh = whole ? page.filter(({ lastCounter }) => lastCounter > counter) : page;
      const last = page.at(-1);
      if (fresh.length > 0 || last === undefined) return fresh;
      part = last.part;
    }
  }

  /** Where what the log has not acknowledged begins. */
  #unsent(): SentMark {
    const { publishedCounter } = this.scope.store.state();
    const mark = this.#acknowledgedMark;
    if (mark !== undefined && mark.counter >= publishedCounter) return mark;
    return { counter: publishedCounter, part: 0, whole: true };
  }

  /**
   * As many messages back to back as fit; one that is larger, and a synchronous group, goes alone.
   */
  #pack(maxMessageBytes: number): readonly SealedMessage[] {
    const { limits, sync } = this.scope;
    const limit = Math.min(limits.packBytes, maxMessageBytes);
    let bytes = 0;
    let count = 0;
    for (const { data } of this.#page) {
      const isAlone = sync !== undefined && groupOf(data) !== undefined;
      if (count > 0 && (isAlone || bytes + data.length > limit)) break;
      bytes += data.length;
      count++;
      if (isAlone) break;
    }
    const packed = this.#page.slice(0, count);
    this.#page = this.#page.slice(count);
    return packed;
  }

  /**
   * What the log does not take at once goes in pieces, of which only the last counts: going back
   * means all of them again.
   */
  #send(messages: readonly SealedMessage[], maxMessageBytes: number, context: Context<RelayProtocol>): void {
    const first = messages[0];
    const last = messages.at(-1);
    if (first === undefined || last === undefined) return;
    const { id, instance, counters } = this.scope;
    const data = this.#inEpoch(messages.map((message) => message.data));
    const mark = { counter: last.lastCounter, part: last.part, whole: last.last };
    const attempt = `${id}:${first.firstCounter}.${first.part}-${last.lastCounter}.${last.part}~${instance}${this.#attempt}`;
    const before = this.#cursor;
    const pieces = data.length > maxMessageBytes ? cutMessage(data, maxMessageBytes) : [data];
    this.#cursor = mark;
    // What is cut is in the log with its last piece.
    const spans = last.last ? this.#beginSpans(first.firstCounter, last.lastCounter) : undefined;
    pieces.forEach((piece, index) => {
      const isLast = index === pieces.length - 1;
      const entry = { origin: id, id: isLast ? attempt : `${attempt}+${index}`, data: piece };
      counters.publishedMessages++;
      counters.publishedBytes += piece.length;
      if (!this.#chained) this.scope.sent.add(piece);
      if (isLast) this.#append(entry, { mark, spans }, context);
      else this.#append(entry, { mark: before, isPiece: true }, context);
    });
  }

  #beginSpans(firstCounter: number, lastCounter: number): Sending | undefined {
    const { traces } = this.scope;
    const writes = traces.among(firstCounter, lastCounter);
    const spans = writes.length === 0 ? undefined : sending(this.scope, writes);
    return (
      spans && {
        traces: spans.traces,
        settled: (result) => {
          if (result.type === 'stored') traces.logged(writes);
          spans.settled(result);
        },
      }
    );
  }

  /** Back to back. What is kept of the epoch before counts only in the one of now. */
  #inEpoch(messages: readonly Uint8Array[]): Uint8Array {
    const { authority } = this.scope;
    const { epoch } = authority.current();
    const current = authority.byTerm ? messages.map((data) => withEpoch(data, epoch)) : messages;
    const [only] = current;
    return current.length === 1 && only !== undefined ? only : Buffer.concat(current);
  }

  #append(
    entry: Pick<AppendRequest, 'origin' | 'id' | 'data'>,
    { spans, ...place }: Pick<Sent, 'mark' | 'isPiece'> & { readonly spans?: Sending | undefined },
    context: Context<RelayProtocol>,
    barriers: readonly AskedBarrier[] = [],
  ): void {
    const number = this.#window.push({ ...place, bytes: entry.data.length, attempt: entry.id });
    const expected = this.#chained ? { expectedLastSeq: this.#chainSeq } : {};
    const request = { ...entry, ...expected, ...(spans && { traces: spans.traces }) };
    this.#chainSeq++;
    this.scope.log.append(request, (result) => {
      spans?.settled(result);
      this.#results.push({ number, result, barriers });
      // One message for all results that come in before it is handled.
      if (this.#results.length === 1) context.self.tell('settled');
    });
  }

  async #takeResults(context: Context<RelayProtocol>): Promise<void> {
    const results = this.#results;
    this.#results = [];
    // The feed finds out what became of it.
    if (this.#chained && !this.#sending) return answerBarriers(results);
    let failure: AntiphonError | undefined;
    for (const { number, result } of results) {
      if (result.type === 'stored') {
        if (this.#window.acknowledge(number, result.seq) === 'regressed') return this.#regressed(result.seq);
      } else if (this.#window.isCurrent(number)) failure ??= result.error;
    }
    this.#publish();
    answerBarriers(results);
    if (failure !== undefined) this.#fail(failure, context);
    else if (this.#window.inFlight === 0 && this.#page.length === 0) this.#failures = 0;
    await this.#goBack(context);
    await this.#pump(context);
  }

  /** Tells the store how far the log has our transactions. */
  #publish(): void {
    const acknowledged = this.#window.takeAcknowledged();
    if (acknowledged === undefined) return;
    const { store, document, progress, health, authority } = this.scope;
    this.#failures = 0;
    endPublishAlarm(health);
    // What was in flight before says nothing about what is to be sent again.
    if (!this.#goesBack) this.#resend.acknowledged(acknowledged.counter);
    const { mark } = acknowledged;
    // What is sent again was acknowledged before.
    if (this.#acknowledgedMark === undefined || isBefore(this.#acknowledgedMark, mark))
      this.#acknowledgedMark = mark;
    // A chain has nobody else's entry in it; else the feed moves the position, when it has come
    // there.
    if (!this.#chained) return;
    // Deposed in the middle of a big transaction, it reads on from the position: there it has to
    // meet the first part, or it would not know that the log has all of them.
    if (!acknowledged.endsWhole && authority.byTerm) return;
    const counter = Math.max(store.state().publishedCounter, acknowledged.counter);
    const { seq, attempt } = acknowledged;
    const entry = { seq, ...(attempt === undefined ? {} : { attempt }) };
    store.markPublished(counter, { generation: document.generation, seq, entry });
    progress.moved();
  }

  #fail(error: AntiphonError, context: Context<RelayProtocol>): void {
    const { clock, logger, health } = this.scope;
    this.#sending = false;
    this.#retry?.cancel();
    // Its term has ended, not what it was doing.
    if (context.signal.aborted) return;
    if (STALLING.has(error.code)) return health.stall(error);
    // What NATS denies is told by itself, once, and is an alarm for as long as it lasts.
    if (error.code !== 'ACCESS_DENIED') {
      if (this.#failures === 0)
        logger.info({ code: error.code }, `Publishing waits: ${sentence(error.message)}`);
      alarmPublish(health, this.#failures, error);
    }
    this.#retry = context.after(retryDelayMs(this.#failures++, clock), 'resume', undefined);
  }

  /**
   * Checks that the log is still the same, goes back to the first message without an answer, and
   * sends on.
   */
  async #resume(context: Context<RelayProtocol>): Promise<void> {
    if (this.#sending || !this.scope.health.replicating) return;
    this.#retry?.cancel();
    const { sent, authority, log, document, positions, progress, health, sync } = this.scope;
    this.#awaitedSeq = Infinity;
    if (!this.#chained && this.#waitsForRecovery(context)) return;
    const knownSeq = Math.max(this.#window.highestSeq, positions.passed);
    try {
      const identity = await log.identity(context.signal);
      assertSameLog(identity, document.generation, knownSeq);
      if (this.#resumed) await assertNobodyServed(this.scope, knownSeq, context.signal);
      if (this.#chained && this.#waitsForFeed(identity.lastSeq, context)) return;
    } catch (thrown) {
      const error = toAntiphonError(thrown);
      if (error.code !== 'INTERNAL') return this.#fail(error, context);
      throw thrown;
    }
    this.#window.clear();
    answerBarriers(this.#results);
    this.#results = [];
    this.#page = [];
    this.#resend.restart();
    this.#goesBack = false;
    this.#cursor = this.#resend.cursor ?? this.#unsent();
    this.#attempt = sent.nextAttempt();
    this.#resumed = true;
    this.#sending = true;
    // Synchronous writes are not in the outbox: their committer finds out, where there are any.
    if (progress.unpublished === 0 && (sync === undefined || !authority.current().mayWrite))
      endPublishAlarm(health);
    await this.#pump(context);
  }

  /** What the log has of ours and this database has not comes first. */
  #waitsForRecovery(context: Context<RelayProtocol>): boolean {
    const { progress, recoverOwnUpTo, id } = this.scope;
    if (counterOf(progress.vector, id) >= recoverOwnUpTo) return false;
    this.#retry = context.after(OWN_PAST_POLL_MS, 'resume', undefined);
    return true;
  }

  /**
   * What the log holds beyond the chain counts or not as for every replica: the feed takes it
   * first.
   */
  #waitsForFeed(lastSeq: number, context: Context<RelayProtocol>): boolean {
    const { positions } = this.scope;
    if (positions.passed < lastSeq) {
      this.feed.tell('readTo', lastSeq);
      this.#awaitedSeq = lastSeq;
      this.#retry = context.after(READ_AGAIN_MS, 'resume', undefined);
      return true;
    }
    if (this.#waitsForRecovery(context)) return true;
    this.#chainSeq = positions.passed;
    return false;
  }

  #regressed(seq: number): void {
    this.#sending = false;
    const { health, cluster, id } = this.scope;
    health.stall(
      new AntiphonError(
        'LOG_REPLACED',
        `The log stored a message under ${seq}, a sequence number already in use: the stream was truncated or recreated. ` +
          'What was not acknowledged stays in the outbox. Find out who did it, and follow docs/lost-log.md.',
        { context: { cluster, replica: id, seq } },
      ),
    );
  }
}

function answerBarriers(results: readonly Settled[]): void {
  for (const { result, barriers } of results) {
    for (const barrier of barriers) {
      if (result.type === 'stored') barrier.reply(result.seq);
      else barrier.reject(result.error);
    }
  }
}
