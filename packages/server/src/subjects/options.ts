import { checkOptions, OPTION, type OptionNames } from '@antiphon/core';
import type { Logger } from '@antiphon/replica';
import { guardedLogger, silentLogger } from '@antiphon/replica/internal';
import { POSITIVE, withDefaults } from '../service/options.js';

/** Bounds of what a replica answers on the subjects of its cluster. */
export interface SubjectsLimits {
  /**
   * Bytes of a request; more are refused with 413. The `max_payload` of nats-server is another
   * bound.
   * @defaultValue 1 MiB
   */
  readonly bodyBytes: number;
  /**
   * Bytes of the result of a query, about; more are BAD_SQL. The `max_payload` of nats-server is
   * another bound.
   * @defaultValue 1 MiB
   */
  readonly resultBytes: number;
  /**
   * Reads and writes at once; those beyond are refused with 429.
   * @defaultValue 256
   */
  readonly requests: number;
  /**
   * Milliseconds that a request may take which does not say so itself: nobody notices a client that
   * has gone.
   * @defaultValue 10 000
   */
  readonly timeoutMs: number;
  /**
   * Milliseconds that requests under way have to end in, when the service closes.
   * @defaultValue 10 000
   */
  readonly graceMs: number;
}

/** Bounds, and where it says what happens. */
export interface SubjectsOptions {
  /** Those of `DEFAULT_SUBJECTS_LIMITS`, where they are left out. */
  readonly limits?: Partial<SubjectsLimits>;
  /**
   * Where it says what happens.
   * @defaultValue nowhere
   */
  readonly logger?: Logger;
}

/** What bounds a replica on the subjects of its cluster, where its options do not say otherwise. */
export const DEFAULT_SUBJECTS_LIMITS: SubjectsLimits = {
  bodyBytes: 1024 * 1024,
  resultBytes: 1024 * 1024,
  requests: 256,
  timeoutMs: 10_000,
  graceMs: 10_000,
};

const OPTIONS: OptionNames<SubjectsOptions> = { limits: true, logger: true };
const LIMITS: OptionNames<SubjectsLimits> = {
  ...{ bodyBytes: POSITIVE, resultBytes: POSITIVE, requests: POSITIVE, timeoutMs: POSITIVE },
  graceMs: OPTION.milliseconds,
};

export interface SubjectsSettings {
  readonly limits: SubjectsLimits;
  readonly logger: Logger;
}

/** Throws BAD_OPTION. */
export function resolveSubjectsOptions(options: SubjectsOptions): SubjectsSettings {
  checkOptions(options, OPTIONS, 'serveSubjects()');
  checkOptions(options.limits, LIMITS, '`limits` of serveSubjects()');
  const limits = withDefaults(DEFAULT_SUBJECTS_LIMITS, options.limits);
  return { limits, logger: guardedLogger(options.logger ?? silentLogger) };
}
