import type { Msg } from 'nats';
import type { Link } from '../connection/link.js';
import type { ProblemReporter } from '../connection/problem-reporter.js';
import { PullRequest, type PullStatus } from './pull-request.js';

const EXPIRES_MS = 30_000;
const HEARTBEAT_MS = 1000;
/** Two heartbeats and some patience. */
const SILENCE_MS = 2500;
/** A request that ends sooner and without an entry would be made again and again. */
const FUTILE_MS = 100;
/**
 * Room for entries is given away in quarters: the next request is there before the last one is used
 * up.
 */
const PARTS = 4;

const HEARTBEAT = 100;
const NO_MESSAGES = 404;
const EXPIRED = 408;
const CONFLICT = 409;
/** The ends of a request that say nothing bad about the consumer. */
const USED_UP = /^(message size exceeds maxbytes|batch completed|exceeded max)/i;

export interface FlowListener {
  message(message: Msg): void;
  /** The last sequence that the consumer says it delivered. */
  delivered(lastSeq: number): void;
  /** The consumer is gone, moved, or answers with what can't be gone on with. Told once. */
  broken(reason: string): void;
}

interface FlowDeps {
  readonly link: Link;
  readonly problems: ProblemReporter;
  readonly stream: string;
  readonly consumer: string;
  readonly maxBytes: number;
  readonly maxEntries: number;
  /** The largest message that may come, with its subjects: no request may be smaller. */
  readonly largestMessageBytes: number;
  /** What was received and not taken yet. */
  readonly queue: { readonly bytes: number; readonly length: number };
}

/** Keeps requests for entries open at a consumer, never for more than there is room for. */
export class PullFlow {
  readonly #requests = new Set<PullRequest>();
  readonly #maxBytes: number;
  #stopped = false;

  constructor(
    private readonly deps: FlowDeps,
    private readonly listener: FlowListener,
  ) {
    this.#maxBytes = Math.max(deps.maxBytes, PARTS * deps.largestMessageBytes);
  }

  /** Asks for what there is room for. Call it when the queue got shorter. */
  refill(): void {
    if (this.#stopped) return;
    let bytes = this.#maxBytes - this.deps.queue.bytes;
    let entries = this.deps.maxEntries - this.deps.queue.length;
    for (const request of this.#requests) {
      bytes -= request.bytesLeft;
      entries -= request.entriesLeft;
    }
    const { stream, consumer, maxEntries, largestMessageBytes } = this.deps;
    const partBytes = Math.floor(this.#maxBytes / PARTS);
    const partEntries = Math.max(1, Math.floor(maxEntries / PARTS));
    while (bytes >= partBytes && entries >= partEntries) {
      this.#request({ stream, consumer, bytes: partBytes, entries: partEntries });
      bytes -= partBytes;
      entries -= partEntries;
    }
    if (this.#requests.size === 0 && bytes >= largestMessageBytes && entries > 0) {
      this.#request({ stream, consumer, bytes, entries });
    }
  }

  /** Entries are asked for, and nothing was heard of the server since long. */
  get silent(): boolean {
    const limitMs = performance.now() - SILENCE_MS;
    for (const request of this.#requests) if (request.activeMs > limitMs) return false;
    return this.#requests.size > 0;
  }

  get waiting(): boolean {
    return this.#requests.size > 0;
  }

  stop(): void {
    this.#stopped = true;
    for (const request of this.#requests) request.cancel();
    this.#requests.clear();
  }

  #request(grant: { stream: string; consumer: string; bytes: number; entries: number }): void {
    const { link, problems } = this.deps;
    const timing = { expiresMs: EXPIRES_MS, heartbeatMs: HEARTBEAT_MS };
    const request: PullRequest = new PullRequest(
      link,
      problems,
      { ...grant, ...timing },
      {
        message: (message) => {
          if (request.exhausted) this.#end(request);
          if (!this.#stopped) this.listener.message(message);
        },
        status: (ended, status) => {
          if (!this.#stopped) this.#heed(ended, status);
        },
      },
    );
    this.#requests.add(request);
  }

  #heed(request: PullRequest, { code, description, lastDelivered }: PullStatus): void {
    if (code === HEARTBEAT) {
      if (lastDelivered !== undefined) this.listener.delivered(lastDelivered);
      return;
    }
    this.#end(request);
    const usedUp =
      code === NO_MESSAGES || code === EXPIRED || (code === CONFLICT && USED_UP.test(description));
    const futile = request.received === 0 && performance.now() - request.startedMs < FUTILE_MS;
    if (usedUp && !futile) return this.refill();
    this.stop();
    this.listener.broken(`${code} ${description}`);
  }

  #end(request: PullRequest): void {
    request.cancel();
    this.#requests.delete(request);
  }
}
