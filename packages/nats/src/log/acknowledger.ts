import type { Link } from '../connection/link.js';
import { publishSafely } from '../connection/requester.js';
import { ackSubject, type Delivery } from './delivery.js';

const DELAY_MS = 50;
/** So many entries are not kept waiting. */
const MAX_UNSENT_ENTRIES = 4096;
const ACK = new TextEncoder().encode('+ACK');

/**
 * Tells the durable consumer how far the database is, so that NATS's own tools show a replica's
 * lag. One acknowledgement stands for all entries before it, so few are sent. Nothing depends on
 * their arrival.
 */
export class Acknowledger {
  #prefix: string | undefined;
  /**
   * Consumer sequence minus stream sequence: constant, since a consumer with gaps or redeliveries
   * is replaced.
   */
  #offset = 0;
  #wanted = 0;
  #sent = 0;
  #delivered = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly link: Link) {}

  /** A new consumer: acknowledgements of entries before it mean nothing to it. */
  begin(prefix: string, first: Delivery): void {
    this.#prefix = prefix;
    this.#offset = first.consumerSeq - first.seq;
    this.#sent = first.seq - 1;
  }

  /** There is no consumer just now. */
  suspend(): void {
    this.#prefix = undefined;
  }

  delivered(seq: number): void {
    this.#delivered = seq;
  }

  ack(seq: number): void {
    if (!(seq > this.#wanted)) return;
    this.#wanted = seq;
    if (seq - this.#sent >= MAX_UNSENT_ENTRIES) return this.flush();
    this.#timer ??= setTimeout(() => this.flush(), DELAY_MS).unref();
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const seq = Math.min(this.#wanted, this.#delivered);
    if (this.#prefix === undefined || seq <= this.#sent) return;
    this.#sent = seq;
    publishSafely(this.link, ackSubject(this.#prefix, seq, seq + this.#offset), ACK);
  }

  close(): void {
    this.flush();
    clearTimeout(this.#timer);
    this.#prefix = undefined;
  }
}
