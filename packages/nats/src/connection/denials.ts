import { AntiphonError } from '@antiphon/core';

export type DeniedOperation = 'publish' | 'subscribe' | 'login';

/** Something that NATS does not let this client do. It stands until it is known to be permitted. */
export interface Denial {
  readonly operation: DeniedOperation;
  /** As an operator would grant it: `*` or `>` for the parts that differ each time. Empty for a login. */
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
const MAX_DENIALS = 64;

interface Standing {
  readonly operation: DeniedOperation;
  readonly subject: string;
  readonly message: string;
  readonly sinceMs: number;
  count: number;
  /** Of `performance.now()`: the last denial, and the first attempt after it. */
  deniedMs: number;
  attemptedMs: number;
}

/**
 * What NATS does not permit, each told once when it begins and once when it is over. The server reports a
 * denial on the connection, not as an answer to what was asked: whoever waits for that answer listens here.
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

  /** From now on a denial counts as something that passes: what is running waits for it instead of ending. */
  bePatient(): void {
    this.#patient = true;
  }

  get any(): boolean {
    return this.#standing.size > 0;
  }

  get all(): readonly Denial[] {
    return [...this.#standing.values()].map(toDenial);
  }

  /** Called when something begins to be denied, and when that is over. Returns how to stop listening. */
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
    return this.#standing.has(`${operation} ${this.#grantable(subject)}`);
  }

  denied(operation: DeniedOperation, exactSubject: string): void {
    const subject = this.#grantable(exactSubject);
    const name = `${operation} ${subject}`;
    const nowMs = performance.now();
    const known = this.#standing.get(name);
    if (known !== undefined) {
      known.count += 1;
      known.deniedMs = nowMs;
    } else if (this.#standing.size < MAX_DENIALS) {
      const message = messageOf(operation, subject, this.shownServers);
      const times = { sinceMs: Date.now(), deniedMs: nowMs, attemptedMs: nowMs };
      const standing = { operation, subject, message, count: 1, ...times };
      this.#standing.set(name, standing);
      this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_INTERVAL_MS).unref();
      this.#tell({ type: 'begun', denial: toDenial(standing) });
    }
    for (const listener of [...this.#deniedListeners]) listener(operation, exactSubject);
  }

  /** Something is being published to this subject again. */
  attempted(exactSubject: string): void {
    const standing = this.#standing.get(`publish ${this.#grantable(exactSubject)}`);
    if (standing !== undefined && standing.attemptedMs <= standing.deniedMs)
      standing.attemptedMs = performance.now();
  }

  /** It was permitted. */
  permitted(operation: DeniedOperation, exactSubject: string): void {
    if (this.any) this.#end(`${operation} ${this.#grantable(exactSubject)}`);
  }

  /** For whoever needed it. */
  errorFor(operation: DeniedOperation, exactSubject: string): AntiphonError {
    const subject = this.#grantable(exactSubject);
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

  /** Over: tried again without a denial, or not tried for long. Subscriptions and logins say so themselves. */
  #sweep(): void {
    const nowMs = performance.now();
    for (const [name, { operation, deniedMs, attemptedMs }] of this.#standing) {
      if (operation !== 'publish') continue;
      const triedAgain = attemptedMs > deniedMs && nowMs - attemptedMs > GRACE_MS;
      const forgotten = nowMs - Math.max(attemptedMs, deniedMs) > FORGET_MS;
      if (triedAgain || forgotten) this.#end(name);
    }
  }

  #end(name: string): void {
    const standing = this.#standing.get(name);
    if (standing === undefined) return;
    this.#standing.delete(name);
    if (this.#standing.size === 0) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
    this.#tell({ type: 'over', denial: toDenial(standing) });
  }

  #tell(event: DenialEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** Some tokens are made up for each message; nobody could grant them one by one. */
  #grantable(subject: string): string {
    if (subject.startsWith(`${this.inboxPrefix}.`)) return `${this.inboxPrefix}.>`;
    return subject
      .replace(/^(_INBOX[^.]*)\..*$/, '$1.>')
      .replace(/^(\$JS\.ACK\.[^.]+\.[^.]+)\..*$/, '$1.>')
      .replace(/^(\$JS\.API\.CONSUMER\..*)\.reader_[A-Za-z0-9]+$/, '$1.*');
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
    `NATS at ${servers} does not permit this client to ${verb} "${subject}". Grant it to the client's user${inbox}; ` +
    'docs/access.md lists what each role needs.'
  );
}
