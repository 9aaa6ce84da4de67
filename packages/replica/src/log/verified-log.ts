import {
  abortError,
  AntiphonError,
  type AppendRequest,
  type AppendResult,
  type Clock,
  type KnownEntry,
  type Log,
  type LogConnection,
  type LogEntry,
  type LogIdentity,
  type LogReader,
  sleep,
} from '@antiphon/core';
import { retryDelayMs } from '../wait/deadline.js';
import { confirmedLoss, logReplaced, lossOfEnd, lossOfEntry } from './log-check.js';
import { VerifiedReader } from './verified-reader.js';

/**
 * A log with a memory (I14). A log that lost its newest entries (power cut, restored store) and
 * grew again looks as it should by its length. So the newest entry that is known is read back and
 * compared: after every reconnect, when another server leads the log, when an answer hints at a
 * loss, and when somebody asks. Until that is done nothing is appended, handed to a reader or
 * reported as stored. Once the log has turned out to be another one, everything fails with
 * LOG_REPLACED, for good.
 *
 * What is known: the entry that the database's position names, and from then on what is read and
 * appended here. No append and no read costs a question of its own.
 */
export class VerifiedLog implements Log {
  readonly #listeners = new Set<(connection: LogConnection) => void>();
  readonly #waiters = new Set<() => void>();
  readonly #stopListening: () => void;
  readonly #detached = new AbortController();
  #known: KnownEntry | undefined;
  #leader: string | undefined;
  #replaced: AntiphonError | undefined;
  /** The log on this connection is the one that is known. */
  #sure = true;
  #asking = false;
  /**
   * Grows with every lost connection: what was found before says nothing about the log after it.
   */
  #session = 0;
  #told: LogConnection;

  constructor(
    private readonly log: Log,
    private readonly clock: Clock,
  ) {
    this.#told = log.connection;
    this.#stopListening = log.onConnection((connection) => this.#changed(connection));
  }

  get maxMessageBytes(): number {
    return this.log.maxMessageBytes;
  }

  /** `disconnected` also while it is not known yet whether the log is the same. */
  get connection(): LogConnection {
    const { connection } = this.log;
    const open = connection === 'connected' && !this.#sure && this.#replaced === undefined;
    return open ? 'disconnected' : connection;
  }

  get isTrusted(): boolean {
    return this.#sure && this.#replaced === undefined;
  }

  /** Several servers keep it, and one of them answers for it. */
  get isReplicated(): boolean {
    return this.#leader !== undefined;
  }

  /** The newest entry that is known. */
  get known(): KnownEntry | undefined {
    return this.#known;
  }

  /** The log had this entry. */
  note(entry: KnownEntry): void {
    if (entry.seq > (this.#known?.seq ?? 0)) this.#known = entry;
  }

  /**
   * Is the newest known entry still there?
   * @throws AntiphonError LOG_REPLACED, LOG_UNAVAILABLE, ABORTED
   */
  async verify(signal?: AbortSignal): Promise<void> {
    if (this.#replaced !== undefined) throw this.#replaced;
    const loss = await confirmedLoss({ log: this, clock: this.clock }, () => this.#look(signal), signal);
    if (loss !== undefined) throw this.replace(loss);
  }

  /** Called by whoever has proof. Returns the error that stays. */
  replace(why: string): AntiphonError {
    if (this.#replaced !== undefined) return this.#replaced;
    const error = logReplaced(why, this.#known && { knownSeq: this.#known.seq });
    this.#replaced = error;
    this.#wake();
    return error;
  }

  open(options: { readonly create: boolean; readonly signal?: AbortSignal }): Promise<LogIdentity> {
    return this.log.open(options);
  }

  async identity(signal?: AbortSignal): Promise<LogIdentity> {
    if (this.#replaced !== undefined) throw this.#replaced;
    const before = this.#leader;
    // What is heard meanwhile may be newer than the answer.
    const knownSeq = this.#known?.seq ?? 0;
    let identity = await this.#identity(signal);
    if (lossOfEnd(identity, knownSeq) !== undefined) {
      this.#doubt();
      await this.trusted(signal);
      identity = await this.#identity(signal);
    }
    const { leader } = identity;
    // Another leader may have less than the one before it, and nobody is disconnected over that.
    const moved = leader !== undefined && before !== undefined && leader !== before;
    if (!moved) return identity;
    this.#doubt();
    await this.trusted(signal);
    return identity;
  }

  /**
   * Rejects when no log answers; any will do, also once this one is known to have been replaced.
   */
  async answers(signal?: AbortSignal): Promise<void> {
    await this.log.get(this.#known?.seq ?? 1, signal);
  }

  timeMs(signal?: AbortSignal): Promise<number> {
    return this.log.timeMs(signal);
  }

  append(request: AppendRequest, settled: (result: AppendResult) => void): void {
    const refusal = this.#replaced ?? (this.#sure ? undefined : unverified());
    if (refusal !== undefined) {
      // Not inside the call.
      void this.clock.yield().then(() => settled({ type: 'refused', error: refusal }));
      return;
    }
    const session = this.#session;
    const knownSeq = this.#known?.seq ?? 0;
    this.log.append(request, (result) => {
      this.#heard(request, result, knownSeq);
      this.#deliver(result, session, settled);
    });
  }

  async lastOf(origin: string, signal?: AbortSignal): Promise<LogEntry | undefined> {
    if (this.#replaced !== undefined) throw this.#replaced;
    return this.log.lastOf(origin, signal);
  }

  async get(seq: number, signal?: AbortSignal): Promise<LogEntry | undefined> {
    if (this.#replaced !== undefined) throw this.#replaced;
    return this.log.get(seq, signal);
  }

  forget(durable: string): Promise<void> {
    return this.log.forget(durable);
  }

  async read(options: Parameters<Log['read']>[0]): Promise<LogReader> {
    // Said, not waited for: who reads in a turn must not be held up by a connection that does not
    // come back.
    if (!this.isTrusted) throw this.#replaced ?? unverified();
    return new VerifiedReader(await this.log.read(options), this);
  }

  /**
   * Resolves at once while the log is known to be the same, else when that has turned out.
   * @throws AntiphonError LOG_REPLACED, ABORTED, CLOSED
   */
  async trusted(signal?: AbortSignal): Promise<void> {
    while (this.#replaced === undefined && !this.#sure) await this.#change(signal);
    if (this.#replaced !== undefined) throw this.#replaced;
  }

  onConnection(listener: (connection: LogConnection) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Ends its own work. The log itself stays open: it is the caller's. */
  detach(): void {
    this.#stopListening();
    this.#detached.abort(new AntiphonError('CLOSED', 'The replica is closing.'));
    this.#wake();
    this.#listeners.clear();
  }

  async close(): Promise<void> {
    this.detach();
    await this.log.close();
  }

  #changed(connection: LogConnection): void {
    if (connection !== 'connected') {
      this.#session++;
      this.#sure = this.#known === undefined;
    } else if (!this.#sure) this.#ask();
    this.#wake();
  }

  #doubt(): void {
    if (this.#known === undefined || this.#replaced !== undefined) return;
    this.#sure = false;
    this.#ask();
    this.#wake();
  }

  #ask(): void {
    if (this.#asking) return;
    this.#asking = true;
    void this.#askUntilSure().finally(() => {
      this.#asking = false;
      this.#wake();
      // Connected again within the last step.
      const isOpen = this.log.connection === 'connected' && !this.#detached.signal.aborted;
      if (!this.#sure && this.#replaced === undefined && isOpen) this.#ask();
    });
  }

  async #askUntilSure(): Promise<void> {
    const { signal } = this.#detached;
    for (let attempt = 0; this.log.connection === 'connected' && !signal.aborted; attempt++) {
      const session = this.#session;
      try {
        await this.verify(signal);
        if (session !== this.#session) continue;
        this.#sure = true;
        return;
      } catch (error) {
        if (this.#took(error)) return;
      }
      await sleep(this.clock, retryDelayMs(attempt, this.clock), signal).catch(() => undefined);
    }
  }

  /** Proof of another log, by this one or by the adapter itself. */
  #took(error: unknown): boolean {
    if (error instanceof AntiphonError && error.code === 'LOG_REPLACED') {
      this.#replaced ??= error;
      return true;
    }
    return error instanceof AntiphonError && error.code === 'CLOSED';
  }

  async #identity(signal: AbortSignal | undefined): Promise<LogIdentity> {
    const identity = await this.log.identity(signal);
    this.#leader = identity.leader ?? this.#leader;
    return identity;
  }

  /** What is wrong with the log; undefined when nothing. */
  async #look(signal: AbortSignal | undefined): Promise<string | undefined> {
    const known = this.#known;
    if (known === undefined) return undefined;
    const identity = await this.#identity(signal);
    const loss = lossOfEnd(identity, known.seq);
    if (loss !== undefined) return loss;
    const found = await this.log.get(known.seq, signal);
    // It may have been trimmed in between.
    return lossOfEntry(known, found, found === undefined ? await this.log.identity(signal) : identity);
  }

  /** What an answer says about the log. */
  #heard(request: AppendRequest, result: AppendResult, knownSeq: number): void {
    if (result.type === 'stored') {
      const { seq, duplicate } = result;
      if (duplicate || seq > knownSeq) this.note({ seq, attempt: request.id });
      else
        this.replace(
          `it stored an entry under ${seq}, although it had ${knownSeq} before: the stream was truncated or recreated`,
        );
    } else if (result.type === 'refused') {
      const { expectedLastSeq = 0, expectedLastSeqOfOrigin = 0 } = request;
      const { lastSeq = expectedLastSeq, lastSeqOfOrigin = expectedLastSeqOfOrigin } = result;
      // It is shorter than expected. Trimming makes it so as well.
      if (lastSeq < expectedLastSeq || lastSeqOfOrigin < expectedLastSeqOfOrigin) this.#doubt();
    }
  }

  /** A result is told when it is certain which log it is about; in the order of the answers. */
  #deliver(result: AppendResult, session: number, settled: (result: AppendResult) => void): void {
    const told = (): boolean => {
      const error = this.#replaced ?? (session === this.#session ? undefined : lost());
      if (!this.#sure && error === undefined && !this.#detached.signal.aborted) return false;
      settled(result.type === 'stored' && error !== undefined ? { type: 'unknown', error } : result);
      return true;
    };
    if (told()) return;
    const waiter = (): void => {
      if (told()) this.#waiters.delete(waiter);
    };
    this.#waiters.add(waiter);
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    const signals = [this.#detached.signal, ...(signal === undefined ? [] : [signal])];
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#waiters.delete(done);
        for (const each of signals) each.removeEventListener('abort', onAbort);
      };
      const done = (): void => {
        end();
        resolve();
      };
      const onAbort = (): void => {
        end();
        reject(
          this.#detached.signal.aborted ? closed() : abortError(signal, 'Reading the log was given up.'),
        );
      };
      if (signals.some(({ aborted: already }) => already)) return onAbort();
      this.#waiters.add(done);
      for (const each of signals) each.addEventListener('abort', onAbort, { once: true });
    });
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
    const { connection } = this;
    if (connection === this.#told) return;
    this.#told = connection;
    for (const listener of [...this.#listeners]) listener(connection);
  }
}

function unverified(): AntiphonError {
  return new AntiphonError(
    'LOG_UNAVAILABLE',
    'The connection to NATS is new, and whether the log is the same is still being checked. Nothing was sent. Try again.',
  );
}

function lost(): AntiphonError {
  return new AntiphonError(
    'LOG_UNAVAILABLE',
    'The connection to NATS was lost before it was certain which log the entry is in. Read the log to find out.',
  );
}

function closed(): AntiphonError {
  return new AntiphonError('CLOSED', 'The replica is closing.');
}
