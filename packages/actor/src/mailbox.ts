import { AntiphonError, Bag, checkOptions, type OptionNames } from '@antiphon/core';
import type { Envelope } from './envelope.js';
import type { MessageType, Untyped } from './protocol.js';

export const DEFAULT_LANE_CAPACITY = 10_000;

/**
 * The type of death notices. They wait in the first lane; no message of a protocol should have this
 * name.
 */
export const TERMINATED = '<terminated>';

export interface LaneOptions {
  /**
   * Messages handled per round while other lanes have some too.
   * @defaultValue 1
   */
  readonly weight?: number;
  /**
   * Maximum waiting and deferred messages; the next one is refused.
   * @defaultValue 10 000
   */
  readonly capacity?: number;
}

/**
 * Priorities. Lanes take turns, each up to its weight, so that a lane of weight w among lanes of
 * total weight W gets at least w of every W turns, and none starves. Order is kept within a lane
 * only. A turn that takes more waiting messages is one turn: bound it by its `limit`.
 */
export interface MailboxOptions<P> {
  readonly lanes: Readonly<Record<string, LaneOptions>>;
  readonly laneOf: { readonly [K in MessageType<P>]: string };
}

const LANE_OPTIONS: OptionNames<LaneOptions> = { weight: true, capacity: true };
const MAILBOX_OPTIONS: OptionNames<MailboxOptions<unknown>> = { lanes: true, laneOf: true };

/** First in, first out, within a capacity. */
export class Lane {
  /**
   * Taken, and answered later. They hold their place, so that a slow answer slows its senders down.
   */
  readonly deferred = new Bag<Envelope>();
  #items: (Envelope | undefined)[] = [];
  #head = 0;

  constructor(
    readonly name: string,
    readonly weight: number,
    readonly capacity: number,
  ) {}

  get waiting(): number {
    return this.#items.length - this.#head;
  }

  get full(): boolean {
    return this.waiting + this.deferred.size >= this.capacity;
  }

  push(envelope: Envelope): void {
    envelope.home = this.deferred;
    this.#items.push(envelope);
  }

  /** The oldest message whose asker still waits for it. */
  shift(): Envelope | undefined {
    while (this.#head < this.#items.length) {
      const envelope = this.#items[this.#head];
      this.#items[this.#head++] = undefined;
      this.#compact();
      if (envelope !== undefined && !envelope.settled) return envelope;
    }
    return undefined;
  }

  takeType(type: string, limit: number): Envelope[] {
    const taken: Envelope[] = [];
    const kept: Envelope[] = [];
    let next = this.#head;
    while (next < this.#items.length && taken.length < limit) {
      const envelope = this.#items[next++];
      if (envelope === undefined || envelope.settled) continue;
      (envelope.type === type ? taken : kept).push(envelope);
    }
    for (let index = this.#head; index < next; index++) this.#items[index] = undefined;
    this.#head = next - kept.length;
    for (const [index, envelope] of kept.entries()) this.#items[this.#head + index] = envelope;
    this.#compact();
    return taken;
  }

  /**
   * Frees the handled half; each message is moved at most once per time it is doubled, so pushing
   * stays cheap.
   */
  #compact(): void {
    if (this.#head === this.#items.length) this.#items.length = 0;
    else if (this.#head < 1024 || this.#head * 2 < this.#items.length) return;
    else this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }
}

export class Mailbox {
  readonly #lanes: readonly Lane[];
  /** Absent with a single lane for everything. */
  readonly #laneOf: ReadonlyMap<string, Lane> | undefined;
  readonly #first: Lane;
  #turn = 0;
  #credit: number;

  constructor(options?: MailboxOptions<Untyped>) {
    checkOptions(options, MAILBOX_OPTIONS, 'A mailbox');
    const lanes = Object.entries(options?.lanes ?? { all: {} }).map(([name, lane]) => createLane(name, lane));
    const [first] = lanes;
    if (first === undefined) throw new AntiphonError('BAD_OPTION', 'A mailbox needs at least one lane.');
    this.#lanes = lanes;
    this.#first = first;
    this.#credit = first.weight;
    this.#laneOf = options === undefined ? undefined : assignLanes(options.laneOf, lanes);
  }

  get waiting(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.waiting, 0);
  }

  /** undefined: no lane takes this type. */
  laneOf(type: string): Lane | undefined {
    return this.#laneOf === undefined || type === TERMINATED ? this.#first : this.#laneOf.get(type);
  }

  /** Weighted round-robin. An empty lane passes the rest of its share on. */
  take(): Envelope | undefined {
    for (let tried = 0; tried <= this.#lanes.length; tried++) {
      const envelope = this.#credit > 0 ? this.#lanes[this.#turn]?.shift() : undefined;
      if (envelope !== undefined) {
        this.#credit--;
        return envelope;
      }
      this.#turn = (this.#turn + 1) % this.#lanes.length;
      this.#credit = this.#lanes[this.#turn]?.weight ?? 0;
    }
    return undefined;
  }

  /** Every message that waits for a deferred answer. */
  deferred(): Envelope[] {
    return this.#lanes.flatMap((lane) => [...lane.deferred]);
  }
}

function createLane(name: string, options: LaneOptions): Lane {
  checkOptions(options, LANE_OPTIONS, `Lane ${name}`);
  const { weight = 1, capacity = DEFAULT_LANE_CAPACITY } = options;
  for (const [option, value] of Object.entries({ weight, capacity })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new AntiphonError(
      'BAD_OPTION',
      `The ${option} of lane ${name} is ${value}. Give a whole number above 0.`,
    );
  }
  return new Lane(name, weight, capacity);
}

function assignLanes(laneOf: Readonly<Record<string, string>>, lanes: readonly Lane[]): Map<string, Lane> {
  const byType = new Map<string, Lane>();
  for (const [type, name] of Object.entries(laneOf)) {
    const lane = lanes.find((candidate) => candidate.name === name);
    if (lane === undefined) {
      throw new AntiphonError(
        'BAD_OPTION',
        `Message ${type} goes to lane ${name}, which is not declared in lanes.`,
      );
    }
    byType.set(type, lane);
  }
  return byType;
}
