import {
  AntiphonError,
  checkOptions,
  systemClock,
  type Clock,
  type LogConnection,
  type OptionNames,
} from '@antiphon/core';
import { Faults } from '../faults/faults.js';

/** How a connection to the simulated server behaves. */
export interface LinkOptions {
  /**
   * Time and timers.
   * @defaultValue the real clock
   */
  readonly clock?: Clock;
  /**
   * What goes wrong.
   * @defaultValue nothing
   */
  readonly faults?: Faults;
  /**
   * How long a question waits for its answer, in milliseconds; LOG_UNAVAILABLE after that.
   * @defaultValue 2000
   */
  readonly timeoutMs?: number;
}

const LINK_OPTIONS: OptionNames<LinkOptions> = { clock: true, faults: true, timeoutMs: true };
const DEFAULT_TIMEOUT_MS = 2000;

/**
 * One process's connection to the simulated server, for its log, bus and registry alike. Both
 * directions keep the order of sending, as a TCP connection does; what has not arrived when the
 * connection breaks is lost.
 */
export class Link {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly timeoutMs: number;
  readonly #listeners = new Set<(state: LogConnection) => void>();
  #state: LogConnection = 'connected';
  #killed = false;
  #dropped = false;
  #paused = false;
  /** What came while the process was paused. */
  #held: (() => void)[] = [];
  /** Grows with each disconnection: what was sent in an earlier session is lost. */
  #session = 0;
  readonly #outward: (() => void)[] = [];
  readonly #inward: (() => void)[] = [];

  constructor(options: LinkOptions = {}) {
    checkOptions(options, LINK_OPTIONS, 'Link');
    this.clock = options.clock ?? systemClock();
    this.faults = options.faults ?? Faults.none();
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  get state(): LogConnection {
    return this.#state;
  }

  get killed(): boolean {
    return this.#killed;
  }

  onState(listener: (state: LogConnection) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  disconnect(): void {
    if (this.#state === 'connected') this.#become('disconnected');
  }

  reconnect(): void {
    if (this.#state === 'disconnected') this.#become('connected');
  }

  close(): void {
    if (this.#state !== 'closed') this.#become('closed');
  }

  /**
   * The process is gone: nothing is called back, nothing answered. What it had sent may still
   * arrive, or not.
   */
  kill(options: { readonly dropWhatIsUnderWay?: boolean } = {}): void {
    checkOptions(options, { dropWhatIsUnderWay: true }, 'kill()');
    this.#killed = true;
    this.#listeners.clear();
    this.#state = 'closed';
    if (options.dropWhatIsUnderWay !== true) return;
    this.#session++;
    this.#dropped = true;
  }

  /** Not even what is late arrives any more. */
  get dropped(): boolean {
    return this.#dropped;
  }

  /**
   * One message to the server, in order. `arrive` is not called when the connection breaks before.
   */
  send(arrive: () => void): void {
    const session = this.#session;
    this.#travel(this.#outward, () => {
      if (session === this.#session) arrive();
    });
  }

  /**
   * One message from the server, in order; lost when the connection has broken or the process has
   * ended meanwhile.
   */
  receive(arrive: () => void): void {
    const session = this.#session;
    const take = (): void => {
      if (session === this.#session && !this.#killed && this.#state === 'connected') arrive();
    };
    this.#travel(this.#inward, () => this.inProcess(take));
  }

  /**
   * The process stands still: nothing comes to it until it goes on. What it had sent is under way.
   */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    for (const work of this.#held.splice(0)) this.clock.setTimer(0, () => this.inProcess(work));
  }

  /** Something that happens in the process, so not while it is paused. */
  inProcess(work: () => void): void {
    if (this.#paused) this.#held.push(work);
    else work();
  }

  /** A question to the server. LOG_UNAVAILABLE when there is no answer, ABORTED, CLOSED. */
  call<T>(what: string, work: () => T, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const fail = (error: AntiphonError): void => {
        end();
        if (!this.#killed) reject(error);
      };
      const onAbort = (): void =>
        fail(
          new AntiphonError('ABORTED', `The caller gave up waiting to ${what}.`, { cause: signal?.reason }),
        );
      const stopListening = this.onState((state) => {
        if (state !== 'connected') fail(unavailable(what));
      });
      const timer = this.clock.setTimer(this.timeoutMs, () => this.inProcess(() => fail(unavailable(what))));
      const end = (): void => {
        stopListening();
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      if (signal?.aborted === true) return onAbort();
      if (this.#state === 'closed') return fail(closed(what));
      if (this.#state === 'disconnected') return fail(unavailable(what));
      signal?.addEventListener('abort', onAbort, { once: true });
      if (this.faults.strikes('lostCall')) return;
      this.send(() => {
        const answer = attempt(work);
        this.receive(() => {
          end();
          if (answer.ok) resolve(answer.value);
          else reject(answer.error);
        });
      });
    });
  }

  /** Later, whatever becomes of the connection; not after the process has ended. */
  later(delayMs: number, work: () => void): void {
    this.clock.setTimer(delayMs, () =>
      this.inProcess(() => {
        if (!this.#killed) work();
      }),
    );
  }

  #become(state: LogConnection): void {
    this.#state = state;
    if (state !== 'connected') this.#session++;
    for (const listener of [...this.#listeners]) this.inProcess(() => listener(state));
  }

  /**
   * Each time that passes delivers the message in front, whose ever it was: so none overtakes
   * another.
   */
  #travel(queue: (() => void)[], arrive: () => void): void {
    queue.push(arrive);
    const deliver = (): void => queue.shift()?.();
    const latencyMs = this.faults.latencyMs();
    // A real timer takes a millisecond at least; a turn is enough.
    if (latencyMs <= 0) void this.clock.yield().then(deliver);
    else this.clock.setTimer(latencyMs, deliver);
  }
}

function attempt<T>(
  work: () => T,
): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown } {
  try {
    return { ok: true, value: work() };
  } catch (error) {
    return { ok: false, error };
  }
}

export function unavailable(what: string): AntiphonError {
  return new AntiphonError(
    'LOG_UNAVAILABLE',
    `Cannot ${what}: no answer. The in-memory server is disconnected, or lost the message.`,
  );
}

export function closed(what: string): AntiphonError {
  return new AntiphonError('CLOSED', `Cannot ${what}: the connection is closed. Connect again.`);
}
