/** How far a sealed message reaches. `part` matters inside a big transaction only. */
export interface SentMark {
  readonly counter: number;
  readonly part: number;
  /** False for a part that others follow: the transaction is not in the log as a whole yet. */
  readonly whole: boolean;
}

export function isBefore(one: SentMark, other: SentMark): boolean {
  return one.counter < other.counter || (one.counter === other.counter && one.part < other.part);
}

export interface Sent {
  /** After this one everything sent before and in it has been read from the outbox. */
  readonly mark: SentMark;
  readonly bytes: number;
  /** The next one goes on with the same message. */
  readonly isPiece?: boolean;
  /** The id of the append. */
  readonly attempt?: string;
}

interface Slot {
  readonly sent: Sent;
  seq: number | undefined;
}

export interface WindowLimits {
  readonly messages: number;
  readonly bytes: number;
}

/**
 * Counters are acknowledged up to and including `counter`; `part` says how far into the next one.
 */
export interface Acknowledged {
  /** Every transaction up to this counter is wholly in the log. */
  readonly counter: number;
  /** Where to go back to. */
  readonly mark: SentMark;
  /** No transaction has begun before `seq` and ends behind it. */
  readonly endsWhole: boolean;
  readonly seq: number;
  /** The id of the append that is stored at `seq`. */
  readonly attempt?: string;
}

/**
 * Go-back-N (Tanenbaum, "Computer Networks", 3.4.2), the sender's side, without any I/O. Messages
 * are acknowledged in the order they were sent; one that failed voids all after it, whatever the
 * log says about those.
 */
export class SendWindow {
  #slots: Slot[] = [];
  #bytes = 0;
  /** Number of the first slot; numbers of an earlier attempt are never given again. */
  #base = 0;
  #highestSeq = 0;

  constructor(private readonly limits: WindowLimits) {}

  get inFlight(): number {
    return this.#slots.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Neither acknowledged for good nor voided. */
  isCurrent(number: number): boolean {
    return number >= this.#base && number < this.#base + this.#slots.length;
  }

  /** The highest sequence that any of ours was ever stored at. */
  get highestSeq(): number {
    return this.#highestSeq;
  }

  get hasRoom(): boolean {
    return this.#slots.length < this.limits.messages && this.#bytes < this.limits.bytes;
  }

  /** Takes a message into the window and returns its number, for `acknowledge`. */
  push(sent: Sent): number {
    this.#slots.push({ sent, seq: undefined });
    this.#bytes += sent.bytes;
    return this.#base + this.#slots.length - 1;
  }

  /**
   * The log stored this one. `regressed`: at a place that the log had already given away, so it is
   * not the log it was. Numbers of a voided attempt mean nothing any more: such a message is sent
   * again in any case, and receivers skip repetitions.
   */
  acknowledge(number: number, seq: number): 'noted' | 'stale' | 'regressed' {
    const slot = number < this.#base ? undefined : this.#slots[number - this.#base];
    if (slot === undefined) return 'stale';
    if (seq <= this.#highestSeq) return 'regressed';
    this.#highestSeq = seq;
    slot.seq = seq;
    return 'noted';
  }

  /** Removes what is acknowledged without a gap from the front, and says how far that goes. */
  takeAcknowledged(): Acknowledged | undefined {
    let last: Slot | undefined;
    let count = 0;
    for (const slot of this.#slots) {
      if (slot.seq === undefined) break;
      last = slot;
      this.#bytes -= slot.sent.bytes;
      count++;
    }
    if (last?.seq === undefined) return undefined;
    this.#slots = this.#slots.slice(count);
    this.#base += count;
    const { mark, attempt, isPiece = false } = last.sent;
    const counter = mark.whole ? mark.counter : mark.counter - 1;
    const endsWhole = mark.whole && !isPiece;
    return { counter, mark, endsWhole, seq: last.seq, ...(attempt === undefined ? {} : { attempt }) };
  }

  /** Voids everything in flight. */
  clear(): void {
    this.#base += this.#slots.length;
    this.#slots = [];
    this.#bytes = 0;
  }
}
