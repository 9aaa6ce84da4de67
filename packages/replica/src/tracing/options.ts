import { checkOptions, OPTION, type OptionNames } from '@antiphon/core';
import type { TracingSettings } from './spans.js';

/** What goes into the spans of a program that traces. */
export interface TracingOptions {
  /**
   * Whether spans have the text of statements, as it was given and at most 2000 characters of it.
   * Parameters are never in spans; values that are written into the text are.
   * @defaultValue true
   */
  readonly sql?: boolean;
}

const TRACING: OptionNames<TracingOptions> = { sql: OPTION.flag };

/** Throws BAD_OPTION. */
export function parseTracing(options: TracingOptions = {}): TracingSettings {
  checkOptions(options, TRACING, '`tracing`');
  return { sql: options.sql ?? true };
}
