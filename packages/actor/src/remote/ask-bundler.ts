import { abortError, AntiphonError, type Bus, type Clock, type Timer } from '@antiphon/core';
import { BUNDLE_BYTES, MOST_BUNDLED, parseBundleReply } from './bundle.js';
import type { Codec } from './codec.js';
import { decodeReply } from './reply.js';

/** Which questions go together, where the other side understands that. */
export interface BundlingOptions {
  readonly commands: readonly string[];
  readonly clock: Clock;
}

export interface AskLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

interface Ask extends AskLimits {
  readonly data: Uint8Array;
  /** Monotonic. */
  readonly untilMs: number;
  resolve(reply: Uint8Array): void;
  reject(error: unknown): void;
}

interface BundlerDeps {
  readonly bus: Bus;
  /** Of the actor. */
  readonly path: string;
  readonly subject: string;
  readonly codec: Codec;
  readonly clock: Clock;
}

/**
 * Questions of one command to one actor. Those of one turn of the event loop go as one message; one
 * that is alone goes as it is, and as soon. Each keeps its own time limit, signal, reply and error.
 */
export class AskBundler {
  /** Whether the other side has said that it does. */
  understood = false;
  #queue: Ask[] = [];

  constructor(private readonly deps: BundlerDeps) {}

  /** As `bus.request`. */
  ask(data: Uint8Array, limits: AskLimits): Promise<Uint8Array> {
    if (!this.understood) return this.deps.bus.request(this.deps.subject, data, limits);
    return new Promise((resolve, reject) => {
      const untilMs = this.deps.clock.monotonicMs() + limits.timeoutMs;
      this.#queue.push({ ...limits, data, untilMs, resolve, reject });
      // When the promises of this turn are through, which ask as well.
      if (this.#queue.length === 1) process.nextTick(() => this.#flush());
    });
  }

  #flush(): void {
    let bundle: Ask[] = [];
    let bytes = 0;
    for (const ask of this.#queue.splice(0)) {
      if (ask.signal?.aborted === true) {
        ask.reject(givenUp(this.deps.subject, ask.signal));
        continue;
      }
      const isFull = bundle.length >= MOST_BUNDLED || bytes + ask.data.length > BUNDLE_BYTES;
      if (isFull) {
        this.#send(bundle);
        [bundle, bytes] = [[], 0];
      }
      bundle.push(ask);
      bytes += ask.data.length;
    }
    this.#send(bundle);
  }

  #send(asks: readonly Ask[]): void {
    const [first] = asks;
    if (first === undefined) return;
    if (asks.length === 1) return this.#single(first);
    const sent = new SentBundle(this.deps, asks);
    void sent.exchange().then((outcome) => {
      if (outcome === 'done') return;
      const open = sent.takeOpen();
      if (outcome === 'too-large') {
        const half = Math.ceil(open.length / 2);
        this.#send(open.slice(0, half));
        this.#send(open.slice(half));
      } else {
        // What listens there now is older.
        this.understood = false;
        for (const ask of open) this.#single(ask);
      }
    });
  }

  #single({ data, untilMs, signal, resolve, reject }: Ask): void {
    const { bus, subject, clock } = this.deps;
    const timeoutMs = Math.max(1, untilMs - clock.monotonicMs());
    bus.request(subject, data, { timeoutMs, ...(signal && { signal }) }).then(resolve, reject);
  }
}

/** One message with several questions, until each is answered or given up. */
class SentBundle {
  /** Without a reply yet, by its index. */
  readonly #open = new Map<number, Ask>();
  readonly #stops: (() => void)[] = [];
  /** Nobody waits any more. */
  readonly #over = new AbortController();
  #isAsking = false;
  #timer: Timer | undefined;

  constructor(
    private readonly deps: BundlerDeps,
    private readonly asks: readonly Ask[],
  ) {
    for (const [index, ask] of asks.entries()) this.#follow(index, ask);
    this.#arm();
  }

  #follow(index: number, ask: Ask): void {
    const { signal } = ask;
    this.#open.set(index, ask);
    if (signal === undefined) return;
    const giveUp = (): void => this.#close(index)?.reject(givenUp(this.deps.subject, signal));
    signal.addEventListener('abort', giveUp, { once: true });
    this.#stops[index] = () => signal.removeEventListener('abort', giveUp);
  }

  /** Never rejects. Unless it is done, nobody has got a reply. */
  async exchange(): Promise<'done' | 'too-large' | 'not-understood'> {
    const { codec } = this.deps;
    let request = codec.encode(this.asks.map(({ data }) => data));
    for (let isFirst = true; this.#open.size > 0; isFirst = false) {
      try {
        this.#isAsking = true;
        const data = await this.#request(request);
        this.#isAsking = false;
        const reply = parseBundleReply(codec, data);
        if (reply === undefined && isFirst) return 'not-understood';
        if (reply === undefined) throw this.#noReply(data);
        for (const [index, answer] of reply.replies) this.#close(index)?.resolve(answer);
        if (this.#open.size === 0) break;
        if (reply.rest === undefined) throw this.#noReply(data);
        request = codec.encode(reply.rest);
      } catch (error) {
        if (isFirst && isTooLarge(error)) return 'too-large';
        for (const ask of this.takeOpen()) ask.reject(error);
      }
    }
    return 'done';
  }

  /** Those without a reply: nobody waits for them here any more. */
  takeOpen(): readonly Ask[] {
    return [...this.#open.keys()].flatMap((index) => this.#close(index) ?? []);
  }

  #request(data: Uint8Array): Promise<Uint8Array> {
    const { bus, subject, clock } = this.deps;
    let untilMs = 0;
    for (const ask of this.#open.values()) untilMs = Math.max(untilMs, ask.untilMs);
    const timeoutMs = Math.max(1, untilMs - clock.monotonicMs());
    return bus.request(subject, data, { timeoutMs, signal: this.#over.signal });
  }

  #close(index: number): Ask | undefined {
    const ask = this.#open.get(index);
    if (ask === undefined) return undefined;
    this.#open.delete(index);
    this.#stops[index]?.();
    if (this.#open.size === 0) {
      this.#timer?.cancel();
      if (this.#isAsking) this.#over.abort();
    }
    return ask;
  }

  /** One timer for all of them: most have the same time. */
  #arm(): void {
    if (this.#open.size === 0) return;
    let untilMs = Infinity;
    for (const ask of this.#open.values()) untilMs = Math.min(untilMs, ask.untilMs);
    const { clock } = this.deps;
    this.#timer = clock.setTimer(Math.max(1, untilMs - clock.monotonicMs()), () => this.#expire());
  }

  #expire(): void {
    const { clock, subject } = this.deps;
    const nowMs = clock.monotonicMs();
    for (const [index, { untilMs, timeoutMs }] of this.#open) {
      if (untilMs > nowMs) continue;
      const message = `No answer from ${subject} within ${timeoutMs} ms. Call again.`;
      this.#close(index)?.reject(new AntiphonError('TIMEOUT', message));
    }
    this.#arm();
  }

  /** What the other side says instead of replies, or that it says nothing sensible. */
  #noReply(data: Uint8Array): unknown {
    const { codec, path } = this.deps;
    try {
      decodeReply(codec, data, path);
    } catch (error) {
      return error;
    }
    const text = `${path} has not answered all of what it was asked. Check what listens there.`;
    return new AntiphonError('MALFORMED_MESSAGE', text, { context: { remote: path } });
  }
}

function givenUp(subject: string, signal: AbortSignal): AntiphonError {
  return abortError(signal, `The request to ${subject} was given up.`);
}

function isTooLarge(error: unknown): boolean {
  return error instanceof AntiphonError && error.code === 'MESSAGE_TOO_LARGE';
}
