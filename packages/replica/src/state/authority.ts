import { type Role, roleOf, soleWriter, type Topology } from '@antiphon/core';

/** Who may write, as of the last change of it that this replica has read from the log. */
export interface Mandate {
  readonly epoch: number;
  readonly role: Role;
  /** The only replica whose transactions count. Undefined where every member writes. */
  readonly primary: string | undefined;
  /** This replica takes writes. */
  readonly mayWrite: boolean;
}

/**
 * The one place that knows who may write; everybody else asks it when it matters and keeps no copy.
 * It is fed in the order of the log, so that every replica changes its mind at the same entry.
 */
export interface Authority {
  current(): Mandate;
  /**
   * Called after a change, within the turn of the replica actor that applied its entry. Returns the
   * way to stop it.
   */
  onChange(listener: (mandate: Mandate) => void): () => void;
}

/** The cluster document names the primary, for good: nothing in the log changes it. */
export class StaticAuthority implements Authority {
  readonly #mandate: Mandate;

  constructor(topology: Topology, id: string) {
    const role = roleOf(topology, id);
    this.#mandate = { epoch: 0, role, primary: soleWriter(topology), mayWrite: role !== 'replica' };
  }

  current(): Mandate {
    return this.#mandate;
  }

  onChange(): () => void {
    return () => undefined;
  }
}

/**
 * All that enters the log is written by this replica, in order: it sends its transactions as a
 * chain, each message behind the entry before it, and what the log acknowledges of a chain needs
 * not be read back.
 */
export function appendsAlone({
  authority,
  sync,
}: {
  readonly authority: Authority;
  readonly sync: unknown;
}): boolean {
  return sync === undefined && authority.current().role === 'primary';
}
