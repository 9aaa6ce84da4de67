import { AntiphonError, type BusRequest, type Clock, type Timer } from '@antiphon/core';
import { encodeBundleReply, REPLY_BYTES } from './bundle.js';
import type { Codec } from './codec.js';
import { encodeError } from './reply.js';

/** So long a reply waits for others of its bundle, which are about to come. */
const HOLD_MS = 1;
/** Replies that nobody asks for are dropped after so long. */
const FORGET_MS = 30_000;
/** Of all replies that wait to be asked for; more are errors. */
const MOST_HELD_BYTES = 64 * 1024 * 1024;

interface DeskDeps {
  readonly codec: Codec;
  readonly clock: Clock;
  /** A reply could not be handed to the bus; returns what is said instead. */
  readonly unsendable: (thrown: unknown) => AntiphonError;
}

/** Bytes of replies, of all bundles together. */
class HeldBytes {
  #bytes = 0;

  constructor(private readonly most: number) {}

  hasRoomFor(bytes: number): boolean {
    return this.#bytes + bytes <= this.most;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }
}

/** Where the replies to bundles are collected, until their asker has them. */
export class BundleDesk {
  readonly #open = new Map<string, OpenBundle>();
  readonly #held: HeldBytes;
  #number = 0;

  constructor(
    private readonly deps: DeskDeps,
    mostHeldBytes = MOST_HELD_BYTES,
  ) {
    this.#held = new HeldBytes(mostHeldBytes);
  }

  /** Takes a reply for each of so many requests, one at least. */
  open(size: number, asker: BusRequest): OpenBundle {
    // Nobody else is to guess it: the replies are for whoever has asked.
    const key = `${(this.#number += 1)}.${String(this.deps.clock.random()).slice(2)}`;
    const bundle = new OpenBundle(key, size, asker, { ...this.deps, held: this.#held }, () =>
      this.#open.delete(key),
    );
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
  #isOver = false;

  constructor(
    private readonly key: string,
    size: number,
    asker: BusRequest,
    private readonly deps: DeskDeps & { readonly held: HeldBytes },
    private readonly onEnd: () => void,
  ) {
    this.#left = size;
    this.#asker = asker;
  }

  /** Once for each. */
  reply(index: number, reply: Uint8Array): void {
    this.#left--;
    // Nobody has asked for so long that nobody will.
    if (this.#isOver) return;
    const kept = this.deps.held.hasRoomFor(reply.length) ? reply : this.#overloaded();
    this.#ready.push([index, kept]);
    this.#hold(kept.length);
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
    for (const [, reply] of this.#ready.splice(0, sent)) this.#hold(-reply.length);
    if (this.#left === 0 && this.#ready.length === 0) return this.#end();
    this.#timer = this.deps.clock.setTimer(FORGET_MS, () => this.#end());
  }

  #end(): void {
    this.#isOver = true;
    this.#hold(-this.#readyBytes);
    this.#ready = [];
    this.onEnd();
  }

  #hold(bytes: number): void {
    this.#readyBytes += bytes;
    this.deps.held.add(bytes);
  }

  #overloaded(): Uint8Array {
    const message = 'Too many replies wait for those who asked for them. Ask for less at once, or again.';
    return encodeError(this.deps.codec, new AntiphonError('OVERLOADED', message, { retriable: true }));
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
    this.#hold(reply.length - first[1].length);
  }
}
