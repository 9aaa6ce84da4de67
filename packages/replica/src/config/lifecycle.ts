import type { Role } from '@antiphon/core';

/**
 * What a replica is doing. `joining`: agreeing with the cluster. `bootstrapping`: making the
 * database a replica of it. `catching-up`: behind the log, or waiting for a transaction that is
 * missing. `following`, `primary`: in step. `suspended`: a primary without its lease, which takes
 * no writes. `draining`: it hands over to another primary, and writes wait. `rewinding`: another
 * replica is the primary, and what only this one has goes to its rescue ledger. `holding`: the
 * database refuses a transaction of another replica; it is tried again until it goes in, and
 * nothing after it is applied before. `stalled`: replication has stopped until an operator acts. In
 * both, the database still takes local writes. `failed`: it ended by a defect.
 */
export type LifecycleState =
  | 'joining'
  | 'bootstrapping'
  | 'catching-up'
  | 'following'
  | 'primary'
  | 'suspended'
  | 'draining'
  | 'rewinding'
  | 'holding'
  | 'stalled'
  | 'failed'
  | 'closing'
  | 'closed';

export type LifecycleEvent =
  | 'agreed'
  | 'installed'
  | 'caught-up'
  | 'fell-behind'
  /** Another epoch has begun. */
  | 'entered'
  | 'hand-over'
  /** A hand-over has ended before anything had changed. */
  | 'keep-role'
  | 'lease-out'
  | 'lease-back'
  | 'rewind'
  | 'rewound'
  | 'hold'
  | 'resume'
  | 'stall'
  | 'recover'
  | 'fail'
  | 'close'
  | 'closed';

/** `in-step` stands for `following` or `primary`, by role. `ignore`: stays as it is. */
type Target = LifecycleState | 'in-step' | 'ignore';

const ENDING: Record<LifecycleEvent, Target> = {
  agreed: 'ignore',
  installed: 'ignore',
  'caught-up': 'ignore',
  'fell-behind': 'ignore',
  entered: 'ignore',
  'hand-over': 'ignore',
  'keep-role': 'ignore',
  'lease-out': 'ignore',
  'lease-back': 'ignore',
  rewind: 'ignore',
  rewound: 'ignore',
  hold: 'ignore',
  resume: 'ignore',
  stall: 'ignore',
  recover: 'ignore',
  fail: 'ignore',
  close: 'ignore',
  closed: 'closed',
};

const RUNNING: Record<LifecycleEvent, Target> = {
  agreed: 'ignore',
  installed: 'ignore',
  'caught-up': 'ignore',
  'fell-behind': 'ignore',
  entered: 'ignore',
  'hand-over': 'ignore',
  'keep-role': 'ignore',
  'lease-out': 'ignore',
  'lease-back': 'ignore',
  rewind: 'rewinding',
  rewound: 'ignore',
  hold: 'holding',
  resume: 'ignore',
  stall: 'stalled',
  recover: 'ignore',
  fail: 'failed',
  close: 'closing',
  closed: 'closed',
};

const TABLE: Record<LifecycleState, Record<LifecycleEvent, Target>> = {
  joining: { ...RUNNING, rewind: 'ignore', agreed: 'bootstrapping' },
  bootstrapping: { ...RUNNING, rewind: 'ignore', installed: 'catching-up' },
  'catching-up': { ...RUNNING, 'caught-up': 'in-step' },
  following: { ...RUNNING, 'fell-behind': 'catching-up', entered: 'in-step' },
  primary: {
    ...RUNNING,
    'fell-behind': 'catching-up',
    entered: 'in-step',
    'hand-over': 'draining',
    'lease-out': 'suspended',
  },
  suspended: {
    ...RUNNING,
    'fell-behind': 'catching-up',
    entered: 'in-step',
    'hand-over': 'draining',
    'lease-back': 'in-step',
  },
  draining: { ...RUNNING, entered: 'in-step', 'keep-role': 'in-step' },
  rewinding: { ...RUNNING, rewind: 'ignore', rewound: 'catching-up' },
  holding: { ...RUNNING, hold: 'ignore', resume: 'catching-up' },
  // What caused a stall needs a person. A restart ends it, or what that person had done about the
  // cause.
  stalled: { ...RUNNING, stall: 'ignore', hold: 'ignore', rewind: 'ignore', recover: 'catching-up' },
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
