import { checkOptions, type OptionKind, type OptionNames } from '@antiphon/core';

/** How this replica takes part when clients spread their reads over the replicas. */
export interface ReadOptions {
  /**
   * How many reads it gets, compared with the others: twice as many as one of half its weight.
   * @defaultValue 1
   */
  readonly weight?: number;
  /**
   * Where it is, as the cluster's operators call it. Clients that say the same get their reads
   * from here first.
   * @defaultValue none
   */
  readonly zone?: string;
}

export interface ReadSettings {
  readonly weight: number;
  readonly zone?: string;
}

const MAX_WEIGHT = 1000;
const MAX_ZONE = 80;
const WEIGHT: OptionKind = {
  give: `a number above 0, at most ${MAX_WEIGHT}`,
  is: (value) => typeof value === 'number' && value > 0 && value <= MAX_WEIGHT,
};
const ZONE: OptionKind = {
  give: `text of 1 to ${MAX_ZONE} characters`,
  is: (value) => typeof value === 'string' && value.length > 0 && value.length <= MAX_ZONE,
};
const READ_OPTIONS: OptionNames<ReadOptions> = { weight: WEIGHT, zone: ZONE };

/** Throws BAD_OPTION. */
export function parseReads(options: ReadOptions = {}): ReadSettings {
  checkOptions(options, READ_OPTIONS, '`reads`');
  const { weight = 1, zone } = options;
  return { weight, ...(zone !== undefined && { zone }) };
}
