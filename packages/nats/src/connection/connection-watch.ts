import { AntiphonError, type LogConnection } from '@antiphon/core';
import { ErrorCode, Events, type NatsConnection, type Status } from 'nats';
import { AbandonedDials } from './abandoned-dials.js';
import type { Denials } from './denials.js';
import type { ProblemReporter } from './problem-reporter.js';

const REFUSED_LOGINS = new Set<string>([
  ErrorCode.AuthorizationViolation,
  ErrorCode.AuthenticationExpired,
  ErrorCode.AccountExpired,
]);

/** Whether the connection is up, for everything that lives on it. */
export class ConnectionWatch {
  #state: LogConnection = 'connected';
  #reconnects = 0;
  readonly #listeners = new Set<(state: LogConnection) => void>();
  readonly #dials: AbandonedDials;

  constructor(
    connection: NatsConnection,
    private readonly problems: ProblemReporter,
    private readonly denials: Denials,
  ) {
    this.#dials = new AbandonedDials(connection);
    void this.#follow(connection);
    void connection.closed().then(() => this.#become('closed'));
  }

  get state(): LogConnection {
    return this.#state;
  }

  get reconnects(): number {
    return this.#reconnects;
  }

  /** Called on every change, in the order of registration; returns how to stop listening. */
  on(listener: (state: LogConnection) => void): () => void {
    const guarded = this.problems.guard('a connection change', listener);
    this.#listeners.add(guarded);
    return () => this.#listeners.delete(guarded);
  }

  /** Ends as soon as the state is no longer `disconnected`. */
  async settled(signal: AbortSignal): Promise<void> {
    if (this.#state !== 'disconnected' || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const stop = this.on((state) => state !== 'disconnected' && done());
      const done = (): void => {
        stop();
        signal.removeEventListener('abort', done);
        resolve();
      };
      signal.addEventListener('abort', done, { once: true });
    });
  }

  /** The connection is being closed: no waiting for the client to find out. */
  close(): void {
    this.#become('closed');
  }

  /** The connection was closed. */
  hangUp(): void {
    this.#dials.close();
  }

  async #follow(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      this.#dials.look();
      if (status.type === Events.Disconnect) this.#become('disconnected');
      else if (status.type === Events.Reconnect) this.#become('connected');
      else if (status.type === Events.Error) this.#report(status);
    }
  }

  #report(status: Status): void {
    const denied = status.permissionContext;
    if (denied !== undefined) {
      this.denials.denied(denied.operation === 'publish' ? 'publish' : 'subscribe', denied.subject);
      return;
    }
    const text = String(status.data);
    if (REFUSED_LOGINS.has(text)) return this.denials.denied('login', '');
    const message = `NATS answered with an error: ${text}. Look at the log of nats-server.`;
    this.problems.report(new AntiphonError('LOG_REFUSED', message));
  }

  #become(state: LogConnection): void {
    // The client tells some changes twice; after `closed` nothing counts.
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    if (state === 'connected') {
      this.#reconnects += 1;
      this.denials.permitted('login', '');
    }
    for (const listener of [...this.#listeners]) listener(state);
  }
}
