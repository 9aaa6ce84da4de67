import { LARGEST_ROW_LIMITS } from '../codec/limits.js';
import { AntiphonError } from '../errors/antiphon-error.js';

/**
 * Limits of the whole cluster, agreed on when it is created. A replica that names another value is
 * refused; `antiphon settings set` changes one for all.
 */
export interface AgreedLimits {
  /**
   * How far the time of a change may be ahead of the log's clock, in milliseconds; beyond it every
   * replica quarantines the change. At least 1000.
   * @defaultValue 24 hours
   */
  readonly clockRefusalMs: number;
  /**
   * Maximum bytes of one text or BLOB; the statement that writes a larger one gets CONSTRAINT.
   * Every replica applies what the format can hold, whatever this says. From 1 KiB to 256 MiB.
   * @defaultValue 64 MiB
   */
  readonly valueBytes: number;
  /**
   * Maximum bytes of all texts and BLOBs of a row together, likewise. From `valueBytes` to 400 MiB.
   * @defaultValue 128 MiB
   */
  readonly rowBytes: number;
}

/**
 * Valid for entries of the log from `fromSeq` on: what was judged before a change stays judged as
 * it was.
 */
export interface LimitsFrom extends AgreedLimits {
  readonly fromSeq: number;
}

/** The least and the greatest value of each; a shorter time would refuse what is on its way. */
const RANGES: Readonly<Record<keyof AgreedLimits, readonly [number, number]>> = {
  clockRefusalMs: [1000, Number.MAX_SAFE_INTEGER],
  valueBytes: [1024, LARGEST_ROW_LIMITS.valueBytes],
  rowBytes: [1024, LARGEST_ROW_LIMITS.rowBytes],
};

export const AGREED_LIMITS = Object.keys(RANGES) as readonly (keyof AgreedLimits)[];

/** A cluster's changes of its limits; the newest ones of so many are kept. */
export const MAX_LIMIT_CHANGES = 64;

/** Throws BAD_OPTION. */
export function assertInRange(name: keyof AgreedLimits, value: number | undefined): void {
  const [least, most] = RANGES[name];
  if (value === undefined || (value >= least && value <= most)) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `\`limits.${name}\` is ${value}. Give a number from ${least} to ${most}.`,
  );
}

/** What a cluster is created with, or gets, has to be of one piece. Throws BAD_OPTION. */
export function assertSensible(limits: AgreedLimits): void {
  for (const name of AGREED_LIMITS) assertInRange(name, limits[name]);
  const { valueBytes, rowBytes } = limits;
  if (rowBytes >= valueBytes) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `\`limits.rowBytes\` (${rowBytes}) is less than \`limits.valueBytes\` (${valueBytes}), but a row must hold its largest value. Give at least as much.`,
  );
}

export function agreedOf({ clockRefusalMs, valueBytes, rowBytes }: AgreedLimits): AgreedLimits {
  return { clockRefusalMs, valueBytes, rowBytes };
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
  given: Partial<AgreedLimits>,
): readonly string[] {
  const theirs = newestLimits(agreed);
  return AGREED_LIMITS.filter((name) => given[name] !== undefined && given[name] !== theirs[name]).map(
    (name) =>
      `limits.${name}: here ${given[name]}, the cluster has ${theirs[name]} ` +
      `(leave it out here, or change it for all with \`antiphon settings set ${name}\`)`,
  );
}
