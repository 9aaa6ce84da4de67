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

/** Linux knocks for 127 s at a machine that does not answer. */
const LONGEST_DIAL_MS = 140_000;
const LOOK_MS = 20;
const PATIENT_AFTER_MS = 2000;

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

  /**
   * After the connection was closed. The socket of a dial that is under way shows only once the
   * server's machine has taken it.
   */
  close(): void {
    const beganMs = performance.now();
    const hangUp = (): void => {
      this.look();
      for (const transport of this.#seen) if (transport.socket !== undefined) this.#destroy(transport);
      const sinceMs = performance.now() - beganMs;
      if (this.#seen.size === 0 || sinceMs >= LONGEST_DIAL_MS) return;
      // What it looks for keeps the process alive, and nothing else needs it.
      setTimeout(hangUp, sinceMs < PATIENT_AFTER_MS ? LOOK_MS : LOOK_MS * 50).unref();
    };
    hangUp();
  }

  #destroy(transport: Transport): void {
    this.#seen.delete(transport);
    transport.socket?.destroy?.();
  }
}
