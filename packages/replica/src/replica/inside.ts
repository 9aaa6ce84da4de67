import { AntiphonError } from '@antiphon/core';
import { type Inside, type Replica, RunningReplica } from './replica.js';

/** Throws BAD_OPTION for what is not a replica of this build. */
export function insideOf(replica: Replica<unknown>): Inside {
  if (replica instanceof RunningReplica) return replica.inside;
  const message =
    'This is not a replica of this build of @antiphon/replica. Give what its `createReplica` returned.';
  throw new AntiphonError('BAD_OPTION', message);
}
