import { AntiphonError, type Clock, type Timer } from '@antiphon/core';
import { setMaxListeners } from 'node:events';
import type { ActorRef, Behaviour, Context, Received, SpawnOptions, Watchable } from './behaviour.js';
import { Children } from './children.js';
import { Envelope } from './envelope.js';
import { actorStopped, overLimit, unknownMessage } from './errors.js';
import type { Kernel } from './kernel.js';
import { TERMINATED, type Mailbox } from './mailbox.js';
import { NO_REPLY, type NoReply } from './no-reply.js';
import type { Protocol, Untyped } from './protocol.js';

/** What an incarnation needs of its actor. */
export interface Host {
  readonly path: string;
  readonly ref: ActorRef<Untyped>;
  readonly kernel: Kernel;
  readonly mailbox: Mailbox;
  /** Past the capacity of the mailbox. */
  deliver(envelope: Envelope): void;
  endIncarnation(): void;
}

/** Timers and watches of one actor; a one-shot counts until its message is handled. */
const MAX_SOURCES = 1000;

/** One life of an actor, from its start to its stop or crash, and all that ends with it. */
export class Incarnation implements Context<Untyped> {
  readonly path: string;
  readonly self: ActorRef<Untyped>;
  readonly clock: Clock;
  readonly children: Children;
  behaviour: Behaviour<Untyped> | undefined;
  /** What the current turn took beyond the message that its handler was called with. */
  taken: Envelope[] = [];
  /** No further turn begins. */
  ending = false;
  /** Why it is ending, unless it was asked to stop. */
  failure: { readonly error: unknown } | undefined;
  /** Something of it could not be ended in time and may still run. */
  abandoned = false;
  readonly #abort = new AbortController();
  /** Timers and watches. */
  readonly #sources = new Set<Timer>();

  constructor(private readonly host: Host) {
    this.path = host.path;
    this.self = host.ref;
    this.clock = host.kernel.clock;
    this.children = new Children(host.kernel, host.path, (error) => this.crash(error));
    setMaxListeners(0, this.signal);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  spawn<C extends Protocol<C>>(
    name: string,
    create: () => Behaviour<C>,
    options?: SpawnOptions<C>,
  ): ActorRef<C> {
    return this.children.spawn(name, create, options);
  }

  watch(target: Watchable): Timer {
    if (this.behaviour?.terminated === undefined) {
      throw new AntiphonError(
        'BAD_OPTION',
        `${this.path} cannot watch ${target.path}. Give it a terminated().`,
      );
    }
    return this.#source(TERMINATED, true, (fire) => target.onEnd(fire));
  }

  after(delayMs: number, type: string, request: unknown): Timer {
    return this.#source(type, true, (fire) => this.clock.setTimer(delayMs, () => fire(request)));
  }

  every(intervalMs: number, type: string, request: unknown): Timer {
    return this.#source(type, false, (fire) => {
      const tick = (): void => {
        timer = this.clock.setTimer(intervalMs, tick);
        fire(request);
      };
      let timer = this.clock.setTimer(intervalMs, tick);
      return { cancel: () => timer.cancel() };
    });
  }

  takeWaiting<K extends string>(type: K, limit: number): readonly Received<Untyped, K>[] {
    const taken = this.ending ? [] : (this.host.mailbox.laneOf(type)?.takeType(type, limit) ?? []);
    for (const envelope of taken) envelope.start();
    this.taken.push(...taken);
    return taken as unknown as readonly Received<Untyped, K>[];
  }

  stop(): void {
    if (!this.ending) void this.self.stop();
  }

  crash(error: unknown): NoReply {
    if (this.ending) return NO_REPLY;
    this.failure = { error };
    this.host.endIncarnation();
    return NO_REPLY;
  }

  /** Nothing new comes from this incarnation any more. */
  end(): void {
    if (this.ending) return;
    this.ending = true;
    this.children.close();
    for (const source of this.#sources) source.cancel();
    this.#abort.abort(actorStopped({ actor: this.path, message: 'what it was doing', started: true }));
  }

  /**
   * Something that sends messages to this actor itself until it is cancelled or the incarnation
   * ends.
   */
  #source(type: string, once: boolean, open: (fire: (request: unknown) => void) => Timer): Timer {
    if (this.ending) throw actorStopped({ actor: this.path, message: type, started: false });
    const misspelt = this.host.mailbox.laneOf(type) === undefined;
    if (misspelt) throw unknownMessage({ actor: this.path, message: type, started: false });
    if (this.#sources.size >= MAX_SOURCES) throw overLimit(this.path, 'timers and watches', MAX_SOURCES);
    let message: Envelope | undefined;
    const source = open((request) => {
      if (message !== undefined && !message.started) return;
      message = new Envelope(type, request, this.path, undefined, () => {
        if (once) this.#sources.delete(handle);
      });
      this.host.deliver(message);
    });
    const handle = {
      cancel: (): void => {
        source.cancel();
        message?.withdraw();
        this.#sources.delete(handle);
      },
    };
    this.#sources.add(handle);
    return handle;
  }
}
