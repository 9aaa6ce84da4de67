export interface RegistryEntry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
}

/**
 * Small shared facts of a cluster, with compare-and-set. Keys: `[A-Za-z0-9_.-]+`. Reads are never
 * stale. Every method throws LOG_UNAVAILABLE when there is no answer in time; a write may have been
 * done then: read it. One that somebody has deleted after `open` is one without keys; `create`
 * makes it again.
 */
export interface Registry {
  open(): Promise<void>;
  get(key: string): Promise<RegistryEntry | undefined>;
  /**
   * What is still kept of a key, newest first; nothing from before it was deleted. A registry keeps
   * the newest one, and may keep a few before it.
   */
  revisions(key: string): Promise<readonly RegistryEntry[]>;
  /** undefined: somebody else has created it. */
  create(key: string, value: Uint8Array): Promise<RegistryEntry | undefined>;
  /** undefined: the revision is no longer the newest. */
  update(key: string, value: Uint8Array, revision: number): Promise<RegistryEntry | undefined>;
  /** Every entry whose key starts with `prefix`, in key order. */
  list(prefix: string): Promise<readonly RegistryEntry[]>;
  close(): Promise<void>;
}
