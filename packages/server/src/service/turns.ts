import { AsyncResource } from 'node:async_hooks';
import type { Socket } from 'node:net';

/** A request takes up to a millisecond of the thread before it waits for anything. */
const REQUESTS_PER_TURN = 16;
/** Of one connection, sent without waiting for answers. Browsers and the usual clients send one. */
export const MAX_PIPELINED = 100;

interface Waiting {
  readonly socket: Socket;
  readonly begin: () => void;
}

/**
 * When requests begin. Node.js hands over all that one read of a socket has brought, a thousand
 * small ones, in one turn of the event loop; the messages of the cluster and the lease of a primary
 * are dealt with between two turns. So each turn begins a few, and the rest wait for the next ones.
 */
export class Turns {
  readonly #waiting: Waiting[] = [];
  readonly #pending = new WeakMap<Socket, number>();
  #begun = 0;
  #next: NodeJS.Immediate | undefined;

  /**
   * Calls `begin` now or in a later turn; never when the connection is gone by then. Returns false
   * where it has too many requests that are not answered.
   */
  take(socket: Socket, begin: () => void): boolean {
    const pending = this.pendingOf(socket) + 1;
    if (pending > MAX_PIPELINED) return false;
    this.#pending.set(socket, pending);
    this.#next ??= setImmediate(() => this.#turn());
    if (this.#begun < REQUESTS_PER_TURN) this.#begin({ socket, begin });
    // It belongs to its own request, and not to the one whose turn it is.
    else this.#waiting.push({ socket, begin: AsyncResource.bind(begin) });
    return true;
  }

  /** It is answered. */
  ended(socket: Socket): void {
    this.#pending.set(socket, this.pendingOf(socket) - 1);
  }

  pendingOf(socket: Socket): number {
    return this.#pending.get(socket) ?? 0;
  }

  #turn(): void {
    this.#begun = 0;
    this.#next = undefined;
    if (this.#waiting.length === 0) return;
    this.#next = setImmediate(() => this.#turn());
    while (this.#begun < REQUESTS_PER_TURN) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (!next.socket.destroyed) this.#begin(next);
    }
  }

  #begin({ begin }: Waiting): void {
    this.#begun += 1;
    begin();
  }
}
