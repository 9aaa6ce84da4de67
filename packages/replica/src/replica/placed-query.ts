import { withAbortReason } from '@antiphon/core';
import { type PlacedOptions, type PlacedResult, readWithPlace } from '../read/read.js';
import type { Params } from '../write/statement.js';
import { calledSpan } from '../tracing/spans.js';
import { traced } from '../tracing/tracer.js';
import { insideOf } from './inside.js';
import { placesOf } from './places-of.js';
import type { Replica } from './replica.js';

/**
 * As `query`, with a session token of what was read: for what serves a replica to programs
 * elsewhere. Throws what `query` throws; BAD_OPTION for what is not a replica of this build.
 */
export async function placedQuery(
  replica: Replica<unknown>,
  sql: string,
  params: Params = [],
  options: PlacedOptions = {},
): Promise<PlacedResult> {
  const inside = insideOf(replica);
  const { scope } = inside;
  const reading = (): Promise<PlacedResult> => readWithPlace(scope, placesOf(inside), sql, params, options);
  return traced(
    () => calledSpan(scope, 'query', [{ sql }]),
    () => withAbortReason(reading(), options),
  );
}
