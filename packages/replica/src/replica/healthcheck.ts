import { AntiphonError, checkOptions, type OptionNames, shownOption } from '@antiphon/core';
import type { LifecycleState } from '../config/lifecycle.js';
import { problemsOf, READS_GO_ON, type HealthOptions } from './problems.js';
import type { ReplicaStatus } from './status.js';

/** For the probes of a service. Plain JSON. */
export interface ReplicaHealth {
  /**
   * False once the replica has ended: only a new process helps. A stalled one is alive; a restart
   * would not help.
   */
  readonly live: boolean;
  /** In step with the cluster, nothing is in the way of its work, and it is not drained. */
  readonly ready: boolean;
  readonly state: LifecycleState;
  /** What is in the way, a sentence each. */
  readonly problems: readonly string[];
}

const HEALTH_OPTIONS: OptionNames<HealthOptions> = { maxLagSeconds: true };
const ENDED: ReadonlySet<LifecycleState> = new Set(['failed', 'closing', 'closed']);
const IN_STEP: ReadonlySet<LifecycleState> = new Set(['following', 'primary']);

/** Throws BAD_OPTION. */
export function healthOf(status: () => ReplicaStatus, options: HealthOptions): ReplicaHealth {
  checkOptions(options, HEALTH_OPTIONS, 'healthcheck()');
  const { maxLagSeconds } = options;
  if (maxLagSeconds !== undefined && !(typeof maxLagSeconds === 'number' && maxLagSeconds > 0)) {
    const message = `\`maxLagSeconds\` is ${shownOption(maxLagSeconds)}. Give a number above 0, or leave it out.`;
    throw new AntiphonError('BAD_OPTION', message);
  }
  const now = status();
  const { drainedSinceMs } = now.reads;
  const problems = [
    ...problemsOf(now, options),
    ...(drainedSinceMs === undefined
      ? []
      : [`${now.id} is drained. \`antiphon resume ${now.id}\` ends that.`]),
  ];
  const alarms = now.alarms.filter(({ name }) => !READS_GO_ON.has(name));
  const inTheWay = problemsOf({ ...now, alarms }, options);
  return {
    live: !ENDED.has(now.lifecycle),
    ready: inTheWay.length === 0 && drainedSinceMs === undefined && IN_STEP.has(now.lifecycle),
    state: now.lifecycle,
    problems,
  };
}
