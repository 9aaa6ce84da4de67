import { writeSync } from 'node:fs';
import { serialize } from 'node:v8';
import type { ReadReply } from './reader-protocol.js';

/** Of a reading process, towards its parent. */
export const ANSWERS_FD = 4;
/** What a frame begins with: the length of what follows, least byte first. */
export const FRAME_HEAD_BYTES = 4;
const ROOM_BYTES = 64 * 1024;
const HELD = 0;
const LOCK = 1;
const WRITES = 2;
const CONTROL_BYTES = 12;

/**
 * The answers of a reading process, several in one write. They are held in memory that its other
 * thread has as well: while a read takes long, that one sends those that were there before it.
 */
export class AnswerPipe {
  /** How many bytes are held; whether somebody is at it; how often was written. */
  readonly #control: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(
    readonly memory = new SharedArrayBuffer(CONTROL_BYTES + ROOM_BYTES),
    private readonly fd = ANSWERS_FD,
  ) {
    this.#control = new Int32Array(memory, 0, CONTROL_BYTES / Int32Array.BYTES_PER_ELEMENT);
    this.#bytes = new Uint8Array(memory, CONTROL_BYTES);
  }

  /** Throws EPIPE when the parent is gone; likewise `flush`. */
  add(reply: ReadReply): void {
    const data = serialize(reply);
    const frame = FRAME_HEAD_BYTES + data.length;
    this.#alone(() => {
      if (this.#held + frame > ROOM_BYTES) this.#write();
      const head = Buffer.allocUnsafe(FRAME_HEAD_BYTES);
      head.writeUInt32LE(data.length);
      if (frame > ROOM_BYTES) {
        this.#writeAll(head);
        this.#writeAll(data);
        return;
      }
      this.#bytes.set(head, this.#held);
      this.#bytes.set(data, this.#held + FRAME_HEAD_BYTES);
      this.#hold(this.#held + frame);
    });
  }

  flush(): void {
    if (this.#held > 0) this.#alone(() => this.#write());
  }

  /**
   * Of the other thread: waits until something is held, at most for `timeoutMs`, and writes what is
   * held for longer than `heldMs`. It leaves all else to the main thread, which it would only hold
   * up.
   */
  watch(timeoutMs: number, heldMs: number): void {
    if (Atomics.wait(this.#control, HELD, 0, timeoutMs) === 'timed-out') return;
    const writes = Atomics.load(this.#control, WRITES);
    Atomics.wait(this.#control, WRITES, writes, heldMs);
    if (Atomics.load(this.#control, WRITES) === writes) this.flush();
  }

  get #held(): number {
    return Atomics.load(this.#control, HELD);
  }

  #hold(bytes: number): void {
    const before = Atomics.exchange(this.#control, HELD, bytes);
    if (before === 0) Atomics.notify(this.#control, HELD);
  }

  #write(): void {
    this.#writeAll(this.#bytes.subarray(0, this.#held));
    Atomics.store(this.#control, HELD, 0);
    Atomics.add(this.#control, WRITES, 1);
  }

  #alone(work: () => void): void {
    while (Atomics.compareExchange(this.#control, LOCK, 0, 1) !== 0) Atomics.wait(this.#control, LOCK, 1, 1);
    try {
      work();
    } finally {
      Atomics.store(this.#control, LOCK, 0);
      Atomics.notify(this.#control, LOCK);
    }
  }

  #writeAll(data: Uint8Array): void {
    for (let at = 0; at < data.length;) at += writeSync(this.fd, data, at);
  }
}
