import type { Msg } from 'nats';
import type { Link, LinkSubscription } from '../connection/link.js';
import type { ProblemReporter } from '../connection/problem-reporter.js';
import { publishSafely } from '../connection/requester.js';

const encoder = new TextEncoder();
const NANOSECONDS_PER_MS = 1_000_000;

export interface PullGrant {
  readonly stream: string;
  readonly consumer: string;
  readonly entries: number;
  readonly bytes: number;
  readonly expiresMs: number;
  readonly heartbeatMs: number;
}

/** What ends, or interrupts, a pull request. */
export interface PullStatus {
  readonly code: number;
  readonly description: string;
  /** The last stream sequence that the consumer delivered to anybody, as a heartbeat tells it. */
  readonly lastDelivered: number | undefined;
}

/**
 * One request for a number of entries and bytes. It has a subscription of its own, so that what is
 * left of it is known exactly: servers count a request's bytes in slightly different ways.
 */
export class PullRequest {
  #entriesLeft: number;
  #bytesLeft: number;
  #received = 0;
  #activeMs = performance.now();
  readonly startedMs = performance.now();
  readonly #subscription: LinkSubscription;

  constructor(
    link: Link,
    problems: ProblemReporter,
    grant: PullGrant,
    listener: { message(message: Msg): void; status(request: PullRequest, status: PullStatus): void },
  ) {
    this.#entriesLeft = grant.entries;
    this.#bytesLeft = grant.bytes;
    const inbox = link.newInbox();
    const receive = (message: Msg): void => {
      this.#activeMs = performance.now();
      const status = readStatus(message);
      if (status !== undefined) return listener.status(this, status);
      this.#received += 1;
      this.#entriesLeft -= 1;
      this.#bytesLeft -= messageSize(message);
      listener.message(message);
    };
    this.#subscription = link.subscribe(inbox, { callback: problems.guard('a log entry', receive) });
    const body = {
      batch: grant.entries,
      max_bytes: grant.bytes,
      expires: grant.expiresMs * NANOSECONDS_PER_MS,
      idle_heartbeat: grant.heartbeatMs * NANOSECONDS_PER_MS,
    };
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${grant.stream}.${grant.consumer}`;
    publishSafely(link, subject, encoder.encode(JSON.stringify(body)), inbox);
  }

  get entriesLeft(): number {
    return Math.max(0, this.#entriesLeft);
  }

  get bytesLeft(): number {
    return Math.max(0, this.#bytesLeft);
  }

  get received(): number {
    return this.#received;
  }

  /** The last entry of a request is not followed by any word that it is over. */
  get exhausted(): boolean {
    return this.#entriesLeft <= 0;
  }

  get activeMs(): number {
    return this.#activeMs;
  }

  cancel(): void {
    this.#subscription.unsubscribe();
  }
}

/** As the server counts it: subjects, headers and payload. */
export function messageSize(message: Msg): number {
  return message.subject.length + (message.reply?.length ?? 0) + message.data.length;
}

/**
 * A status has a code in its headers and no payload. An entry whose publisher forged one has an ack
 * subject.
 */
function readStatus(message: Msg): PullStatus | undefined {
  if (message.data.length > 0 || message.reply?.startsWith('$JS.ACK.') === true) return undefined;
  const code = message.headers?.code ?? 0;
  if (code === 0) return undefined;
  const last = message.headers?.get('Nats-Last-Stream') ?? '';
  return {
    code,
    description: message.headers?.description ?? '',
    lastDelivered: last === '' ? undefined : Number(last),
  };
}
