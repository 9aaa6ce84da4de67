import { AntiphonError, type Registry, type RegistryEntry } from '@antiphon/core';
import { nuid } from 'nats';
import { MessageHeaders } from '../connection/message-headers.js';
import type { Requester } from '../connection/requester.js';
import { ApiError, toPortError } from '../jetstream/api-error.js';
import type { JetStreamApi } from '../jetstream/api.js';
import type { StoredMessage } from '../jetstream/stored-message.js';
import { readPublishAnswer } from '../log/publish-answer.js';
import { registryBucket } from '../subjects.js';
import { bucketConfig, bucketKey, bucketStream, bucketSubject, isDeleted } from './bucket.js';

/** One try of a write; the whole may take the connection's request timeout. */
const ATTEMPT_TIMEOUT_MS = 1500;
const RETRY_WAIT_MS = 100;
const CONCURRENT_READS = 32;
/** A bucket keeps no more of a key, whoever has made it. */
const MOST_REVISIONS = 64;

interface RegistryDeps {
  readonly requester: Requester;
  readonly api: JetStreamApi;
  readonly requestTimeoutMs: number;
}

/** What became of one write. `unknown`: there was no answer. */
type WriteOutcome =
  { readonly type: 'written'; readonly revision: number } | { readonly type: 'conflict' | 'unknown' };

/**
 * The Registry port on a NATS key-value bucket, which NATS's own tools can show. It uses the stream
 * under the bucket directly: the leader answers, so no read is stale, and a write whose answer was
 * lost is resolved by its id.
 */
export class KvRegistry implements Registry {
  readonly #bucket: string;
  readonly #stream: string;
  #closed = false;
  /** From then on a bucket that is not there was deleted: it counts as one without keys. */
  #opened = false;

  constructor(
    private readonly deps: RegistryDeps,
    private readonly cluster: string,
    private readonly options: { readonly replicas?: number } = {},
  ) {
    this.#bucket = registryBucket(cluster);
    this.#stream = bucketStream(this.#bucket);
  }

  open(): Promise<void> {
    return this.#asking(async () => {
      // Whoever may not create streams can still join where there is one.
      if (!(await this.#exists())) await this.#createBucket();
      this.#opened = true;
    });
  }

  async #createBucket(): Promise<void> {
    try {
      await this.deps.api.createStream(bucketConfig(this.#bucket, this.options.replicas ?? 1));
    } catch (error) {
      // It is there already, with other settings: they hold.
      if (!(error instanceof ApiError) || !error.streamNameInUse) throw error;
    }
  }

  async #exists(): Promise<boolean> {
    try {
      await this.deps.api.streamInfo(this.#stream);
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.noStream) return false;
      throw error;
    }
  }

  get(key: string): Promise<RegistryEntry | undefined> {
    return this.#asking(async () => {
      const message = await this.#unlessDeleted(() => this.#last(key));
      return message === undefined || isDeleted(message) ? undefined : entryOf(key, message);
    });
  }

  revisions(key: string): Promise<readonly RegistryEntry[]> {
    return this.#asking(async () => (await this.#unlessDeleted(() => this.#kept(key))) ?? []);
  }

  create(key: string, value: Uint8Array): Promise<RegistryEntry | undefined> {
    return this.#asking(async () => {
      const created = await this.#writeFirst(key, value);
      if (created !== undefined) return created;
      // Somebody may have deleted it from outside; its marker is what comes before ours then.
      const last = await this.#last(key);
      return last !== undefined && isDeleted(last) ? this.#write(key, value, last.seq) : undefined;
    });
  }

  update(key: string, value: Uint8Array, revision: number): Promise<RegistryEntry | undefined> {
    return this.#asking(() => this.#unlessDeleted(() => this.#write(key, value, revision)));
  }

  list(prefix: string): Promise<readonly RegistryEntry[]> {
    return this.#asking(async () => {
      const all = (await this.#unlessDeleted(() => this.#keys())) ?? [];
      const keys = all.filter((key) => key.startsWith(prefix)).sort();
      const entries: RegistryEntry[] = [];
      for (let at = 0; at < keys.length; at += CONCURRENT_READS) {
        const read = await Promise.all(keys.slice(at, at + CONCURRENT_READS).map((key) => this.get(key)));
        entries.push(...read.filter((entry) => entry !== undefined));
      }
      return entries;
    });
  }

  /** Newest first. The server gives them one by one, oldest first. */
  async #kept(key: string): Promise<readonly RegistryEntry[]> {
    const subject = bucketSubject(this.#bucket, key);
    let found: RegistryEntry[] = [];
    for (let [fromSeq, n] = [1, 0]; n < MOST_REVISIONS; n += 1) {
      const message = await this.deps.api.nextMessage(this.#stream, subject, fromSeq);
      if (message === undefined) break;
      found = isDeleted(message) ? [] : [entryOf(key, message), ...found];
      fromSeq = message.seq + 1;
    }
    return found;
  }

  async #writeFirst(key: string, value: Uint8Array): Promise<RegistryEntry | undefined> {
    try {
      return await this.#write(key, value, 0);
    } catch (error) {
      if (!this.#isDeletedBucket(error)) throw error;
      await this.#createBucket();
      return this.#write(key, value, 0);
    }
  }

  async #unlessDeleted<T>(ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (this.#isDeletedBucket(error)) return undefined;
      throw error;
    }
  }

  #isDeletedBucket(error: unknown): boolean {
    return this.#opened && error instanceof ApiError && error.noStream;
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  /**
   * Undefined when the newest revision is not the expected one; 0 stands for a key that was never
   * written.
   */
  async #write(key: string, value: Uint8Array, expected: number): Promise<RegistryEntry | undefined> {
    const subject = bucketSubject(this.#bucket, key);
    const id = nuid.next();
    const headers = new MessageHeaders({
      'Nats-Msg-Id': id,
      'Nats-Expected-Last-Subject-Sequence': expected,
    });
    const deadlineMs = performance.now() + this.deps.requestTimeoutMs;
    let tries = 0;
    for (;;) {
      const outcome = await this.#tryWrite(subject, value, headers);
      tries += 1;
      if (outcome.type === 'written') return { key, value, revision: outcome.revision };
      if (outcome.type === 'conflict' && tries === 1) return undefined;
      const last = await this.#lastIfAnswered(key);
      if (last !== 'no answer') {
        // An earlier try was stored and only its answer lost.
        if (last?.header('Nats-Msg-Id') === id) return { key, value, revision: last.seq };
        if (outcome.type === 'conflict') return undefined;
      }
      if (performance.now() + RETRY_WAIT_MS >= deadlineMs) {
        const message = `Writing ${key} to the registry got no answer within ${this.deps.requestTimeoutMs} ms. Start nats-server with JetStream, then try again.`;
        throw new AntiphonError('LOG_UNAVAILABLE', message, { context: { cluster: this.cluster, key } });
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_WAIT_MS));
    }
  }

  async #tryWrite(subject: string, value: Uint8Array, headers: MessageHeaders): Promise<WriteOutcome> {
    const outcome = await this.deps.requester.request(subject, value, {
      timeoutMs: ATTEMPT_TIMEOUT_MS,
      headers,
    });
    if (outcome.type === 'denied') throw outcome.error;
    if (outcome.type !== 'reply') return { type: 'unknown' };
    const answer = readPublishAnswer(outcome.message);
    if (answer.type === 'stored') return { type: 'written', revision: answer.seq };
    if (answer.type !== 'error' || answer.error.unavailable) return { type: 'unknown' };
    if (answer.error.wrongLast) return { type: 'conflict' };
    throw answer.error;
  }

  #last(key: string): Promise<StoredMessage | undefined> {
    return this.deps.api.lastMessage(this.#stream, bucketSubject(this.#bucket, key));
  }

  async #lastIfAnswered(key: string): Promise<StoredMessage | 'no answer' | undefined> {
    try {
      return await this.#last(key);
    } catch (error) {
      if (error instanceof AntiphonError && error.code === 'LOG_UNAVAILABLE') return 'no answer';
      throw error;
    }
  }

  /** Every key that was ever written, deleted ones included. The server gives them in pages. */
  async #keys(): Promise<string[]> {
    const keys = new Set<string>();
    const subjects = bucketSubject(this.#bucket, '>');
    for (;;) {
      const info = await this.deps.api.streamInfo(this.#stream, { subjects, offset: keys.size });
      const page = Object.keys(info.state.subjects ?? {});
      const known = keys.size;
      for (const subject of page) keys.add(bucketKey(this.#bucket, subject));
      const total = (info as { total?: number }).total ?? 0;
      if (keys.size === known || keys.size >= total) return [...keys];
    }
  }

  async #asking<T>(ask: () => Promise<T>): Promise<T> {
    const context = { cluster: this.cluster, bucket: this.#bucket };
    if (this.#closed)
      throw new AntiphonError('CLOSED', 'The registry is closed. Connect again.', { context });
    try {
      return await ask();
    } catch (error) {
      if (error instanceof ApiError && error.noStream) {
        const message = `The registry bucket ${this.#bucket} does not exist. Call open(), or find out who deleted it.`;
        throw new AntiphonError('LOG_UNAVAILABLE', message, { cause: error, context });
      }
      throw toPortError(error, context);
    }
  }
}

function entryOf(key: string, message: StoredMessage): RegistryEntry {
  return { key, value: message.data, revision: message.seq };
}
