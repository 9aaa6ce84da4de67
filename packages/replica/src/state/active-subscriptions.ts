/** One instance of a durable subscription on this replica, as `status` shows it. */
export interface SubscriptionStatus {
  readonly name: string;
  /** `standby`: another instance is the active one. */
  readonly state: 'standby' | 'active';
  /** Of an active one; rises whenever another instance takes over. */
  readonly epoch?: number;
  /**
   * Of an active one: entries of the log that are not acknowledged yet, those without a wanted
   * change included.
   */
  readonly lagEntries?: number;
  /**
   * Of a standby that could not take over: the transaction before its place that neither this
   * replica nor the log has, and how to go on.
   */
  readonly waitsFor?: string;
}

export interface OpenSubscription {
  status(): SubscriptionStatus;
  /** Never rejects. */
  close(): Promise<void>;
}

/** The instances of durable subscriptions that run on this replica. */
export class ActiveSubscriptions {
  readonly #open = new Set<OpenSubscription>();
  #opened = 0;

  /** In the order of their names. */
  get all(): readonly SubscriptionStatus[] {
    return [...this.#open]
      .map((one) => one.status())
      .sort((a, b) => (a.name === b.name ? 0 : a.name < b.name ? -1 : 1));
  }

  /** A number for one more, unique in this process. */
  nextNumber(): number {
    return ++this.#opened;
  }

  add(subscription: OpenSubscription): void {
    this.#open.add(subscription);
  }

  delete(subscription: OpenSubscription): void {
    this.#open.delete(subscription);
  }

  /** Lets go of what they hold, so that instances elsewhere take over at once. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((one) => one.close()));
  }
}
