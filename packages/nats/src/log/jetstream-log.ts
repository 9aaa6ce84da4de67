import {
  AntiphonError,
  type AppendRequest,
  type AppendResult,
  type Log,
  type LogConnection,
  type LogEntry,
  type LogIdentity,
  type LogReader,
} from '@antiphon/core';
import type { ConnectionWatch } from '../connection/connection-watch.js';
import type { Link } from '../connection/link.js';
import type { ProblemReporter } from '../connection/problem-reporter.js';
import type { Requester } from '../connection/requester.js';
import { toPortError } from '../jetstream/api-error.js';
import type { JetStreamApi } from '../jetstream/api.js';
import { readServerTime } from '../jetstream/server-time.js';
import type { StoredMessage } from '../jetstream/stored-message.js';
import { logSubject, streamName } from '../subjects.js';
import { attemptOf } from './append-conflict.js';
import { Appender } from './appender.js';
import { LogGuard } from './log-guard.js';
import {
  HEADER_ALLOWANCE_BYTES,
  settleLogOptions,
  type LogOptions,
  type LogSettings,
} from './log-options.js';
import { NatsLogReader } from './log-reader.js';
import { openLog } from './open-log.js';
import { OriginNames } from './origin-names.js';

export interface LogDeps {
  readonly link: Link;
  readonly watch: ConnectionWatch;
  readonly problems: ProblemReporter;
  readonly requester: Requester;
  readonly api: JetStreamApi;
}

const UNLIMITED_PAYLOAD = 1_048_576;

/**
 * The Log port on one JetStream stream. Its first entry is the record that says which log it is: it
 * has number 1, and readers pass over it, so the first entry that they see is number 2.
 */
export class JetStreamLog implements Log {
  readonly #settings: LogSettings;
  readonly #guard: LogGuard;
  readonly #appender: Appender;
  readonly #readers = new Set<NatsLogReader>();
  readonly #origins = new OriginNames();
  readonly #stream: string;
  #closed = false;

  /** @throws AntiphonError BAD_OPTION */
  constructor(
    private readonly deps: LogDeps,
    readonly cluster: string,
    options: LogOptions,
    private readonly onClose: (log: JetStreamLog) => void,
  ) {
    this.#settings = settleLogOptions(options);
    this.#stream = streamName(cluster);
    const { checkIntervalMs } = this.#settings;
    const { api, requester, watch } = deps;
    this.#guard = new LogGuard({ api, requester, watch, cluster, checkIntervalMs });
    this.#appender = new Appender({ ...deps, guard: this.#guard, cluster, settings: this.#settings });
    this.#guard.on((event) => {
      if (event.type === 'looked') this.#appender.maxStreamMessageBytes = event.view.maxMessageSize;
    });
  }

  get maxMessageBytes(): number {
    return this.#appender.maxMessageBytes;
  }

  /** A reader has asked for entries: what NATS has against that, it has said or says next. */
  get reading(): boolean {
    return [...this.#readers].some(({ flowing }) => flowing);
  }

  get connection(): LogConnection {
    return this.#closed ? 'closed' : this.deps.watch.state;
  }

  onConnection(listener: (connection: LogConnection) => void): () => void {
    return this.deps.watch.on(listener);
  }

  async open(options: { readonly create: boolean; readonly signal?: AbortSignal }): Promise<LogIdentity> {
    this.#assertOpen();
    const { api, requester } = this.deps;
    const view = await openLog({ api, requester, cluster: this.cluster, settings: this.#settings }, options);
    this.#guard.adopt(view);
    this.#appender.maxStreamMessageBytes = view.maxMessageSize;
    return identityOf(view);
  }

  identity(signal?: AbortSignal): Promise<LogIdentity> {
    return this.#asking(async () => identityOf(await this.#guard.check({ signal })));
  }

  timeMs(signal?: AbortSignal): Promise<number> {
    return this.#asking(() => readServerTime(this.deps.api, this.#stream, { signal }));
  }

  append(request: AppendRequest, settled: (result: AppendResult) => void): void {
    this.#appender.append(request, settled);
  }

  lastOf(origin: string, signal?: AbortSignal): Promise<LogEntry | undefined> {
    return this.#asking(async () => {
      const subject = logSubject(this.cluster, origin);
      return this.#toEntry(await this.deps.api.lastMessage(this.#stream, subject, { signal }));
    });
  }

  get(seq: number, signal?: AbortSignal): Promise<LogEntry | undefined> {
    return this.#asking(async () => {
      assertSeq(seq);
      return this.#toEntry(await this.deps.api.getMessage(this.#stream, seq, { signal }));
    });
  }

  read(options: {
    readonly generation: string;
    readonly fromSeq: number;
    readonly durable?: string;
    readonly traced?: boolean;
  }): Promise<LogReader> {
    return this.#asking(async () => {
      const { generation, fromSeq, durable, traced = false } = options;
      assertSeq(fromSeq);
      if (durable !== undefined) assertConsumerName(durable);
      const { link, watch, problems, api } = this.deps;
      const maxPayload = link.info?.max_payload ?? UNLIMITED_PAYLOAD;
      const deps = {
        ...{
          link,
          watch,
          problems,
          api,
          guard: this.#guard,
          cluster: this.cluster,
          settings: this.#settings,
        },
        ...{ generation, durable, traced },
        // Its subjects come on top of the payload.
        largestMessageBytes: maxPayload + HEADER_ALLOWANCE_BYTES,
      };
      const reader = await NatsLogReader.open(deps, fromSeq, (closed) => this.#readers.delete(closed));
      this.#readers.add(reader);
      return reader;
    });
  }

  forget(durable: string): Promise<void> {
    return this.#asking(async () => {
      assertConsumerName(durable);
      const found = await this.deps.api.consumerInfo(this.#stream, durable);
      if (found !== undefined) await this.deps.api.deleteConsumer(this.#stream, durable);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#appender.close();
    this.#guard.close();
    await Promise.all([...this.#readers].map((reader) => reader.close()));
    this.onClose(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #asking<T>(ask: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    try {
      return await ask();
    } catch (error) {
      throw toPortError(error, { cluster: this.cluster, stream: this.#stream });
    }
  }

  #assertOpen(): void {
    if (!this.#closed) return;
    throw new AntiphonError('CLOSED', 'The log is closed. Open it again.', {
      context: { cluster: this.cluster },
    });
  }

  #toEntry(message: StoredMessage | undefined): LogEntry | undefined {
    if (message === undefined) return undefined;
    const { seq, subject, data, storedAtMs } = message;
    const attempt = attemptOf(message);
    return {
      seq,
      origin: this.#origins.of(subject),
      data,
      storedAtMs,
      ...(attempt === undefined ? {} : { attempt }),
    };
  }
}

function identityOf(view: LogIdentity): LogIdentity {
  const { generation, firstSeq, lastSeq, leader, leaderSilentMs, removed } = view;
  return {
    ...{ generation, firstSeq, lastSeq },
    ...(leader === undefined ? {} : { leader }),
    ...(leaderSilentMs === undefined ? {} : { leaderSilentMs }),
    ...(removed === undefined ? {} : { removed }),
  };
}

/** @throws AntiphonError BAD_OPTION */
function assertSeq(seq: number): void {
  if (Number.isSafeInteger(seq) && seq >= 1) return;
  throw new AntiphonError('BAD_OPTION', `${seq} is not the number of an entry. They begin at 1.`);
}

/** @throws AntiphonError BAD_OPTION */
function assertConsumerName(name: string): void {
  if (/^[A-Za-z0-9_-]{1,80}$/.test(name)) return;
  const shown = JSON.stringify(name.slice(0, 80));
  throw new AntiphonError(
    'BAD_OPTION',
    `${shown} is not a valid name of a consumer. Use 1 to 80 letters, digits, "-" and "_".`,
  );
}
