import { admit, admitted, counterOf, type AdmissionState, type BatchSummary } from '@antiphon/core';
import type { Tape } from './tape.js';

/** What an own message holds. */
export interface Message {
  readonly firstCounter: number;
  readonly lastCounter: number;
  /** Of a synchronous group; undefined: written by another program. */
  readonly token: string | undefined;
  /** What each counter stands for, in order. */
  readonly content: readonly string[];
  /** The position that it was made at. */
  readonly readSeq: number;
}

export interface ModelEntry {
  readonly seq: number;
  /** undefined: of another replica. */
  readonly own: Message | undefined;
  /** No replica accepts it. */
  readonly refused: boolean;
  /** Counters that certification rejects. */
  readonly rejected: readonly number[];
}

interface Late {
  readonly message: Message;
  readonly after: number;
  /**
   * The server looks at the expectation when the message arrives; two that arrive together can both
   * be stored.
   */
  readonly races: boolean;
}

const ORIGIN = 'a';

/** The log of one writer and of others, with messages that are on their way. */
export class ModelLog {
  readonly entries: ModelEntry[] = [];
  late: Late[] = [];
  /** It has lost entries that it had acknowledged. */
  isCut = false;

  constructor(private readonly tape: Tape) {}

  get lastSeq(): number {
    return this.entries.length;
  }

  get newestOwnSeq(): number {
    return this.entries.findLast(({ own }) => own !== undefined)?.seq ?? 0;
  }

  addForeign(): void {
    this.entries.push({ seq: this.lastSeq + 1, own: undefined, refused: false, rejected: [] });
  }

  /** Undefined: not stored, since something else is the newest of its origin. */
  append(message: Message, after: number | undefined, refused = false): number | undefined {
    if (after !== undefined && after !== this.newestOwnSeq) return undefined;
    const seq = this.lastSeq + 1;
    const between = this.entries.slice(message.readSeq).some(({ own }) => own === undefined);
    const counters = message.content.map((_, index) => message.firstCounter + index);
    const isContended = message.token !== undefined && between;
    const rejected = isContended ? counters.filter(() => this.tape.pick(3) === 1) : [];
    this.entries.push({ seq, own: message, refused, rejected });
    return seq;
  }

  sendLate(message: Message, after: number): void {
    this.late.push({ message, after, races: this.tape.pick(2) === 1 });
  }

  /** Some message that is on its way arrives, or gets lost. */
  arrive(): void {
    const index = this.tape.pick(Math.max(1, this.late.length));
    const [one] = this.late.splice(index, 1);
    if (one !== undefined) this.append(one.message, one.races ? undefined : one.after);
  }

  arriveAll(): void {
    for (const { message, after, races } of this.late.splice(0))
      this.append(message, races ? undefined : after);
  }

  cut(): void {
    if (this.lastSeq === 0) return;
    this.entries.length -= 1 + this.tape.pick(Math.min(4, this.lastSeq));
    this.isCut = true;
  }

  /**
   * Own entries from `fromSeq` to `toSeq` that count, after those up to `counter`, as every replica
   * decides it.
   */
  counted(counter: number, fromSeq: number, toSeq: number): { entries: ModelEntry[]; counter: number } {
    let state: AdmissionState = { vector: { [ORIGIN]: counter }, partial: {} };
    const entries: ModelEntry[] = [];
    for (const entry of this.entries.slice(fromSeq - 1, toSeq)) {
      if (entry.own === undefined || entry.refused) continue;
      const batch = summaryOf(entry.own);
      if (admit(state, batch).type !== 'apply') continue;
      state = admitted(state, batch);
      entries.push(entry);
    }
    return { entries, counter: counterOf(state.vector, ORIGIN) };
  }

  /** What each own counter stands for, whatever anybody believes. */
  truth(): ReadonlyMap<number, string> {
    const truth = new Map<number, string>();
    for (const { own, rejected } of this.counted(0, 1, this.lastSeq).entries) {
      const firstRejected = Math.min(Infinity, ...rejected);
      for (const [index, content] of own?.content.entries() ?? []) {
        const counter = (own?.firstCounter ?? 0) + index;
        truth.set(counter, counter >= firstRejected ? 'rejected' : content);
      }
    }
    return truth;
  }
}

function summaryOf({ firstCounter, lastCounter, token }: Message): BatchSummary {
  const sync = token === undefined ? {} : { sync: { token } };
  return {
    kind: 'transactions',
    origin: ORIGIN,
    firstCounter,
    lastCounter,
    ...sync,
  } as unknown as BatchSummary;
}
