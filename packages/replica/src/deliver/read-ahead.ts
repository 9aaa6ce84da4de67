import type { LogEntry, LogReader } from '@antiphon/core';

export interface ReadLimits {
  readonly maxEntries: number;
  readonly maxBytes: number;
}

/**
 * Reads on while entries wait for their turn, so that what comes meanwhile can go into the same
 * database transaction. Together no more than the limits; a group that fills half of them goes as
 * it is, since small rests would only make small groups.
 */
export class ReadAhead {
  #arrived: readonly LogEntry[] = [];
  #reading: Promise<void> | undefined;
  #failure: { readonly thrown: unknown } | undefined;
  /** What waits for its turn. */
  #waiting: readonly LogEntry[] | undefined;

  constructor(
    private readonly reader: Pick<LogReader, 'next'>,
    private readonly limits: ReadLimits,
    private readonly signal: AbortSignal,
  ) {}

  /** The next entries in log order, at least one; waits for it. Rejects as the reader does. */
  async next(): Promise<readonly LogEntry[]> {
    this.#waiting = undefined;
    while (this.#arrived.length === 0) {
      if (this.#failure !== undefined) throw this.#failure.thrown;
      await (this.#reading ?? this.#read(this.limits));
    }
    return this.take(() => true);
  }

  /** From here on until the next call of `next`. */
  begin(waiting: readonly LogEntry[]): void {
    this.#waiting = waiting;
    this.#readOn();
  }

  /** What has arrived by now, up to the first entry that does not go with the others. */
  take(goes: (entry: LogEntry) => boolean): readonly LogEntry[] {
    const end = this.#arrived.findIndex((entry) => !goes(entry));
    const taken = end === -1 ? this.#arrived : this.#arrived.slice(0, end);
    this.#arrived = end === -1 ? [] : this.#arrived.slice(end);
    return taken;
  }

  #readOn(): void {
    if (this.#waiting === undefined || this.#reading !== undefined || this.#failure !== undefined) return;
    const { maxEntries, maxBytes } = this.limits;
    const held = [...this.#waiting, ...this.#arrived];
    const room = {
      maxEntries: maxEntries - held.length,
      maxBytes: maxBytes - held.reduce((bytes, { data }) => bytes + data.length, 0),
    };
    if (room.maxEntries >= maxEntries / 2 && room.maxBytes >= maxBytes / 2) void this.#read(room);
  }

  #read(limits: ReadLimits): Promise<void> {
    this.#reading = this.reader
      .next({ ...limits, signal: this.signal })
      .then(
        (entries) => {
          this.#arrived = this.#arrived.length === 0 ? entries : [...this.#arrived, ...entries];
        },
        (thrown: unknown) => {
          this.#failure = { thrown };
        },
      )
      .then(() => {
        this.#reading = undefined;
        this.#readOn();
      });
    return this.#reading;
  }
}
