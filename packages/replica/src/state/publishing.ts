/** How the changes of the cluster are published, as far as this replica has to do with it. */
export interface PublishingStatus {
  /** The JetStream stream. */
  readonly stream: string;
  /** The subject of each change, with placeholders. */
  readonly subject: string;
  /**
   * `active`: this replica published last, or is about to. `standby`: it follows, and takes over
   * when nobody publishes what it has. `stopped`: something is in the way; `problem` says what.
   */
  readonly state: 'active' | 'standby' | 'stopped';
  /** Of the stream, as last seen; 0: it holds none yet. */
  readonly publishedSeq: number;
  /** Entries of the log that may hold changes to publish; absent while nothing is known. */
  readonly lagEntries?: number;
  readonly problem?: string;
  /** So many were published here since this process runs. */
  readonly changes: number;
  /** Of these, larger than a message may be: without their rows. */
  readonly tooLarge: number;
}

export interface OpenPublisher {
  status(): PublishingStatus;
  /** Never rejects. */
  close(): Promise<void>;
}

/** The publisher of this replica, if it has one. */
export class Publishing {
  #publisher: OpenPublisher | undefined;

  get status(): PublishingStatus | undefined {
    return this.#publisher?.status();
  }

  opened(publisher: OpenPublisher): void {
    this.#publisher = publisher;
  }

  async close(): Promise<void> {
    await this.#publisher?.close();
  }
}
