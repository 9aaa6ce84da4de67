import { AntiphonError } from '@antiphon/core';
import type { PlacedResult, QueryOptions } from '../read/read.js';
import type { Params } from '../write/statement.js';
import { type Replica, RunningReplica } from './replica.js';

/**
 * For what serves a replica to programs elsewhere. Throws what `query` throws; BAD_OPTION for what
 * is not a replica of this build.
 */
export async function placedQuery(
  replica: Replica<unknown>,
  sql: string,
  params: Params = [],
  options: QueryOptions = {},
): Promise<PlacedResult> {
  if (replica instanceof RunningReplica) return replica.placedQuery(sql, params, options);
  const message =
    'This is not a replica of this build of @antiphon/replica. Give what its `createReplica` returned.';
  throw new AntiphonError('BAD_OPTION', message);
}
