export interface BusRequest {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Absent when the sender wants no reply. */
  respond?(data: Uint8Array): void;
}

export interface BusSubscription {
  unsubscribe(): void;
}

/**
 * Fire-and-forget messages and request-reply between replicas. Nothing is stored: what is sent
 * while the other side is away is gone. Handlers may throw; the bus catches, counts and logs it.
 */
export interface Bus {
  /** Never blocks, never throws for a lost connection: the message is dropped then. */
  publish(subject: string, data: Uint8Array): void;
  /** Throws TIMEOUT, NO_ACTOR when nobody listens, LOG_UNAVAILABLE when disconnected, ABORTED. */
  request(
    subject: string,
    data: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array>;
  /**
   * `subject` may hold the NATS wildcards `*` and `>`. With `queue`, one member of the group gets
   * each message.
   */
  subscribe(
    subject: string,
    handler: (request: BusRequest) => void,
    options?: { readonly queue?: string },
  ): BusSubscription;
}
