import type { Role } from './topology.js';

/**
 * `joining`: agreeing with the cluster. `bootstrapping`: making the database a replica of it. `catching-up`: behind the log.
 * `following`, `primary`: in step. `stalled`: replication has stopped until an operator acts, the database still takes
 * local writes. `failed`: it ended by a defect.
 */
export type LifecycleState =
  | 'joining'
  | 'bootstrapping'
  | 'catching-up'
  | 'following'
  | 'primary'
  | 'stalled'
  | 'failed'
  | 'closing'
  | 'closed';

export type LifecycleEvent =
  'agreed' | 'installed' | 'caught-up' | 'fell-behind' | 'stall' | 'fail' | 'close' | 'closed';

/** `in-step` stands for `following` or `primary`, by role. `ignore`: stays as it is. */
type Target = LifecycleState | 'in-step' | 'ignore';

const ENDING: Record<LifecycleEvent, Target> = {
  agreed: 'ignore',
  installed: 'ignore',
  'caught-up': 'ignore',
  'fell-behind': 'ignore',
  stall: 'ignore',
  fail: 'ignore',
  close: 'ignore',
  closed: 'closed',
};

const RUNNING: Record<LifecycleEvent, Target> = {
  agreed: 'ignore',
  installed: 'ignore',
  'caught-up': 'ignore',
  'fell-behind': 'ignore',
  stall: 'stalled',
  fail: 'failed',
  close: 'closing',
  closed: 'closed',
};

const TABLE: Record<LifecycleState, Record<LifecycleEvent, Target>> = {
  joining: { ...RUNNING, agreed: 'bootstrapping' },
  bootstrapping: { ...RUNNING, installed: 'catching-up' },
  'catching-up': { ...RUNNING, 'caught-up': 'in-step' },
  following: { ...RUNNING, 'fell-behind': 'catching-up' },
  primary: RUNNING,
  // Nothing but a restart ends a stall: what caused it needs a person.
  stalled: { ...RUNNING, stall: 'ignore' },
  failed: { ...ENDING, close: 'closing' },
  closing: ENDING,
  closed: { ...ENDING, closed: 'ignore' },
};

/** The state after `event`; the same one when the event means nothing there. */
export function nextState(state: LifecycleState, event: LifecycleEvent, role: Role): LifecycleState {
  const target = TABLE[state][event];
  if (target === 'ignore') return state;
  if (target === 'in-step') return role === 'primary' ? 'primary' : 'following';
  return target;
}
