import type { NatsHandle } from '@antiphon/nats';
import { DeliverPolicy } from 'nats';

interface Waiting {
  readonly isIt: (seq: number, data: Uint8Array) => boolean;
  readonly resolve: (atNs: bigint) => void;
}

const MAX_MESSAGES = 10_000;

/** A program that reads the stream of published changes with a consumer of its own. */
export class ChangeFollower {
  readonly #waiting = new Set<Waiting>();
  #seq = 0;

  private constructor(private readonly unsubscribe: () => void) {}

  /** From now on. */
  static async start({ connection }: NatsHandle, stream: string): Promise<ChangeFollower> {
    const options = { deliver_policy: DeliverPolicy.New };
    const consumer = await connection.jetstream().consumers.get(stream, options);
    const messages = await consumer.consume({
      max_messages: MAX_MESSAGES,
      callback: ({ seq, data }) => follower.#receive(seq, data),
    });
    const follower = new ChangeFollower(() => messages.stop());
    return follower;
  }

  /** When this one of the stream was there, or a later one. */
  received(seq: number, timeoutMs: number): Promise<bigint> {
    if (this.#seq >= seq) return Promise.resolve(process.hrtime.bigint());
    return this.#until(`message ${seq}`, timeoutMs, (found) => found >= seq);
  }

  /** When the row with this id was there. */
  arrived(id: number, timeoutMs: number): Promise<bigint> {
    return this.#until(`row ${id}`, timeoutMs, (_, data) => {
      const { key } = JSON.parse(new TextDecoder().decode(data)) as { readonly key: { readonly id: number } };
      return key.id === id;
    });
  }

  stop(): void {
    this.unsubscribe();
  }

  #until(what: string, timeoutMs: number, isIt: Waiting['isIt']): Promise<bigint> {
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`no ${what} within ${timeoutMs} ms`)), timeoutMs);
      this.#waiting.add({
        isIt,
        resolve: (atNs) => {
          clearTimeout(limit);
          resolve(atNs);
        },
      });
    });
  }

  #receive(seq: number, data: Uint8Array): void {
    const atNs = process.hrtime.bigint();
    this.#seq = seq;
    for (const waiting of this.#waiting) {
      if (!waiting.isIt(seq, data)) continue;
      this.#waiting.delete(waiting);
      waiting.resolve(atNs);
    }
  }
}
