export interface KeeperSettings {
  readonly leaseMs: number;
  readonly renewMs: number;
  readonly marginMs: number;
}

/** An attempt to renew whose outcome is not known. */
interface Attempt {
  readonly n: number;
  readonly sentAtMs: number;
}

/** What the holder of a lease knows of it. All times are of the monotonic clock. */
export interface KeeperState {
  readonly instance: string;
  readonly settings: KeeperSettings;
  /** Of the newest attempt. */
  readonly n: number;
  /** What the next attempt expects. */
  readonly expectedSeq: number;
  /** The holder may write until then: nobody else takes the lease before. */
  readonly validUntilMs: number;
  readonly standing: 'held' | 'doubtful' | 'lost';
  /** Oldest first. */
  readonly open: readonly Attempt[];
  /** The newest one waits for its answer. */
  readonly underWay: boolean;
  /** A read tells what became of the open ones. */
  readonly mustRead: boolean;
  /** Nothing is done before. */
  readonly notBeforeMs: number;
}
