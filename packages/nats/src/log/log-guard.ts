import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError, type LogIdentity } from '@antiphon/core';
import type { StreamInfo } from 'nats';
import type { ConnectionWatch } from '../connection/connection-watch.js';
import type { Requester } from '../connection/requester.js';
import { ApiError } from '../jetstream/api-error.js';
import type { CallOptions, JetStreamApi } from '../jetstream/api.js';
import { streamName } from '../subjects.js';
import { assertLeads, leaderSilenceMs } from './leader-contact.js';
import { IDENTITY_SEQ, readGeneration, repeatIdentity } from './identity-record.js';

/** How long the answer of a look that nobody waits for may take. */
const CHECK_TIMEOUT_MS = 2000;
/** Between the two looks that it takes to believe bad news. */
const CONFIRM_WAIT_MS = 250;
/**
 * Of several servers, one that has just begun to lead the stream may not show all of it yet: bad
 * news has to last for so long.
 */
const REPLICATED_CONFIRM_MS = 10_000;

/** What was read of the stream at one moment. */
export interface StreamView extends LogIdentity {
  readonly created: string;
  /** Largest message that the stream takes, in bytes; -1: no limit of its own. */
  readonly maxMessageSize: number;
}

type Listener = (event: { readonly type: 'looked'; readonly view: StreamView } | Replaced) => void;
interface Replaced {
  readonly type: 'replaced';
  readonly error: AntiphonError;
}

interface GuardDeps {
  readonly api: JetStreamApi;
  readonly requester: Requester;
  readonly watch: ConnectionWatch;
  readonly cluster: string;
  readonly checkIntervalMs: number;
}

/**
 * Knows which stream this is, and notices when it is no longer that one (I14): gone, another
 * generation, or shorter than it was. Looks every second, after a reconnect, and when somebody
 * asks. Once it was replaced that stays so.
 */
export class LogGuard {
  #verified: StreamView | undefined;
  #replaced: AntiphonError | undefined;
  /** The log was at least this long. */
  #floor = 0;
  /**
   * As it was at the last look. Trimming leaves the newest entries, so what begins after this one
   * was purged.
   */
  #lookedFloor = 0;
  /** The record that says which log it is was trimmed away. */
  #headless = false;
  /** Several servers keep it. */
  #isReplicated = false;
  #badSinceMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  readonly #listeners = new Set<Listener>();
  readonly #stopWatching: () => void;

  constructor(private readonly deps: GuardDeps) {
    this.#stopWatching = deps.watch.on((state) => {
      if (state === 'connected' && this.#verified !== undefined) void this.look();
    });
  }

  get floor(): number {
    return this.#floor;
  }

  get replaced(): AntiphonError | undefined {
    return this.#replaced;
  }

  get verified(): StreamView | undefined {
    return this.#verified;
  }

  /** The log has an entry of this number. */
  observe(seq: number): void {
    if (seq > this.#floor) this.#floor = seq;
  }

  on(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** From here on `view` is what the log has to be. */
  adopt(view: StreamView): void {
    this.#verified = view;
    this.#replaced = undefined;
    this.#floor = view.lastSeq;
    this.#lookedFloor = view.lastSeq;
    this.#headless = false;
    this.#timer ??= setInterval(() => void this.look(), this.deps.checkIntervalMs).unref();
  }

  /** Called by whoever has proof. Returns the error that stays. */
  replace(message: string): AntiphonError {
    if (this.#replaced !== undefined) return this.#replaced;
    const { cluster } = this.deps;
    const advice =
      'Nothing more of it is applied. Stop the replicas and follow docs/lost-log.md: put the log back, or decide which databases to keep.';
    const context = { cluster, stream: streamName(cluster), lastSeen: this.#floor };
    this.#replaced = new AntiphonError('LOG_REPLACED', `${message} ${advice}`, { context });
    this.#tell({ type: 'replaced', error: this.#replaced });
    return this.#replaced;
  }

  /** Looks in the background: the listeners hear what comes of it. One look at a time. */
  async look(): Promise<void> {
    if (this.#looking || this.#replaced !== undefined || this.deps.watch.state !== 'connected') return;
    this.#looking = true;
    try {
      await this.check({ timeoutMs: CHECK_TIMEOUT_MS });
    } catch {
      // Unavailable: looked at again in a second. Replaced: told by `replace`.
    } finally {
      this.#looking = false;
    }
  }

  /**
   * The stream as it is now.
   * @throws AntiphonError LOG_REPLACED, LOG_UNAVAILABLE, ABORTED
   */
  async check(options: CallOptions = {}): Promise<StreamView> {
    if (this.#replaced !== undefined) throw this.#replaced;
    let view = await this.#inspect(options);
    if (typeof view === 'string') {
      await sleep(CONFIRM_WAIT_MS);
      view = await this.#inspect(options);
    }
    if (typeof view === 'string') throw this.#isConfirmed() ? this.replace(view) : unconfirmed(view);
    this.#badSinceMs = undefined;
    this.observe(view.lastSeq);
    this.#lookedFloor = this.#floor;
    if (this.#verified !== undefined) this.#verified = view;
    this.#tell({ type: 'looked', view });
    return view;
  }

  /** Whether bad news has lasted for long enough. */
  #isConfirmed(): boolean {
    const nowMs = performance.now();
    this.#badSinceMs ??= nowMs;
    return !this.#isReplicated || nowMs - this.#badSinceMs >= REPLICATED_CONFIRM_MS;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#stopWatching();
    this.#listeners.clear();
  }

  /** The view, or what is wrong with it. */
  async #inspect(options: CallOptions): Promise<StreamView | string> {
    const { api, cluster } = this.deps;
    const stream = streamName(cluster);
    // What is stored while the question travels doesn't have to be in the answer.
    const floor = this.#floor;
    let info: StreamInfo;
    try {
      info = await api.streamInfo(stream, options);
      assertLeads(info);
    } catch (error) {
      if (error instanceof ApiError && error.noStream) return `The stream ${stream} does not exist.`;
      // What was wrong before may not be any more.
      this.#badSinceMs = undefined;
      throw error;
    }
    this.#isReplicated = (info.cluster?.replicas ?? []).length > 0;
    const known = this.#verified;
    if (known !== undefined && known.created !== info.created) {
      return `The stream ${stream} was created anew at ${info.created}. It was one of ${known.created}.`;
    }
    const { first_seq: firstSeq, last_seq: lastSeq } = info.state;
    if (lastSeq < floor)
      return `The stream ${stream} ends at entry ${lastSeq}. It had ${floor} entries before.`;
    if (known !== undefined && firstSeq > Math.max(IDENTITY_SEQ, this.#lookedFloor))
      return `The stream ${stream} was purged: it begins at entry ${firstSeq}, and nothing is left of what the last look saw, up to entry ${this.#lookedFloor}.`;
    const moved = firstSeq > Math.max(IDENTITY_SEQ, known?.firstSeq ?? 0);
    if (known === undefined || moved || this.#headless) return this.#readRecord(info, options);
    return viewOf(info, known.generation);
  }

  async #readRecord(info: StreamInfo, options: CallOptions): Promise<StreamView | string> {
    const { api, cluster, requester } = this.deps;
    const stream = streamName(cluster);
    const known = this.#verified;
    const generation = await readGeneration(api, cluster, options);
    if (known === undefined) {
      if (generation !== undefined) return viewOf(info, generation);
      return `The stream ${stream} does not begin with the record of an Antiphon log.`;
    }
    if (generation !== undefined && generation !== known.generation)
      return `The stream ${stream} has the record of another log (${generation}). It was ${known.generation}.`;
    // Whoever trims the log should write its record again first. Without it, nobody who starts
    // could tell which log it is.
    this.#headless = generation === undefined;
    // Somebody else may do it as well, and if nobody may, it is tried again at the next look.
    if (this.#headless)
      await repeatIdentity(requester, cluster, known.generation, options.signal).catch(() => undefined);
    return viewOf(info, known.generation);
  }

  #tell(event: Parameters<Listener>[0]): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}

function unconfirmed(problem: string): AntiphonError {
  const message = `${problem} A server that has just begun to lead it may not show all of it yet. It is looked at again.`;
  return new AntiphonError('LOG_UNAVAILABLE', message);
}

export function viewOf({ state, created, config, cluster }: StreamInfo, generation: string): StreamView {
  const { first_seq: firstSeq, last_seq: lastSeq, num_deleted: removed } = state;
  // A stream on one server has none to tell.
  const leader = cluster?.leader ?? '';
  const leaderSilentMs = leaderSilenceMs(cluster);
  const view = {
    ...{ generation, firstSeq, lastSeq, created, maxMessageSize: config.max_msg_size },
    ...(removed > 0 && { removed }),
    ...(leaderSilentMs > 0 && { leaderSilentMs }),
  };
  return leader === '' ? view : { ...view, leader };
}
