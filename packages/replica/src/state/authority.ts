import {
  type Epoch,
  firstEpoch,
  type PassedEpoch,
  type Role,
  soleWriter,
  type Topology,
} from '@antiphon/core';

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
  /** An epoch has begun: after the commit that brought it. */
  changed(): void;
  /** A replica is primary only in an epoch of its own process, and claims it. */
  readonly byTerm: boolean;
  /**
   * The log has this epoch of another primary, which this database has not come to: it has to undo
   * first what only it has. Nothing is decided by it, and nobody is to take this one for the
   * primary any more.
   */
  readonly successor?: PassedEpoch | undefined;
  /** The log has it. */
  deposed(by: PassedEpoch): void;
}

interface AuthorityDeps {
  readonly id: string;
  /** Of this process. */
  readonly instance: string;
  readonly topology: Topology;
  /**
   * A replica is primary only in an epoch of its own process. False: whoever the cluster's document
   * names is the primary, for good, and nothing in the log changes it.
   */
  readonly byTerm: boolean;
}

/** Epochs in the order of the log, as far as this database has got. */
export class LogAuthority implements Authority {
  readonly #listeners = new Set<(mandate: Mandate) => void>();
  #epochOf: (() => Epoch) | undefined;
  #epoch: Epoch;
  #mandate: Mandate;
  #successor: PassedEpoch | undefined;

  constructor(private readonly deps: AuthorityDeps) {
    this.#epoch = firstEpoch(soleWriter(deps.topology), !deps.byTerm);
    this.#mandate = this.#mandateIn(this.#epoch);
  }

  /** The database is installed: it knows the epoch, together with its position. */
  follow(epochOf: () => Epoch): void {
    this.#epochOf = epochOf;
  }

  current(): Mandate {
    // Asked several times a write, and the same for good.
    if (!this.deps.byTerm) return this.#mandate;
    const epoch = this.#epochOf?.() ?? this.#epoch;
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#mandate = this.#mandateIn(epoch);
    }
    return this.#mandate;
  }

  get byTerm(): boolean {
    return this.deps.byTerm;
  }

  get successor(): PassedEpoch | undefined {
    const { epoch } = this.current();
    return this.#successor !== undefined && this.#successor.number > epoch ? this.#successor : undefined;
  }

  deposed(by: PassedEpoch): void {
    if (this.#successor?.seq === by.seq) return;
    this.#successor = by;
    this.changed();
  }

  changed(): void {
    const mandate = this.current();
    for (const listener of [...this.#listeners]) listener(mandate);
  }

  onChange(listener: (mandate: Mandate) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #mandateIn({ number: epoch, primary, instance }: Epoch): Mandate {
    if (primary === undefined) return { epoch, role: 'peer', primary, mayWrite: true };
    const { id, byTerm } = this.deps;
    const mayWrite = primary === id && (!byTerm || instance === this.deps.instance);
    return { epoch, role: mayWrite ? 'primary' : 'replica', primary, mayWrite };
  }
}

/** For whoever asks who the primary is: also where the database has not come to that yet. */
export function roleOf(authority: Authority): Role {
  return authority.successor === undefined ? authority.current().role : 'replica';
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

/** Also where the database has not come to the next epoch yet: what it writes counts for nobody. */
export function isPrimary(authority: Pick<Authority, 'current' | 'successor'>): boolean {
  return authority.current().mayWrite && authority.successor === undefined;
}

/** Who the primary is, as far as somebody knows. */
export type Known = Pick<Mandate, 'epoch' | 'primary'>;

/** Who the primary is, as far as the log was read. */
export function knownOf(
  authority: Pick<Authority, 'current' | 'successor'>,
): Pick<Mandate, 'epoch' | 'primary'> {
  const { successor } = authority;
  if (successor === undefined) return authority.current();
  return { epoch: successor.number, primary: successor.primary };
}
