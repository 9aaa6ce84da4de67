import { createInbox, type Msg, type NatsConnection, type ServerInfo, type Subscription } from 'nats';
import type { ConnectionWatch } from './connection-watch.js';
import type { Denials } from './denials.js';
import type { MessageHeaders } from './message-headers.js';
import { within } from './within.js';

export interface LinkSubscription {
  unsubscribe(): void;
  /** What the server has sent by then comes first; see `BusSubscription`. */
  drain(): Promise<void>;
}

interface SubscribeOptions {
  readonly queue?: string;
  /** Must not throw: that would kill the client's reader loop. */
  readonly callback: (message: Msg) => void;
}

const RESUBSCRIBE_MS = 2000;
const DRAIN_MS = 1000;

/**
 * The client's connection as the ports use it: publish and subscribe, with an eye on what NATS
 * denies. The client drops a subscription that was denied; here it is tried again until it is
 * permitted, or no longer wanted.
 */
export class Link {
  readonly #connection: NatsConnection;
  readonly #watch: ConnectionWatch;
  readonly #denials: Denials;
  readonly #inboxPrefix: string | undefined;

  constructor(connection: NatsConnection, watch: ConnectionWatch, denials: Denials, inboxPrefix?: string) {
    this.#connection = connection;
    this.#watch = watch;
    this.#denials = denials;
    this.#inboxPrefix = inboxPrefix;
  }

  get info(): ServerInfo | undefined {
    return this.#connection.info;
  }

  get denials(): Denials {
    return this.#denials;
  }

  /** A subject for answers that nobody else has. */
  newInbox(): string {
    return createInbox(this.#inboxPrefix);
  }

  /** Throws what the client throws; see `publishSafely`. */
  publish(subject: string, data: Uint8Array, reply?: string, headers?: MessageHeaders): void {
    if (this.#denials.any) this.#denials.attempted(subject);
    this.#connection.publish(subject, data, {
      ...(reply === undefined ? {} : { reply }),
      ...(headers === undefined ? {} : { headers: headers.forClient() }),
    });
  }

  subscribe(subject: string, { queue, callback }: SubscribeOptions): LinkSubscription {
    let wanted = true;
    let again: NodeJS.Timeout | undefined;
    const open = (): Subscription =>
      this.#connection.subscribe(subject, {
        ...(queue === undefined ? {} : { queue }),
        callback: (error, message) => {
          if (error === null) return callback(message);
          again = setTimeout(retry, RESUBSCRIBE_MS).unref();
        },
      });
    const retry = (): void => {
      again = undefined;
      if (!wanted || this.#watch.state === 'closed') return;
      subscription = open();
      void this.#notePermitted(subject, () => again === undefined);
    };
    let subscription = open();
    // One under another name may have been denied, which nobody tries any more.
    if (this.#denials.any) void this.#notePermitted(subject, () => again === undefined);
    const unsubscribe = (): void => {
      wanted = false;
      clearTimeout(again);
      subscription.unsubscribe();
    };
    return {
      unsubscribe,
      drain: async () => {
        wanted = false;
        // A server that is away sends nothing more, and answers no flush.
        if (this.#watch.state === 'connected') await within(subscription.drain(), DRAIN_MS);
        unsubscribe();
      },
    };
  }

  /** The server answers a ping after whatever it had to say of the subscription. */
  async #notePermitted(subject: string, stands: () => boolean): Promise<void> {
    try {
      await this.#connection.flush();
    } catch {
      return; // Lost in between: the reconnect subscribes again, and a denial comes again.
    }
    if (stands()) this.#denials.permitted('subscribe', subject);
  }
}
