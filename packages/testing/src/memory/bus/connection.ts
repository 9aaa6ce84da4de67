import {
  AntiphonError,
  type Bus,
  type BusHeaders,
  type BusRequest,
  type BusSubscription,
} from '@antiphon/core';
import { closed, unavailable, type Link } from '../link.js';
import type { BusListener, MemoryBus } from './memory-bus.js';

/** One process's view of a `MemoryBus`. */
export class MemoryBusConnection implements Bus {
  constructor(
    private readonly bus: MemoryBus,
    readonly link: Link,
  ) {}

  publish(subject: string, data: Uint8Array): void {
    if (this.link.state !== 'connected') return;
    const copy = data.slice();
    this.link.send(() => void this.bus.deliver({ subject, data: copy }));
  }

  request(subject: string, data: Uint8Array, options: Parameters<Bus['request']>[2]): Promise<Uint8Array> {
    const { link, bus } = this;
    const { signal, timeoutMs, headers } = options;
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        stopListening();
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        if (!link.killed) settle();
      };
      const fail = (error: AntiphonError): void => end(() => reject(error));
      const onAbort = (): void =>
        fail(
          new AntiphonError('ABORTED', `The caller gave up waiting for ${subject}.`, {
            cause: signal?.reason,
          }),
        );
      const stopListening = link.onState((state) => {
        if (state !== 'connected') fail(unavailable(`request to ${subject}`));
      });
      const timer = link.clock.setTimer(timeoutMs, () =>
        link.inProcess(() => fail(timedOut(subject, timeoutMs))),
      );
      if (signal?.aborted === true) return onAbort();
      if (link.state === 'closed') return fail(closed(`request to ${subject}`));
      if (link.state === 'disconnected') return fail(unavailable(`request to ${subject}`));
      signal?.addEventListener('abort', onAbort, { once: true });

      const copy = data.slice();
      const respond = (answer: Uint8Array): void => {
        const answerCopy = answer.slice();
        link.receive(() => end(() => resolve(answerCopy)));
      };
      link.send(() => {
        const receivers = bus.deliver({ subject, data: copy, respond, ...(headers && withHeaders(headers)) });
        if (receivers === 0) link.receive(() => fail(nobody(subject)));
      });
    });
  }

  subscribe(
    subject: string,
    handler: (request: BusRequest) => void,
    options: { readonly queue?: string } = {},
  ): BusSubscription {
    const listener: BusListener = {
      pattern: subject,
      queue: options.queue,
      link: this.link,
      handle: handler,
    };
    this.bus.add(listener);
    const unsubscribe = (): void => this.bus.remove(listener);
    return { unsubscribe, drain: () => this.link.call(`drain ${subject}`, unsubscribe).catch(unsubscribe) };
  }
}

function withHeaders(headers: BusHeaders): Pick<BusRequest, 'header'> {
  const byName = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  return { header: (name) => byName.get(name.toLowerCase()) };
}

function timedOut(subject: string, timeoutMs: number): AntiphonError {
  return new AntiphonError('TIMEOUT', `No answer from ${subject} within ${timeoutMs} ms. Ask again.`);
}

function nobody(subject: string): AntiphonError {
  return new AntiphonError('NO_ACTOR', `Nobody listens on ${subject}. Start the replica, or check its id.`);
}
