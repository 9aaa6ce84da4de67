import { type Beat, MAX_REASONS, MAX_WAITS } from '@antiphon/core';
import type { Scope } from '../state/scope.js';

/** How this replica is now. `strangers`: who was heard since the last beat, and is no member. */
export function ownBeat(scope: Scope, strangers: readonly string[] = []): Beat {
  const { id, instance, startedAtMs, health, document, positions, progress, clock, store } = scope;
  const { entry } = store.state().position;
  const { waiting } = health;
  return {
    id,
    instance,
    startedAtMs,
    lifecycle: health.state,
    generation: document.generation,
    seq: positions.passed,
    ...(entry && { entry }),
    appliedSeq: positions.applied,
    waitsFor: Object.fromEntries(
      waiting.slice(0, MAX_WAITS).map(({ origin, expected }) => [origin, expected]),
    ),
    waitsWhy: Object.fromEntries(waiting.slice(0, MAX_REASONS).map(({ origin, reason }) => [origin, reason])),
    strangers: [...strangers],
    vector: progress.vector,
    lagEntries: positions.lagEntries,
    lagMs: Math.round(positions.lagSeconds * 1000),
    unpublished: progress.unpublished,
    nowMs: clock.nowMs(),
    ...primaryOf(scope),
    reads: { ...scope.reads, isDrained: scope.serving.isDrained },
  };
}

function primaryOf({ authority }: Scope): Pick<Beat, 'primary'> {
  const { epoch, primary } = authority.current();
  return primary === undefined || primary === '' ? {} : { primary: { epoch, id: primary } };
}
