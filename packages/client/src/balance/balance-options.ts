import {
  AntiphonError,
  checkOptions,
  OPTION,
  oneOf,
  type OptionKind,
  type OptionNames,
} from '@antiphon/core';
import type { ReadNeeds } from './eligibility.js';
import { BALANCE_POLICIES, type BalancePolicy } from './policies.js';

/** How a client spreads its reads over the replicas. */
export interface BalanceOptions {
  /**
   * Which of the replicas that may serve a read gets it; see `BalancePolicy`.
   * @defaultValue 'least-outstanding'
   */
  readonly policy?: BalancePolicy;
  /**
   * `'replicas'`: the primary gets a read only where no replica can serve it, and `mostSpilled` at
   * once at most. `'any'`: it takes its share. `'primary'`: it gets them all while it is there.
   * @defaultValue 'replicas'
   */
  readonly prefer?: ReadNeeds['prefer'];
  /**
   * Where this client is: replicas whose `reads.zone` is the same come first.
   * @defaultValue none
   */
  readonly zone?: string;
  /**
   * Who is further behind the log, in milliseconds, gets no reads while others are not.
   * @defaultValue 10 000
   */
  readonly maxLagMs?: number;
  /**
   * Who was not heard for so long, in milliseconds, gets no reads while others are heard, and what
   * it was asked is asked of another one. Replicas beat every second.
   * @defaultValue 3000
   */
  readonly silenceMs?: number;
  /**
   * Reads of this client that the primary has at once where no replica can serve them; more end
   * with OVERLOADED.
   * @defaultValue 32
   */
  readonly mostSpilled?: number;
  /**
   * A read that has no answer after so long, in milliseconds, is asked of a second replica as well,
   * and the first answer counts; at most one read in ten is.
   * @defaultValue never
   */
  readonly hedgeAfterMs?: number;
}

/** With all defaults. */
export interface BalanceSettings {
  readonly policy: BalancePolicy;
  readonly prefer: ReadNeeds['prefer'];
  readonly zone?: string;
  readonly maxLagMs: number;
  readonly silenceMs: number;
  readonly mostSpilled: number;
  readonly hedgeAfterMs?: number;
}

const ABOVE_0: OptionKind = {
  give: 'a number of milliseconds above 0',
  is: (value) => typeof value === 'number' && value > 0 && value < Infinity,
};
const OPTIONS: OptionNames<BalanceOptions> = {
  policy: oneOf(...(BALANCE_POLICIES as [BalancePolicy])),
  prefer: oneOf('replicas', 'any', 'primary'),
  zone: OPTION.text,
  maxLagMs: ABOVE_0,
  silenceMs: ABOVE_0,
  mostSpilled: OPTION.count,
  hedgeAfterMs: ABOVE_0,
};

/** Throws BAD_OPTION. */
export function parseBalance(options: BalanceOptions = {}): BalanceSettings {
  if (typeof options === 'string')
    throw new AntiphonError('BAD_OPTION', '`balance` is text. Give an object like { policy: "nearest" }.');
  checkOptions(options, OPTIONS, '`balance`');
  const { policy = 'least-outstanding', prefer = 'replicas', zone, hedgeAfterMs } = options;
  const { maxLagMs = 10_000, silenceMs = 3000, mostSpilled = 32 } = options;
  return {
    ...{ policy, prefer, maxLagMs, silenceMs, mostSpilled },
    ...(zone !== undefined && { zone }),
    ...(hedgeAfterMs !== undefined && { hedgeAfterMs }),
  };
}
