import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError, type LogEntry } from '@antiphon/core';
import type { Msg } from 'nats';
import type { ConnectionWatch } from '../connection/connection-watch.js';
import type { Link } from '../connection/link.js';
import type { ProblemReporter } from '../connection/problem-reporter.js';
import { toPortError } from '../jetstream/api-error.js';
import type { JetStreamApi } from '../jetstream/api.js';
import { isUnserved } from '../jetstream/unanswered.js';
import { streamName } from '../subjects.js';
import { Acknowledger } from './acknowledger.js';
import { setUpDurable, setUpEphemeral } from './consumer-setup.js';
import { ackPrefix, readDelivery } from './delivery.js';
import { IDENTITY_SEQ } from './identity-record.js';
import type { LogGuard, StreamView } from './log-guard.js';
import type { LogSettings } from './log-options.js';
import { OriginNames } from './origin-names.js';
import { PullFlow } from './pull-flow.js';
import { tracesOf } from './trace-lines.js';

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 500;
/**
 * Between two set-ups: two processes that run under one id would else take the consumer from each
 * other all the time.
 */
const SET_UP_INTERVAL_MS = 200;
/** A consumer of several servers, one of which is down, delivers nothing for seconds. */
const LONGEST_PATIENCE_MS = 10_000;
const ATTEMPT_TIMEOUT_MS = 2000;
/** Then a durable consumer is made anew: an election among its servers takes a few seconds. */
const UNSERVED_SET_UPS = 3;
const FAREWELL_TIMEOUT_MS = 500;
/** What a consumer with `headers_only` gives in place of the content. */
const SIZE_HEADER = 'Nats-Msg-Size';
const TOLD_ELSEWHERE = new Set(['LOG_UNAVAILABLE', 'ACCESS_DENIED', 'ABORTED']);

export interface FeedDeps {
  readonly link: Link;
  readonly watch: ConnectionWatch;
  readonly problems: ProblemReporter;
  readonly api: JetStreamApi;
  readonly guard: LogGuard;
  readonly cluster: string;
  readonly settings: LogSettings;
  readonly largestMessageBytes: number;
  readonly generation: string;
  readonly durable: string | undefined;
  /** Entries tell their traces. */
  readonly traced: boolean;
}

export interface FeedSink {
  /** What was pushed and not taken yet: no more is asked for than there is room for. */
  readonly queue: { readonly bytes: number; readonly length: number };
  push(entry: LogEntry): void;
  /** Called at most once, and nothing is pushed after it. */
  failed(error: AntiphonError): void;
}

/**
 * Pushes the log's entries in order, each once, whatever happens to the connection, the server and
 * the consumer. Every doubt (a gap, silence, a consumer that is gone) has the same answer: check
 * the log's identity, set the consumer up again right after the last entry that was received, go
 * on.
 */
export class EntryFeed {
  readonly #acks: Acknowledger;
  readonly #origins = new OriginNames();
  readonly #closing = new AbortController();
  readonly #stops: (() => void)[] = [];
  readonly #stream: string;
  #flow: PullFlow | undefined;
  #consumer: string | undefined;
  /** Of the ack subjects of the present consumer. */
  #prefix: string | undefined;
  /** The number of the next entry to be received. */
  #next: number;
  /** When an entry came last, or was first asked for. */
  #movedMs = Number.NEGATIVE_INFINITY;
  /** So long nothing may come although there is something: longer each time, until it comes. */
  #patienceMs: number;
  /** Where and when the consumer was set up last. Twice at the same entry: is it there at all? */
  #openedAt = 0;
  #openedMs = Number.NEGATIVE_INFINITY;
  /** The entry that the stream itself has without content. */
  #emptyAt = 0;
  /** Set-ups of the durable consumer in a row that nobody could do. */
  #unserved = 0;
  #recovering = false;
  #ended = false;

  private constructor(
    private readonly deps: FeedDeps,
    private readonly sink: FeedSink,
    fromSeq: number,
  ) {
    // The identity record is passed over; it counts as read.
    this.#next = Math.max(fromSeq, IDENTITY_SEQ + 1);
    this.#acks = new Acknowledger(deps.link);
    this.#patienceMs = deps.settings.checkIntervalMs;
    this.#stream = streamName(deps.cluster);
  }

  /** @throws AntiphonError LOG_REPLACED, LOG_UNAVAILABLE, LOG_REFUSED */
  static async open(deps: FeedDeps, sink: FeedSink, fromSeq: number): Promise<EntryFeed> {
    const feed = new EntryFeed(deps, sink, fromSeq);
    await feed.#begin();
    return feed;
  }

  /** Entries are asked for. */
  get flowing(): boolean {
    return this.#flow !== undefined;
  }

  /** Call it when the queue got shorter. */
  refill(): void {
    this.#flow?.refill();
  }

  ack(seq: number): void {
    if (this.deps.durable !== undefined && !this.#ended) this.#acks.ack(seq);
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const reachable = this.deps.watch.state === 'connected';
    if (reachable) this.#acks.flush();
    this.#end();
    if (reachable && this.deps.durable === undefined) await this.#forgetConsumer();
  }

  async #begin(): Promise<void> {
    const { guard, watch, cluster } = this.deps;
    try {
      do await this.#openFlow().catch((error: unknown) => this.#throwUnlessUnserved(error));
      while (this.#flow === undefined && !this.#ended);
    } catch (error) {
      this.#end();
      throw toPortError(error, { cluster, stream: this.#stream });
    }
    const stopGuard = guard.on((event) => {
      if (event.type === 'replaced') this.#fail(event.error);
      else this.#compare(event.view);
    });
    const stopWatch = watch.on((state) => {
      if (state === 'disconnected') this.#recover();
      else if (state === 'closed')
        this.#fail(new AntiphonError('CLOSED', 'The connection is closed. Connect again.'));
    });
    this.#stops.push(stopGuard, stopWatch);
    if (guard.replaced !== undefined) this.#fail(guard.replaced);
    else if (watch.state !== 'connected') this.#recover();
  }

  /** It is to be tried again. */
  #throwUnlessUnserved(error: unknown): void {
    if (this.#unserved === 0) throw error;
  }

  #receive(flow: PullFlow, message: Msg): void {
    if (flow !== this.#flow) return;
    const reply = message.reply ?? '';
    const prefix = this.#prefix ?? ackPrefix(reply);
    const delivery =
      prefix !== undefined && reply.startsWith(prefix) ? readDelivery(reply, prefix) : undefined;
    // Not from our consumer, or a repetition.
    if (prefix === undefined || delivery === undefined || delivery.seq < this.#next) return;
    if (delivery.seq > this.#next) return this.#recover();
    if (isWithoutContent(message) && this.#emptyAt !== delivery.seq) {
      this.deps.problems.report(this.#withoutContent());
      return this.#recover();
    }
    if (this.#prefix === undefined) this.#acks.begin(prefix, delivery);
    this.#prefix = prefix;
    this.#next = delivery.seq + 1;
    this.#movedMs = performance.now();
    this.#patienceMs = this.deps.settings.checkIntervalMs;
    this.deps.guard.observe(delivery.seq);
    this.#acks.delivered(delivery.seq);
    const origin = this.#origins.of(message.subject);
    const entry = { seq: delivery.seq, origin, data: message.data, storedAtMs: delivery.storedAtMs };
    const traces = this.deps.traced ? tracesOf(message) : [];
    this.sink.push(traces.length === 0 ? entry : { ...entry, traces });
  }

  /** The guard has looked at the stream: is what comes here in accordance with it? */
  #compare({ firstSeq, lastSeq }: StreamView): void {
    const flow = this.#flow;
    if (flow === undefined) return;
    // Others look as well, at any moment: a look says nothing of how long an entry is on its way.
    const idle = performance.now() - this.#movedMs >= this.#patienceMs;
    const stuck = idle && flow.waiting && lastSeq >= this.#next;
    if (stuck) this.#patienceMs = Math.min(2 * this.#patienceMs, LONGEST_PATIENCE_MS);
    if (stuck || flow.silent || firstSeq > this.#next) this.#recover();
  }

  /**
   * Starts again after the last entry that was received. Returns at once; once under way it goes on
   * until it works.
   */
  #recover(): void {
    this.#dropFlow();
    if (this.#recovering || this.#ended) return;
    this.#recovering = true;
    void this.#recoverUntilOpen().finally(() => {
      this.#recovering = false;
      // Lost again within the last step.
      if (this.#flow === undefined && !this.#ended) this.#recover();
    });
  }

  async #recoverUntilOpen(): Promise<void> {
    const { watch, cluster, problems } = this.deps;
    await this.#pause(this.#openedMs + SET_UP_INTERVAL_MS - performance.now());
    for (let retryMs = FIRST_RETRY_MS; !this.#ended; retryMs = Math.min(2 * retryMs, LONGEST_RETRY_MS)) {
      await watch.settled(this.#closing.signal);
      if (this.#ended) return;
      try {
        return await this.#openFlow();
      } catch (thrown) {
        const error = toPortError(thrown, { cluster, stream: this.#stream });
        if (error.code === 'LOG_REPLACED') return this.#fail(error);
        // What NATS denies is told by itself, once.
        if (!TOLD_ELSEWHERE.has(error.code)) problems.report(error);
      }
      await this.#pause(retryMs);
    }
  }

  async #pause(waitMs: number): Promise<void> {
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }

  async #openFlow(): Promise<void> {
    const { api, guard, durable } = this.deps;
    const options = { signal: this.#closing.signal, timeoutMs: ATTEMPT_TIMEOUT_MS };
    const unserved = this.#unserved;
    this.#unserved = 0;
    this.#dropFlow();
    const view = await guard.check(options);
    this.#assertReadable(view);
    const stuck = this.#openedAt === this.#next && this.#next <= view.lastSeq;
    if (stuck) {
      const stored = await api.getMessage(this.#stream, this.#next, options);
      if (stored === undefined)
        throw this.#replaced(`Entry ${this.#next} was removed from the stream ${this.#stream}.`);
      if (stored.data.length === 0) this.#emptyAt = this.#next;
    }
    this.#openedAt = this.#next;
    this.#openedMs = performance.now();
    if (durable !== undefined) {
      const afresh = unserved >= UNSERVED_SET_UPS;
      try {
        await setUpDurable(api, this.#stream, durable, this.#next, { ...options, afresh });
      } catch (error) {
        // The stream has just answered.
        if (isUnserved(error) && !afresh) this.#unserved = unserved + 1;
        throw error;
      }
      this.#consumer = durable;
    } else {
      await this.#forgetConsumer();
      this.#consumer = await setUpEphemeral(api, this.#stream, this.#next, options);
    }
    if (this.#ended) return;
    this.#startFlow(this.#consumer);
  }

  #startFlow(consumer: string): void {
    const { link, problems, settings, largestMessageBytes } = this.deps;
    const { maxReadAheadBytes: maxBytes, maxReadAheadEntries: maxEntries } = settings;
    const limits = { maxBytes, maxEntries, largestMessageBytes, queue: this.sink.queue };
    const flow: PullFlow = new PullFlow(
      { link, problems, stream: this.#stream, consumer, ...limits },
      {
        message: (message) => this.#receive(flow, message),
        // Told after everything that it delivered: what is missing then was lost on the way, and
        // may be the last one.
        delivered: (lastSeq) => {
          if (flow === this.#flow && lastSeq >= this.#next) this.#recover();
        },
        broken: () => {
          if (flow === this.#flow) this.#recover();
        },
      },
    );
    this.#flow = flow;
    this.#movedMs = performance.now();
    flow.refill();
  }

  /** @throws AntiphonError LOG_REPLACED */
  #assertReadable({ generation, firstSeq, lastSeq }: StreamView): void {
    if (generation !== this.deps.generation) {
      throw this.#replaced(
        `The stream ${this.#stream} is another one (${generation}) than ${this.deps.generation}.`,
      );
    }
    if (this.#next < firstSeq) {
      throw this.#replaced(
        `The entries from ${this.#next} on are gone: the stream ${this.#stream} begins at ${firstSeq}.`,
      );
    }
    if (this.#next > lastSeq + 1) {
      throw this.#replaced(
        `The stream ${this.#stream} ends at ${lastSeq}, before entry ${this.#next - 1} that it had.`,
      );
    }
  }

  #replaced(message: string): AntiphonError {
    const { cluster } = this.deps;
    const advice = 'Nothing more of it is applied. Stop the replicas and follow docs/lost-log.md.';
    return new AntiphonError('LOG_REPLACED', `${message} ${advice}`, {
      context: { cluster, stream: this.#stream },
    });
  }

  #withoutContent(): AntiphonError {
    const { cluster } = this.deps;
    const message =
      `The consumer ${this.#consumer ?? ''} of the stream ${this.#stream} gave an entry without its content: somebody has ` +
      'set headers_only. It is made anew, and nothing is lost. Find out who edits the consumers of replicas.';
    return new AntiphonError('LOG_REFUSED', message, { context: { cluster, stream: this.#stream } });
  }

  #dropFlow(): void {
    this.#flow?.stop();
    this.#flow = undefined;
    this.#prefix = undefined;
    this.#acks.suspend();
  }

  #fail(error: AntiphonError): void {
    if (this.#ended) return;
    this.#end();
    this.sink.failed(error);
  }

  #end(): void {
    this.#ended = true;
    this.#dropFlow();
    this.#closing.abort();
    for (const stop of this.#stops.splice(0)) stop();
  }

  /** An ephemeral consumer goes away by itself as well, only later. */
  async #forgetConsumer(): Promise<void> {
    const consumer = this.#consumer;
    this.#consumer = undefined;
    if (consumer === undefined || consumer === this.deps.durable) return;
    await this.deps.api
      .deleteConsumer(this.#stream, consumer, { timeoutMs: FAREWELL_TIMEOUT_MS })
      .catch(() => undefined);
  }
}

/** Nobody who reads could tell such an entry from one that says nothing. */
function isWithoutContent({ data, headers }: Msg): boolean {
  return data.length === 0 && headers?.has(SIZE_HEADER) === true;
}
