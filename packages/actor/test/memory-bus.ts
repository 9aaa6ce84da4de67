import { AntiphonError, type Bus, type BusRequest, type BusSubscription } from '@antiphon/core';

type BusHandler = (request: BusRequest) => void;

/** The Bus port within one process, each message later and copied; only exact subjects. */
export class MemoryBus implements Bus {
  readonly #handlers = new Map<string, Set<BusHandler>>();
  /** Errors of handlers, which must not happen. */
  readonly thrown: unknown[] = [];
  /** Makes the next replies fail as on a closed connection. */
  refuseReplies = false;

  publish(subject: string, data: Uint8Array): void {
    for (const handler of this.#handlers.get(subject) ?? []) {
      this.#deliver(handler, { subject, data: data.slice() });
    }
  }

  request(
    subject: string,
    data: Uint8Array,
    { timeoutMs, signal, headers = {} }: Parameters<Bus['request']>[2],
  ): Promise<Uint8Array> {
    const [handler] = this.#handlers.get(subject) ?? [];
    if (handler === undefined)
      return Promise.reject(new AntiphonError('NO_ACTOR', `Nobody listens on ${subject}.`));
    return new Promise((resolve, reject) => {
      const fail = (code: 'TIMEOUT' | 'ABORTED'): void =>
        reject(new AntiphonError(code, `No answer from ${subject}.`));
      const timer = setTimeout(() => fail('TIMEOUT'), timeoutMs);
      signal?.addEventListener('abort', () => fail('ABORTED'));
      const respond = (reply: Uint8Array): void => {
        if (this.refuseReplies) throw new Error('connection closed');
        clearTimeout(timer);
        queueMicrotask(() => resolve(reply.slice()));
      };
      const header = (name: string): string | undefined => headers[name];
      this.#deliver(handler, { subject, data: data.slice(), header, respond });
    });
  }

  subscribe(subject: string, handler: BusHandler): BusSubscription {
    const handlers = this.#handlers.get(subject) ?? new Set();
    this.#handlers.set(subject, handlers.add(handler));
    const unsubscribe = (): void => void handlers.delete(handler);
    return { unsubscribe, drain: () => Promise.resolve(unsubscribe()) };
  }

  #deliver(handler: BusHandler, request: BusRequest): void {
    queueMicrotask(() => {
      try {
        handler(request);
      } catch (error) {
        this.thrown.push(error);
      }
    });
  }
}
