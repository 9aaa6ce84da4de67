import { outcomeIdOf } from './flight.js';
import type { Effect } from './group-states.js';
import type { WriteQueue } from './write-queue.js';

/** What of the machine's effects is about the writes alone. */
export type WriteEffect = Extract<
  Effect,
  {
    readonly type:
      'put-back' | 'wait' | 'all-wait' | 'give-up' | 'all-give-up' | 'reject' | 'published' | 'held';
  }
>;

/** Performs one. The committer and the model that tests the machine have this in common. */
export function performOnWrites(effect: WriteEffect, queue: WriteQueue): void {
  switch (effect.type) {
    case 'put-back':
      return queue.putBack(effect.writes);
    case 'wait':
      return effect.writes.forEach((write) => write.waits(effect.why));
    case 'all-wait':
      return queue.waitFor(effect.why);
    case 'give-up':
      return effect.writes.forEach((write) => write.giveUp(effect.error));
    case 'all-give-up':
      return queue.giveUp(effect.error);
    case 'reject':
      return effect.write.reject(effect.error);
    case 'published':
      return effect.flight.flying.forEach((one) => one.write.published(outcomeIdOf(effect.flight, one)));
    case 'held':
      return effect.flight.flying.forEach(({ write }) => write.held(effect.why));
  }
}
