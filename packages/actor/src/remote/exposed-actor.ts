import {
  AntiphonError,
  checkOptions,
  type Bus,
  type BusRequest,
  type Clock,
  type OptionNames,
  sentence,
} from '@antiphon/core';
import { messageOf } from '../errors.js';
import type { AskOptions, MessageType, Protocol, Ref, RequestOf } from '../protocol.js';
import { MOST_BUNDLED, parseBundle } from './bundle.js';
import { BundleDesk } from './bundle-desk.js';
import { msgpackCodec, type Codec } from './codec.js';
import { encodeError, encodeValue, type ReplyMark } from './reply.js';

const DEFAULT_MAX_REQUEST_BYTES = 1024 * 1024;
/** One token of a subject. */
const COMMAND = /^[A-Za-z0-9_-]+$/;

/**
 * Makes a request of what came over the wire or throws, best an AntiphonError; anything else
 * becomes MALFORMED_MESSAGE with its text. The actor never sees what this has not accepted.
 */
export type Validator<R> = (input: unknown) => R;

/** The messages that may come from outside; all others stay local. */
export type RemoteCommands<P> = { readonly [K in MessageType<P>]?: Validator<RequestOf<P, K>> };

/** A request that was accepted, on its way to the actor. */
export interface Incoming {
  readonly command: string;
  readonly request: unknown;
  /** Of a header of the message, whatever the case of its name. */
  header(name: string): string | undefined;
}

export interface ExposeOptions {
  readonly codec?: Codec;
  /**
   * How long an asked message may take, in milliseconds. The asker has its own limit.
   * @defaultValue the actor's
   */
  readonly timeoutMs?: number;
  /**
   * Maximum bytes of a request; a larger one is refused undecoded.
   * @defaultValue 1 MiB
   */
  readonly maxRequestBytes?: number;
  /**
   * Commands of which one message may have several requests, each a map.
   * @defaultValue none
   */
  readonly bundles?: { readonly commands: readonly string[]; readonly clock: Clock };
  /**
   * Around every question, not what is only told: `ask` gives the actor a request, which may have
   * more fields than the one that came. What it returns or throws is the answer.
   * @defaultValue the actor is asked
   */
  readonly around?: (incoming: Incoming, ask: (request: unknown) => Promise<unknown>) => Promise<unknown>;
}

const EXPOSE_OPTIONS: OptionNames<ExposeOptions> = {
  ...{ codec: true, timeoutMs: true, maxRequestBytes: true, bundles: true, around: true },
};
/** To a request that came alone, where several may come together. */
const BUNDLES: ReplyMark = { bundles: true };

export interface ExposureStats {
  readonly received: number;
  /** Undecodable, too large, or not accepted by the validator: never reached the actor. */
  readonly refused: number;
  /** Tells that the mailbox had no room for. */
  readonly dropped: number;
  /** Answers that could not be encoded or handed to the bus. */
  readonly unsent: number;
}

export interface Exposure {
  readonly stats: ExposureStats;
  /** Idempotent. What is in the mailbox already is still answered. */
  close(): void;
}

/**
 * Lets others send `commands` to an actor, each on the subject `<prefix>.<command>`; `remoteRef` is
 * the other end.
 */
export function exposeActor<P extends Protocol<P>>(
  ref: Ref<P>,
  bus: Bus,
  prefix: string,
  commands: RemoteCommands<NoInfer<P>>,
  options: ExposeOptions = {},
): Exposure {
  checkOptions(options, EXPOSE_OPTIONS, 'exposeActor()');
  const endpoint = new Endpoint(ref as unknown as UntypedRef, options);
  const entries = Object.entries(commands) as [string, Validator<unknown>][];
  const unfit = entries.find(([command]) => !COMMAND.test(command));
  if (unfit !== undefined)
    throw new AntiphonError('BAD_OPTION', `${unfit[0]} cannot be a token of a subject.`);
  const subscriptions = entries.map(([command, validate]) =>
    bus.subscribe(`${prefix}.${command}`, (incoming) => endpoint.receive(command, validate, incoming)),
  );
  return {
    get stats() {
      return { ...endpoint.stats };
    },
    close: () => {
      for (const subscription of subscriptions.splice(0)) subscription.unsubscribe();
    },
  };
}

interface UntypedRef {
  readonly path: string;
  tell(type: string, request: unknown): boolean;
  ask(type: string, request: unknown, options: AskOptions): Promise<unknown>;
}

/** What becomes of a request; absent where the sender wants no reply. */
type Reply = ((encode: (mark?: ReplyMark) => Uint8Array) => void) | undefined;

interface Arrived {
  readonly command: string;
  readonly validate: Validator<unknown>;
  readonly decode: () => unknown;
  readonly reply: Reply;
  /** The message that it came in. */
  readonly incoming: BusRequest;
}

class Endpoint {
  readonly stats = { received: 0, refused: 0, dropped: 0, unsent: 0 };
  readonly #codec: Codec;
  readonly #bundled: ReadonlySet<string>;
  readonly #desk: BundleDesk | undefined;

  constructor(
    private readonly ref: UntypedRef,
    private readonly options: ExposeOptions,
  ) {
    const { codec = msgpackCodec, bundles } = options;
    this.#codec = codec;
    this.#bundled = new Set(bundles?.commands);
    const unsendable = (thrown: unknown): AntiphonError => this.#unsendable(thrown);
    if (bundles !== undefined) this.#desk = new BundleDesk({ codec, clock: bundles.clock, unsendable });
  }

  /** Never throws: it is called from a reader loop. */
  receive(command: string, validate: Validator<unknown>, incoming: BusRequest): void {
    const mark = this.#bundled.has(command) ? BUNDLES : undefined;
    const reply: Reply = incoming.respond && ((encode) => this.#respond(incoming, () => encode(mark)));
    let input: unknown;
    try {
      input = this.#decode(incoming.data);
      if (mark !== undefined && this.#receiveBundle(command, validate, input, incoming)) return;
    } catch (thrown) {
      this.stats.received++;
      return this.#refuse(command, thrown, reply);
    }
    this.#handle({ command, validate, decode: () => input, reply, incoming });
  }

  /** False: it is a single request. Throws where it is a bundle that is too large. */
  #receiveBundle(
    command: string,
    validate: Validator<unknown>,
    input: unknown,
    incoming: BusRequest,
  ): boolean {
    // One that wants no replies is no bundle, nor anything else.
    const bundle = incoming.respond && parseBundle(input);
    if (bundle === undefined || this.#desk === undefined) return false;
    if (typeof bundle === 'string') {
      this.#desk.attend(bundle, incoming);
      return true;
    }
    if (bundle.length > MOST_BUNDLED) {
      const text = `${bundle.length} requests came in one message. Send ${MOST_BUNDLED} at most.`;
      throw new AntiphonError('MESSAGE_TOO_LARGE', text);
    }
    const open = this.#desk.open(bundle.length, incoming);
    for (const [index, data] of bundle.entries()) {
      const reply: Reply = (encode) => open.reply(index, this.#encoded(encode));
      this.#handle({ command, validate, decode: () => this.#codec.decode(data), reply, incoming });
    }
    return true;
  }

  #handle({ command, validate, decode, reply, incoming }: Arrived): void {
    this.stats.received++;
    let request: unknown;
    try {
      request = validate(decode());
    } catch (thrown) {
      return this.#refuse(command, thrown, reply);
    }
    if (reply === undefined) {
      if (!this.ref.tell(command, request)) this.stats.dropped++;
      return;
    }
    void this.#ask(command, request, incoming).then(
      (value) => reply((mark) => encodeValue(this.#codec, value, mark)),
      (error: unknown) => reply((mark) => encodeError(this.#codec, error, mark)),
    );
  }

  #ask(command: string, request: unknown, incoming: BusRequest): Promise<unknown> {
    const { timeoutMs, around } = this.options;
    const ask = (what: unknown): Promise<unknown> =>
      this.ref.ask(command, what, timeoutMs === undefined ? {} : { timeoutMs });
    if (around === undefined) return ask(request);
    return around({ command, request, header: (name) => incoming.header?.(name) }, ask);
  }

  #refuse(command: string, thrown: unknown, reply: Reply): void {
    this.stats.refused++;
    reply?.((mark) => encodeError(this.#codec, this.#badRequest(command, thrown), mark));
  }

  #decode(data: Uint8Array): unknown {
    const { maxRequestBytes = DEFAULT_MAX_REQUEST_BYTES } = this.options;
    if (data.byteLength <= maxRequestBytes) return this.#codec.decode(data);
    const text = `A request of ${data.byteLength} bytes is over the limit of ${maxRequestBytes}. Send less at once.`;
    throw new AntiphonError('MESSAGE_TOO_LARGE', text);
  }

  #badRequest(command: string, thrown: unknown): AntiphonError {
    if (thrown instanceof AntiphonError) return thrown;
    const text = `Bad request for ${command} of ${this.ref.path}: ${sentence(messageOf(thrown))}`;
    return new AntiphonError('MALFORMED_MESSAGE', text);
  }

  #respond(incoming: BusRequest, encode: () => Uint8Array): void {
    try {
      incoming.respond?.(encode());
    } catch (thrown) {
      const error = this.#unsendable(thrown);
      try {
        incoming.respond?.(encodeError(this.#codec, error));
      } catch {
        // The bus is gone; the asker's timeout tells it.
      }
    }
  }

  /** A reply of a bundle. */
  #encoded(encode: () => Uint8Array): Uint8Array {
    try {
      return encode();
    } catch (thrown) {
      return encodeError(this.#codec, this.#unsendable(thrown));
    }
  }

  /** The answer cannot be encoded, or handed to the bus. */
  #unsendable(thrown: unknown): AntiphonError {
    this.stats.unsent++;
    const text = `${this.ref.path} answered, but the answer cannot be sent: ${sentence(messageOf(thrown))}`;
    // Too large for the bus, for example: the asker can do something about that.
    const code = thrown instanceof AntiphonError ? thrown.code : 'INTERNAL';
    return new AntiphonError(code, text);
  }
}
