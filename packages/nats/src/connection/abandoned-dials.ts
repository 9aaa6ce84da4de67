import type { NatsConnection } from 'nats';

/**
 * The client's inner parts that this needs (2.29.3); all of it may be missing in another release.
 */
interface ClientParts {
  readonly protocol?: { readonly transport?: Transport };
}
interface Transport {
  readonly socket?: { destroy?(): void };
}

/**
 * The client leaves the socket of every dial that timed out open for ever: one every two seconds
 * while a server is frozen, until there are no descriptors left, and each of them keeps the process
 * alive. This closes them.
 */
export class AbandonedDials {
  readonly #seen = new Set<Transport>();

  constructor(private readonly connection: NatsConnection) {
    this.look();
  }

  /**
   * Called on every status event: each dial is announced by one. Only the newest transport is in
   * use.
   */
  look(): void {
    const current = (this.connection as unknown as ClientParts).protocol?.transport;
    for (const transport of this.#seen) if (transport !== current) this.#destroy(transport);
    if (current !== undefined) this.#seen.add(current);
  }

  /** After the connection was closed. */
  close(): void {
    this.look();
    for (const transport of this.#seen) this.#destroy(transport);
  }

  #destroy(transport: Transport): void {
    this.#seen.delete(transport);
    transport.socket?.destroy?.();
  }
}
