import { AntiphonError, checkOptions, type Bus, type BusHeaders, type OptionNames } from '@antiphon/core';
import { msgpackCodec, type Codec } from './codec.js';
import { ASK_OPTIONS, type AskOptions, type Protocol, type Ref, type Untyped } from '../protocol.js';
import { AskBundler, type BundlingOptions } from './ask-bundler.js';
import { decodeReply } from './reply.js';

const DEFAULT_TIMEOUT_MS = 5000;
const DEFAULT_MAX_IN_FLIGHT = 1000;
/** 24 days: the longest a timer can wait. */
const LONGEST_MS = 2 ** 31 - 1;

export interface RemoteRefOptions {
  readonly codec?: Codec;
  /**
   * For asks without a timeout of their own, in milliseconds.
   * @defaultValue 5000
   */
  readonly timeoutMs?: number;
  /**
   * Maximum unanswered asks of this reference; the next one is OVERLOADED.
   * @defaultValue 1000
   */
  readonly maxInFlight?: number;
  /**
   * Commands without effects: what is asked in the same turn of the event loop goes as one message,
   * where the other side takes that. What has headers goes alone.
   * @defaultValue none
   */
  readonly bundling?: BundlingOptions;
  /**
   * Called at each ask: what goes with the request beside its data, for whoever has to do with
   * requests rather than with what they ask (a trace, for example).
   * @defaultValue nothing
   */
  readonly headers?: () => BusHeaders | undefined;
}

const REMOTE_OPTIONS: OptionNames<RemoteRefOptions> = {
  ...{ codec: true, timeoutMs: true, maxInFlight: true, bundling: true, headers: true },
};

/**
 * An actor that another process (or this one) has exposed under `prefix`. As a local reference,
 * with these differences: requests and replies are copied; replies are not validated, trust is the
 * bus's matter; whether a message was handled before a TIMEOUT is not known; `tell` tells nothing
 * about the other side. Its end is not watched: members of a cluster notice each other's end by
 * heartbeats.
 */
export function remoteRef<P extends Protocol<P>>(
  bus: Bus,
  prefix: string,
  options: RemoteRefOptions = {},
): Ref<P> {
  return new RemoteRef(bus, prefix, options) as unknown as Ref<P>;
}

class RemoteRef implements Ref<Untyped> {
  readonly #codec: Codec;
  readonly #timeoutMs: number;
  readonly #maxInFlight: number;
  /** By their command. */
  readonly #bundlers: ReadonlyMap<string, AskBundler>;
  #inFlight = 0;

  constructor(
    private readonly bus: Bus,
    readonly path: string,
    private readonly options: RemoteRefOptions,
  ) {
    checkOptions(options, REMOTE_OPTIONS, 'remoteRef()');
    this.#codec = options.codec ?? msgpackCodec;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#maxInFlight = options.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT;
    const { bundling } = options;
    const bundlers = bundling?.commands.map((command): [string, AskBundler] => {
      const deps = { bus, path, subject: `${path}.${command}`, codec: this.#codec, clock: bundling.clock };
      return [command, new AskBundler(deps)];
    });
    this.#bundlers = new Map(bundlers);
  }

  tell(type: string, request?: unknown): boolean {
    try {
      this.bus.publish(`${this.path}.${type}`, this.#codec.encode(request));
      return true;
    } catch {
      return false;
    }
  }

  async ask(type: string, request?: unknown, options: AskOptions = {}): Promise<unknown> {
    checkOptions(options, ASK_OPTIONS, 'ask()');
    const { timeoutMs = this.#timeoutMs, signal } = options;
    const data = this.#encode(type, request);
    if (this.#inFlight >= this.#maxInFlight) throw this.#overloaded();
    this.#inFlight++;
    try {
      const headers = this.options.headers?.();
      const limits = {
        timeoutMs: Math.min(timeoutMs, LONGEST_MS),
        ...(signal === undefined ? {} : { signal }),
        ...(headers && { headers }),
      };
      const bundler = headers === undefined ? this.#bundlers.get(type) : undefined;
      const reply = await (bundler === undefined
        ? this.bus.request(`${this.path}.${type}`, data, limits)
        : bundler.ask(data, limits));
      return decodeReply(this.#codec, reply, this.path, bundler && (() => (bundler.understood = true)));
    } finally {
      this.#inFlight--;
    }
  }

  #encode(type: string, request: unknown): Uint8Array {
    try {
      return this.#codec.encode(request);
    } catch (cause) {
      const message = `The request for ${type} of ${this.path} cannot be encoded. Send plain data.`;
      throw new AntiphonError('BAD_OPTION', message, { cause });
    }
  }

  #overloaded(): AntiphonError {
    const message = `${this.#maxInFlight} questions to ${this.path} are unanswered. Wait for some before asking more.`;
    return new AntiphonError('OVERLOADED', message, { context: { actor: this.path, started: false } });
  }
}
