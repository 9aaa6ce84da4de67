import { AntiphonError, type BusRequest, type Clock, type Timer } from '@antiphon/core';
import { encodeBundleReply, REPLY_BYTES } from './bundle.js';
import type { Codec } from './codec.js';
import { encodeError } from './reply.js';

/** So long a reply waits for others of its bundle, which are about to come. */
const HOLD_MS = 1;
/** Replies that nobody asks for are dropped after so long. */
const FORGET_MS = 30_000;

interface DeskDeps {
  readonly codec: Codec;
  readonly clock: Clock;
  /** A reply could not be handed to the bus; returns what is said instead. */
  readonly unsendable: (thrown: unknown) => AntiphonError;
}

/** Where the replies to bundles are collected, until their asker has them. */
export class BundleDesk {
  readonly #open = new Map<string, OpenBundle>();
  #number = 0;

  constructor(private readonly deps: DeskDeps) {}

  /** Takes a reply for each of so many requests, one at least. */
  open(size: number, asker: BusRequest): OpenBundle {
    // Nobody else is to guess it: the replies are for whoever has asked.
    const key = `${(this.#number += 1)}.${String(this.deps.clock.random()).slice(2)}`;
    const bundle = new OpenBundle(key, size, asker, this.deps, () => this.#open.delete(key));
    this.#open.set(key, bundle);
    return bundle;
  }

  /** The asker of a bundle waits for the rest of its replies. */
  attend(key: string, asker: BusRequest): void {
    const bundle = this.#open.get(key);
    if (bundle !== undefined) return bundle.attend(asker);
    const message =
      'What is asked for is not here any more: this process is new, or it was too long. Ask again.';
    asker.respond?.(
      encodeError(this.deps.codec, new AntiphonError('NO_ACTOR', message, { retriable: true })),
    );
  }
}

/**
 * The replies to one bundle: they go as they are ready, several in a message where they are close.
 */
export class OpenBundle {
  #ready: (readonly [index: number, reply: Uint8Array])[] = [];
  #readyBytes = 0;
  /** Without a reply yet. */
  #left: number;
  /** A message that waits for its reply. */
  #asker: BusRequest | undefined;
  #timer: Timer | undefined;

  constructor(
    private readonly key: string,
    size: number,
    asker: BusRequest,
    private readonly deps: DeskDeps,
    private readonly onEnd: () => void,
  ) {
    this.#left = size;
    this.#asker = asker;
  }

  /** Once for each. */
  reply(index: number, reply: Uint8Array): void {
    this.#left--;
    this.#ready.push([index, reply]);
    this.#readyBytes += reply.length;
    if (this.#asker === undefined) return;
    if (this.#left === 0 || this.#readyBytes >= REPLY_BYTES) this.#send();
    else this.#timer ??= this.deps.clock.setTimer(HOLD_MS, () => this.#send());
  }

  attend(asker: BusRequest): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#asker = asker;
    if (this.#ready.length > 0) this.#send();
  }

  #send(): void {
    this.#timer?.cancel();
    const asker = this.#asker;
    this.#asker = undefined;
    if (asker === undefined) return;
    const sent = this.#respond(asker, this.#fitting());
    for (const [, reply] of this.#ready.splice(0, sent)) this.#readyBytes -= reply.length;
    if (this.#left === 0 && this.#ready.length === 0) return this.onEnd();
    this.#timer = this.deps.clock.setTimer(FORGET_MS, () => this.onEnd());
  }

  /** How many of those that are ready go into one message. */
  #fitting(): number {
    let bytes = 0;
    const more = this.#ready.findIndex(([, reply]) => (bytes += reply.length) > REPLY_BYTES);
    return more < 0 ? this.#ready.length : Math.max(1, more);
  }

  /** How many of the first `count` the bus has taken: the server may permit less at once. */
  #respond(asker: BusRequest, count: number): number {
    try {
      this.#hand(asker, count);
      return count;
    } catch (thrown) {
      if (count > 1) return this.#respond(asker, Math.ceil(count / 2));
      this.#replaceFirst(encodeError(this.deps.codec, this.deps.unsendable(thrown)));
    }
    try {
      this.#hand(asker, 1);
    } catch {
      // The bus is gone; the asker's timeout tells it.
    }
    return 1;
  }

  #hand(asker: BusRequest, count: number): void {
    const isRest = this.#left > 0 || this.#ready.length > count;
    const reply = { replies: this.#ready.slice(0, count), rest: isRest ? this.key : undefined };
    asker.respond?.(encodeBundleReply(this.deps.codec, reply));
  }

  #replaceFirst(reply: Uint8Array): void {
    const [first] = this.#ready;
    if (first === undefined) return;
    this.#ready[0] = [first[0], reply];
    this.#readyBytes += reply.length - first[1].length;
  }
}
