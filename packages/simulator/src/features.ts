import type { Random } from '@antiphon/testing';

export type SimulatedUpdate = 'async' | 'sync';

/** Fires for every row of `events`, on each replica by itself. */
export const AUDIT_TRIGGER = 'audit_events';

/** What a run's world has besides crashes, faults of messages and the fixed tables. */
export interface Features {
  /**
   * Tables with every kind of key, foreign key and trigger, and statements of every kind on them.
   */
  readonly randomTables: boolean;
  /** Some of those tables have a unique index in the place of a primary key. */
  readonly indexKeys: boolean;
  /** Rows of the fixed tables that move to another key, and unique values that change hands. */
  readonly moves: boolean;
  /** Other programs that change the schema while replicas run. */
  readonly schemaChanges: boolean;
  /** Older copies that are put in the place of databases. */
  readonly restores: boolean;
  /** Disks that are full for seconds: their replicas refuse what everybody else takes. */
  readonly fullDisks: boolean;
  /** Machines that come back from a power cut with a clock that is wrong. */
  readonly wrongBoots: boolean;
  /** Members that are removed, and come back. */
  readonly removals: boolean;
  /** A table that stays where it is, which a trigger fills in step with a replicated one. */
  readonly audits: boolean;
  /** An operator who asks for verification and tries what was quarantined once more. */
  readonly inspections: boolean;
  /** A service whose instances share a durable subscription. */
  readonly subscriptions: boolean;
  /**
   * Parts of big transactions that are entries of their own, or several where the log takes little,
   * and databases that lose such a transaction when some of its parts are in the log.
   */
  readonly separateParts: boolean;
  /** A primary that claims an epoch for each of its processes. */
  readonly terms: boolean;
  /** An operator who makes other replicas the primary; with terms. */
  readonly takeovers: boolean;
}

export const NO_FEATURES: Features = {
  randomTables: false,
  indexKeys: false,
  moves: false,
  schemaChanges: false,
  restores: false,
  fullDisks: false,
  wrongBoots: false,
  removals: false,
  audits: false,
  inspections: false,
  subscriptions: false,
  separateParts: false,
  terms: false,
  takeovers: false,
};

/** Each run has some of them; a run that has everything reaches few states. */
export function chooseFeatures(
  random: Random,
  update: SimulatedUpdate,
  given: Partial<Features> = {},
  topology: 'multi-primary' | 'primary-replica' = 'multi-primary',
): Features {
  const drawn: Features = {
    randomTables: random.chance(0.5),
    moves: random.chance(0.5),
    schemaChanges: random.chance(0.4),
    restores: random.chance(0.25),
    fullDisks: random.chance(0.3),
    wrongBoots: random.chance(0.3),
    removals: random.chance(0.2),
    // A synchronous write may not touch what is not replicated, by triggers neither.
    audits: random.chance(0.3) && update === 'async',
    inspections: random.chance(0.3),
    subscriptions: random.chance(0.25),
    separateParts: random.chance(0.2),
    indexKeys: random.fork('keys').chance(0.5),
    ...drawFailover(random.fork('failover'), topology),
  };
  const features = { ...drawn, ...given };
  return { ...features, terms: features.terms || features.takeovers };
}

/** As `indexKeys`, from chances of their own: the other features of a seed stay what they were. */
function drawFailover(random: Random, topology: string): Pick<Features, 'terms' | 'takeovers'> {
  const terms = topology === 'primary-replica' && random.chance(0.4);
  return { terms, takeovers: terms && random.chance(0.6) };
}

/** As a trace shows them. */
export function featuresText(features: Features): string {
  const names = Object.entries(features).flatMap(([name, on]) => (on ? [name] : []));
  return names.length === 0 ? 'no features' : names.join(' ');
}
