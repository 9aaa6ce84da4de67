import { AntiphonError } from '@antiphon/core';
import { grantedSubject, lastingSubject, type DeniedOperation } from './granted-subject.js';

export type { DeniedOperation } from './granted-subject.js';

/** Something that NATS does not let this client do. It stands until it is known to be permitted. */
export interface Denial {
  readonly operation: DeniedOperation;
  /**
   * As an operator would grant it: `*` or `>` for the parts that differ each time. Empty for a
   * login.
   */
  readonly subject: string;
  /** What happened, and what to do. */
  readonly message: string;
  readonly sinceMs: number;
  readonly count: number;
}

export type DenialEvent = { readonly type: 'begun' | 'over'; readonly denial: Denial };

/** The server answers a publish that it does not permit well within this. */
const GRACE_MS = 1500;
const SWEEP_INTERVAL_MS = 500;
/** A denial of what nobody tries any more. */
const FORGET_MS = 10 * 60_000;
/**
 * What is still wanted is tried again within this; when others of its kind are permitted, so is the
 * rest.
 */
const QUIET_MS = 30_000;
const MAX_DENIALS = 64;
const MAX_NAMES = 64;

/** Of `performance.now()`: the last denial, and the first attempt after it. */
interface Tried {
  deniedMs: number;
  attemptedMs: number;
}

interface Standing {
  readonly operation: DeniedOperation;
  readonly subject: string;
  readonly message: string;
  readonly sinceMs: number;
  count: number;
  /**
   * By lasting subject. Whoever grants less than docs/access.md lists permits some of them and not
   * the others, which is not the end.
   */
  readonly names: Map<string, Tried>;
  /** Of `performance.now()`: when one of them was permitted last. */
  permittedMs: number;
}

/**
 * What NATS does not permit, each told once when it begins and once when it is over. The server
 * reports a denial on the connection, not as an answer to what was asked: whoever waits for that
 * answer listens here.
 */
export class Denials {
  readonly #standing = new Map<string, Standing>();
  readonly #listeners = new Set<(event: DenialEvent) => void>();
  readonly #deniedListeners = new Set<(operation: DeniedOperation, subject: string) => void>();
  #sweeper: NodeJS.Timeout | undefined;
  #patient = false;

  constructor(
    private readonly shownServers: string,
    private readonly inboxPrefix = '_INBOX',
  ) {}

  /**
   * From now on a denial counts as something that passes: what is running waits for it instead of
   * ending.
   */
  bePatient(): void {
    this.#patient = true;
  }

  get any(): boolean {
    return this.#standing.size > 0;
  }

  get all(): readonly Denial[] {
    return [...this.#standing.values()].map(toDenial);
  }

  /**
   * Called when something begins to be denied, and when that is over. Returns how to stop
   * listening.
   */
  on(listener: (event: DenialEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Called at every denial, with the very subject. Returns how to stop listening. */
  onDenied(listener: (operation: DeniedOperation, subject: string) => void): () => void {
    this.#deniedListeners.add(listener);
    return () => this.#deniedListeners.delete(listener);
  }

  isDenied(operation: DeniedOperation, subject: string): boolean {
    return this.#standing.has(`${operation} ${this.#granted(operation, subject)}`);
  }

  denied(operation: DeniedOperation, exactSubject: string): void {
    const subject = this.#granted(operation, exactSubject);
    const nowMs = performance.now();
    const known = this.#standing.get(`${operation} ${subject}`);
    if (known !== undefined) {
      known.count += 1;
      this.#note(known, exactSubject, nowMs);
    } else if (this.#standing.size < MAX_DENIALS) this.#begin(operation, subject, exactSubject);
    for (const listener of [...this.#deniedListeners]) listener(operation, exactSubject);
  }

  /** Something is being published to this subject again. */
  attempted(exactSubject: string): void {
    const tried = this.#find('publish', exactSubject)?.names.get(this.#lasting('publish', exactSubject));
    if (tried !== undefined && tried.attemptedMs <= tried.deniedMs) tried.attemptedMs = performance.now();
  }

  /** It was permitted. */
  permitted(operation: DeniedOperation, exactSubject: string): void {
    if (!this.any) return;
    const standing = this.#find(operation, exactSubject);
    if (standing === undefined) return;
    standing.permittedMs = performance.now();
    standing.names.delete(this.#lasting(operation, exactSubject));
    this.#review(standing);
  }

  /** For whoever needed it. */
  errorFor(operation: DeniedOperation, exactSubject: string): AntiphonError {
    const subject = this.#granted(operation, exactSubject);
    return new AntiphonError('ACCESS_DENIED', messageOf(operation, subject, this.shownServers), {
      retriable: this.#patient,
      context: { operation, subject, servers: this.shownServers },
    });
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.#listeners.clear();
    this.#deniedListeners.clear();
  }

  #begin(operation: DeniedOperation, subject: string, exactSubject: string): void {
    const message = messageOf(operation, subject, this.shownServers);
    const names = new Map<string, Tried>();
    const permittedMs = Number.NEGATIVE_INFINITY;
    const standing = { operation, subject, message, sinceMs: Date.now(), count: 1, names, permittedMs };
    this.#note(standing, exactSubject, performance.now());
    this.#standing.set(`${operation} ${subject}`, standing);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_INTERVAL_MS).unref();
    this.#tell({ type: 'begun', denial: toDenial(standing) });
  }

  #note({ operation, names }: Standing, exactSubject: string, nowMs: number): void {
    const name = this.#lasting(operation, exactSubject);
    const known = names.get(name);
    if (known !== undefined) known.deniedMs = nowMs;
    else if (names.size < MAX_NAMES) names.set(name, { deniedMs: nowMs, attemptedMs: nowMs });
  }

  /** A login says so itself when it is permitted. */
  #sweep(): void {
    for (const standing of [...this.#standing.values()]) {
      if (standing.operation !== 'login') this.#review(standing);
    }
  }

  /**
   * A name is over when it was tried again without a denial, or no more; all is over with the last
   * one.
   */
  #review(standing: Standing): void {
    const nowMs = performance.now();
    for (const [name, { deniedMs, attemptedMs }] of standing.names) {
      const triedAgain = attemptedMs > deniedMs && nowMs - attemptedMs > GRACE_MS;
      if (triedAgain) standing.permittedMs = Math.max(standing.permittedMs, attemptedMs);
      const quiet = standing.permittedMs > deniedMs && nowMs - deniedMs > QUIET_MS;
      const forgotten = nowMs - Math.max(attemptedMs, deniedMs) > FORGET_MS;
      if (triedAgain || quiet || forgotten) standing.names.delete(name);
    }
    if (standing.names.size === 0) this.#end(standing);
  }

  #end(standing: Standing): void {
    if (!this.#standing.delete(`${standing.operation} ${standing.subject}`)) return;
    if (this.#standing.size === 0) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
    this.#tell({ type: 'over', denial: toDenial(standing) });
  }

  #tell(event: DenialEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #find(operation: DeniedOperation, exactSubject: string): Standing | undefined {
    return this.#standing.get(`${operation} ${this.#granted(operation, exactSubject)}`);
  }

  #granted(operation: DeniedOperation, exactSubject: string): string {
    return grantedSubject(operation, exactSubject, {
      inboxPrefix: this.inboxPrefix,
      running: this.#patient,
    });
  }

  #lasting(operation: DeniedOperation, exactSubject: string): string {
    return lastingSubject(operation, exactSubject, this.inboxPrefix);
  }
}

function toDenial({ operation, subject, message, sinceMs, count }: Standing): Denial {
  return { operation, subject, message, sinceMs, count };
}

function messageOf(operation: DeniedOperation, subject: string, servers: string): string {
  if (operation === 'login') {
    return (
      `NATS at ${servers} refuses the login of this client. Correct its user name and password, token, nkey or ` +
      'credentials, or the users of nats-server.'
    );
  }
  const verb = operation === 'publish' ? 'publish to' : 'subscribe to';
  const inbox =
    operation === 'subscribe' && subject.startsWith('_INBOX')
      ? ', or set `inboxPrefix` to what that user may subscribe to'
      : '';
  return (
    `NATS at ${servers} does not permit this client to ${verb} "${subject}". Grant it to the client's user${inbox}. ` +
    'docs/access.md lists what each role needs.'
  );
}
