import {
  AntiphonError,
  changeToJson,
  decodeCursor,
  formatTransactionId,
  markerToJson,
  type Publication,
  type PublicationEnd,
  type PublishedMark,
  type PublishSettings,
  SecondLooks,
  sentence,
  sleep,
  type Timer,
  toAntiphonError,
  type TraceContext,
  type TransactionId,
  type TransactionTrace,
} from '@antiphon/core';
import type { OpenPublisher, PublishingStatus } from '../state/publishing.js';
import type { Scope } from '../state/scope.js';
import { type CommittedChange, follow } from './changes.js';
import { PlaceCopy } from './place-copy.js';
import { PlaceJudge } from './place-judge.js';
import { PublishWindow } from './publish-window.js';

/** For so long a change may be unpublished until a standby publishes it. */
const TAKE_OVER_MS = 1000;
/** So that standbys on several replicas do not try at one moment. */
const TAKE_OVER_JITTER_MS = 500;
const RETRY_MS = 250;
const MAX_RETRY_MS = 2000;
/** A change of leaders or a lost connection costs a try or two, and is no news. */
const ALARM_AFTER_MS = 5000;
/** Far below what a stream keeps a change for, at least. */
const KEEP_PLACE_MS = 5000;
/** Of the headers of a trace. */
const TRACE_NAMES_BYTES = 40;
const WINDOW = { messages: 4096, bytes: 8 * 1024 * 1024 };
export const PUBLISHING_ALARM = 'publishing';

interface Problem {
  readonly message: string;
  readonly sinceMs: number;
  /** The stream did not take a change; else nothing was sent. */
  readonly ofPublishing: boolean;
}

class NotPublished extends AntiphonError {
  constructor({ code, message, context }: AntiphonError) {
    super(code, message, { context });
  }
}

export interface PublisherDeps {
  readonly scope: Scope;
  readonly settings: PublishSettings;
  readonly publication: Publication;
}

/**
 * Publishes the changes of the cluster to a stream of their own. The stream's newest message says
 * how far they are, and nothing else does: every message is sent with the number of the one that it
 * has to follow, so that of any number of publishers at one place only one goes on, and whoever
 * lost reads the end again (docs/decisions/0093).
 *
 * Who wrote the newest message goes on publishing. All others follow, and publish when a change
 * that they have has not come into the stream for a second.
 */
export class ChangePublisher implements OpenPublisher {
  readonly #ending = new AbortController();
  readonly #judge: PlaceJudge;
  readonly #looks = new SecondLooks();
  readonly #running: Promise<void>;
  #state: PublishingStatus['state'] = 'standby';
  #problem: Problem | undefined;
  readonly #copy: PlaceCopy;
  #keeping: Timer | undefined;
  #end: PublicationEnd = { created: '', seq: 0 };
  /** The entry of the log that is read next. */
  #readOn: number | undefined;
  #tenures = 0;
  /** Of the entry that is being published. */
  #traces: readonly TransactionTrace[] = [];
  #changes = 0;
  #tooLarge = 0;

  constructor(private readonly deps: PublisherDeps) {
    const { scope } = deps;
    this.#judge = new PlaceJudge(scope);
    this.#copy = new PlaceCopy(scope.registry, deps.publication.stream);
    this.#keepPlace();
    const onClosing = (): void => this.#ending.abort(scope.closing.reason);
    scope.closing.addEventListener('abort', onClosing, { once: true });
    if (scope.closing.aborted) onClosing();
    this.#running = this.#run();
  }

  status(): PublishingStatus {
    const { scope, settings, publication } = this.deps;
    const readOn = this.#readOn;
    return {
      stream: publication.stream,
      subject: settings.subject.text,
      state: scope.health.replicating ? this.#state : 'stopped',
      publishedSeq: this.#end.seq,
      ...(readOn !== undefined && { lagEntries: Math.max(0, scope.positions.end + 1 - readOn) }),
      ...(this.#problem && { problem: this.#problem.message }),
      changes: this.#changes,
      tooLarge: this.#tooLarge,
    };
  }

  /** Idempotent, never rejects. What was sent is answered first, within seconds. */
  async close(): Promise<void> {
    this.#ending.abort(new AntiphonError('CLOSED', 'The replica is closed. Open it again.'));
    this.#keeping?.cancel();
    await this.#running;
    this.deps.publication.close();
  }

  async #run(): Promise<void> {
    const { clock, health } = this.deps.scope;
    const { signal } = this.#ending;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const went = await this.#turn();
        failures = went ? 0 : failures + 1;
        if (went) continue;
      } catch (error) {
        if (signal.aborted) break;
        failures++;
        this.#state = 'stopped';
        this.#isInTheWay(toAntiphonError(error).message, error instanceof NotPublished);
      }
      const waitMs = Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** Math.min(10, failures - 1));
      await sleep(clock, waitMs, signal).catch(() => undefined);
    }
    this.#state = 'stopped';
    health.clearAlarm(PUBLISHING_ALARM);
  }

  /** From a look at the end of the stream to the next one. False: it could do nothing now. */
  async #turn(): Promise<boolean> {
    const { scope } = this.deps;
    const { health, clock } = scope;
    const { signal } = this.#ending;
    if (!health.replicating || health.holding !== undefined) {
      this.#state = 'stopped';
      this.#isInTheWay(health.obstacle ?? `The replica is ${health.state}.`);
      return false;
    }
    const before = this.#end.seq;
    const end = (this.#end = await this.#look());
    const isMine = end.last !== undefined && end.last.id.includes(`~${scope.instance}.`);
    if (!isMine) {
      this.#state = 'standby';
      if (end.seq !== before) {
        // Somebody publishes.
        this.#isWell();
        this.#readOn = end.last === undefined ? undefined : decodeCursor(end.last.place).seq;
        await sleep(clock, TAKE_OVER_MS, signal);
        return true;
      }
    }
    if (!(await this.#canGoOn(end))) return false;
    // Whether the stream takes anything, only a change that is published can tell.
    if (this.#problem?.ofPublishing === false) this.#isWell();
    await this.#publishFrom(end, isMine);
    return true;
  }

  /** Throws PLACE_LOST when nobody knows how far changes are published. */
  async #look(): Promise<PublicationEnd> {
    const end = await this.deps.publication.end(this.#ending.signal);
    if (end.last !== undefined || end.seq === 0) return end;
    const last = await this.#copy.of(end);
    if (last !== undefined) return { ...end, last };
    throw this.#placeLost(`Its newest message, ${end.seq}, is gone: it was deleted, or too old.`);
  }

  /** For the time when the stream may not hold it any more. */
  #keepPlace(): void {
    const { clock } = this.deps.scope;
    const { signal } = this.#ending;
    const again = (): void => {
      if (signal.aborted) return;
      // What fails now succeeds later, long before the newest change is too old.
      void this.#copy
        .keep(this.#end)
        .catch(() => undefined)
        .then(() => this.#keepPlace());
    };
    this.#keeping = clock.setTimer(KEEP_PLACE_MS, again);
  }

  /** Throws PLACE_LOST. */
  async #canGoOn({ last }: PublicationEnd): Promise<boolean> {
    if (last === undefined) return true;
    const verdict = await this.#judge.verdictOn(decodeCursor(last.place), this.#ending.signal);
    if (verdict.type === 'lost') throw this.#placeLost(verdict.why);
    if (verdict.type === 'ready') return true;
    this.#state = 'standby';
    const { waitsFor } = verdict;
    // Another one may be further.
    if (waitsFor !== undefined) this.#isInTheWay(`Publishing waits for ${waitsFor}`);
    return false;
  }

  async #publishFrom(end: PublicationEnd, isMine: boolean): Promise<void> {
    const { signal } = this.#ending;
    const stop = new AbortController();
    const window = new PublishWindow(WINDOW, () =>
      stop.abort(new AntiphonError('ABORTED', 'It begins again.')),
    );
    const tenure = new Tenure(this.deps, end, `${this.deps.scope.instance}.${++this.#tenures}`);
    if (isMine) this.#state = 'active';
    const found: { missed?: TransactionId } = {};
    try {
      const changes = await this.#follow(end, AbortSignal.any([signal, stop.signal]), found);
      for await (const change of changes) {
        if (this.#state !== 'active' && !(await this.#mayTakeOver(end))) return;
        await window.room();
        if (window.broken !== undefined) break;
        const trace = this.#traces.find(({ counter }) => counter === change.id.counter);
        tenure.publish(change, window, trace, (seq, last) => this.#published(seq, last));
        if (tenure.tooLarge) this.#tooLarge++;
      }
    } catch (error) {
      if (signal.aborted || !stop.signal.aborted) throw error;
    } finally {
      await window.drained();
    }
    const { broken } = window;
    if (broken?.type === 'failed') throw new NotPublished(broken.error);
    if (found.missed !== undefined && !this.#looks.misses(found.missed)) throw this.#notInLog(found.missed);
  }

  async #follow(
    { last }: PublicationEnd,
    signal: AbortSignal,
    found: { missed?: TransactionId },
  ): Promise<AsyncGenerator<CommittedChange, void, undefined>> {
    const { scope } = this.deps;
    const place = last && decodeCursor(last.place);
    const look = place && (await this.#looks.at(scope.log, place, signal));
    return follow(scope, {
      beginning: look?.place ?? place,
      ...(look && { again: look.order }),
      wanted: undefined,
      integers: 'bigint',
      signal,
      tooOld: 'PLACE_LOST',
      lost: (why) => this.#placeLost(why),
      began: ({ traces = [] }) => (this.#traces = traces),
      passed: (at) => {
        this.#looks.delivered(at.vector);
        this.#readOn = at.seq;
      },
      missed: (missed) => (found.missed = missed),
    });
  }

  /** A change is at hand that was not published: does nobody do it? */
  async #mayTakeOver(end: PublicationEnd): Promise<boolean> {
    const { clock } = this.deps.scope;
    const { signal } = this.#ending;
    await sleep(clock, TAKE_OVER_MS + clock.random() * TAKE_OVER_JITTER_MS, signal);
    const { seq } = await this.deps.publication.end(signal);
    if (seq !== end.seq) return false;
    this.#state = 'active';
    return true;
  }

  #published(seq: number, last: PublishedMark): void {
    this.#changes++;
    this.#end = { created: this.#end.created, seq, last };
    if (this.#problem !== undefined) this.#isWell();
  }

  #isWell(): void {
    this.#problem = undefined;
    this.deps.scope.health.clearAlarm(PUBLISHING_ALARM);
  }

  #isInTheWay(message: string, ofPublishing = false): void {
    const { health, clock } = this.deps.scope;
    const nowMs = clock.monotonicMs();
    this.#problem = { message, sinceMs: this.#problem?.sinceMs ?? nowMs, ofPublishing };
    if (nowMs - this.#problem.sinceMs < ALARM_AFTER_MS) return;
    health.alarm(PUBLISHING_ALARM, `This replica publishes no changes: ${sentence(message)}`);
  }

  #notInLog(missed: TransactionId): AntiphonError {
    const what = `transaction ${formatTransactionId(missed)}, which ${this.deps.scope.id} has, is not in the log any more`;
    return this.#placeLost(`The changes of ${what}, or cannot be read there.`);
  }

  #placeLost(why: string): AntiphonError {
    const { stream } = this.deps.publication;
    const message = `Changes cannot be published on at the end of the stream ${stream}. ${why} Delete the stream, and they are published again from where the log begins. See docs/publishing.md.`;
    return new AntiphonError('PLACE_LOST', message, { context: { stream } });
  }
}

/** What one publisher sends from one look at the stream's end on: a chain. */
class Tenure {
  /** Of the change that was published last. */
  tooLarge = false;
  #seq: number;
  #id: string | undefined;
  #transaction: string | undefined;
  #index: number;

  /** `name`: no other attempt has it. */
  constructor(
    private readonly deps: PublisherDeps,
    end: PublicationEnd,
    private readonly name: string,
  ) {
    this.#seq = end.seq;
    const last = end.last && markOf(end.last);
    [this.#transaction, this.#index] = [last?.transaction, last?.index ?? -1];
  }

  publish(
    change: CommittedChange,
    window: PublishWindow,
    trace: TraceContext | undefined,
    onStored: (seq: number, mark: PublishedMark) => void,
  ): void {
    const { settings, publication } = this.deps;
    const transaction = formatTransactionId(change.id);
    const index = transaction === this.#transaction ? this.#index + 1 : 0;
    const subject = settings.subject.of({ table: change.table, op: change.op, origin: change.id.origin });
    const id = `${transaction}/${index}~${this.name}`;
    const headerBytes = id.length + change.cursor.length;
    const data = this.#encode(change, index, headerBytes);
    const traceBytes =
      TRACE_NAMES_BYTES + (trace?.traceparent.length ?? 0) + (trace?.tracestate?.length ?? 0);
    // No row is left out because somebody traces.
    const hasRoom = data.length + 2 * (headerBytes + traceBytes) <= publication.maxMessageBytes;
    const [expectedSeq, expectedId] = [this.#seq, this.#id];
    window.sent(data.length);
    [this.#seq, this.#id, this.#transaction, this.#index] = [expectedSeq + 1, id, transaction, index];
    const mark = { id, place: change.cursor };
    const message = { ...mark, subject, data, expectedSeq, expectedId, trace: hasRoom ? trace : undefined };
    publication.publish(message, (result) => {
      if (result.type === 'stored' && result.seq === expectedSeq + 1) onStored(result.seq, mark);
      window.settled(data.length, result, expectedSeq);
    });
  }

  #encode(change: CommittedChange, index: number, headerBytes: number): Uint8Array {
    const limit = this.deps.publication.maxMessageBytes - 2 * headerBytes;
    const whole = changeToJson(change, index);
    this.tooLarge = whole.length > limit;
    if (!this.tooLarge) return whole;
    const marker = markerToJson(change, index, { bytes: whole.length, withKey: true });
    return marker.length <= limit
      ? marker
      : markerToJson(change, index, { bytes: whole.length, withKey: false });
  }
}

function markOf({ id }: PublishedMark): { readonly transaction: string; readonly index: number } | undefined {
  const [, transaction, index] = /^(.+)\/(\d+)~/.exec(id) ?? [];
  return transaction === undefined ? undefined : { transaction, index: Number(index) };
}
