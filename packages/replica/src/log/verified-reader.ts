import { AntiphonError, type KnownEntry, type LogEntry, type LogReader } from '@antiphon/core';

/** Whether the log is still the one that is known. */
export interface Trust {
  readonly isTrusted: boolean;
  /** Resolves when it is. Throws LOG_REPLACED, ABORTED. */
  trusted(signal: AbortSignal): Promise<void>;
  note(entry: KnownEntry): void;
}

/** Hands out what was read only while the log is known to be the same (I14). */
export class VerifiedReader implements LogReader {
  readonly #closed = new AbortController();
  /** Read, and not handed out: the caller gave up while the log was being compared. */
  #kept: readonly LogEntry[] = [];

  constructor(
    private readonly reader: LogReader,
    private readonly log: Trust,
  ) {}

  async next(limits: Parameters<LogReader['next']>[0]): Promise<readonly LogEntry[]> {
    const entries = this.#kept.length > 0 ? this.#kept : await this.reader.next(limits);
    this.#kept = entries;
    if (!this.log.isTrusted) await this.#trusted(limits.signal);
    this.#kept = [];
    const last = entries.at(-1);
    if (last !== undefined) this.log.note({ seq: last.seq, storedAtMs: last.storedAtMs });
    return entries;
  }

  ack(seq: number): void {
    this.reader.ack(seq);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.reader.close();
  }

  async #trusted(signal: AbortSignal | undefined): Promise<void> {
    const { signal: closed } = this.#closed;
    try {
      await this.log.trusted(signal === undefined ? closed : AbortSignal.any([signal, closed]));
    } catch (error) {
      if (closed.aborted) throw new AntiphonError('CLOSED', 'The reader is closed. Open a new one.');
      throw error;
    }
  }
}
