import type { ReplicaLimits } from './limits.js';

/**
 * Limits by which every replica judges the same messages. They are agreed on when the cluster is founded: if
 * they differed, one replica would apply what another one puts aside.
 */
export type AgreedLimits = Pick<ReplicaLimits, 'clockRefusalMs'>;

/** Valid for entries of the log from `fromSeq` on: what was judged before a change stays judged as it was. */
export interface LimitsFrom extends AgreedLimits {
  readonly fromSeq: number;
}

export const AGREED_LIMITS = ['clockRefusalMs'] as const satisfies readonly (keyof AgreedLimits)[];

/** A cluster's changes of its limits; the newest ones of so many are kept. */
export const MAX_LIMIT_CHANGES = 64;
/** A shorter time would refuse what is on its way. */
export const LEAST_CLOCK_REFUSAL_MS = 1000;

export function agreedOf({ clockRefusalMs }: AgreedLimits): AgreedLimits {
  return { clockRefusalMs };
}

/** `agreed` ascends; its first element is valid from the beginning. */
export function limitsAt(agreed: readonly LimitsFrom[], seq: number): AgreedLimits {
  const valid = agreed.findLast(({ fromSeq }) => fromSeq <= seq) ?? agreed[0];
  if (valid === undefined) throw new RangeError('a cluster has agreed on no limits');
  return valid;
}

/** Those for what is written from now on. */
export function newestLimits(agreed: readonly LimitsFrom[]): AgreedLimits {
  return limitsAt(agreed, Infinity);
}

/** What is said otherwise here, one sentence each. */
export function limitsDifference(
  agreed: readonly LimitsFrom[],
  given: Partial<ReplicaLimits>,
): readonly string[] {
  const theirs = newestLimits(agreed);
  return AGREED_LIMITS.filter((name) => given[name] !== undefined && given[name] !== theirs[name]).map(
    (name) =>
      `limits.${name}: here ${given[name]}, the cluster has ${theirs[name]} ` +
      `(leave it out here, or change it for all with \`antiphon settings set ${name}\`)`,
  );
}
