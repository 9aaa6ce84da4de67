/** What a message has beside its data: printable ASCII under each name. */
export type BusHeaders = Readonly<Record<string, string>>;

export interface BusRequest {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Of a header, whatever the case of its name. Absent where the sender gave none. */
  header?(name: string): string | undefined;
  /** Absent when the sender wants no reply. */
  respond?(data: Uint8Array, headers?: BusHeaders): void;
}

export interface BusSubscription {
  unsubscribe(): void;
  /**
   * As `unsubscribe`, but what is on its way here by then comes first. Resolves when the last of it
   * has come, at the latest after a second or two. Never rejects.
   */
  drain(): Promise<void>;
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
    options: {
      readonly timeoutMs: number;
      readonly signal?: AbortSignal;
      readonly headers?: BusHeaders;
    },
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
