import type { SyncUpdate, AckLevel } from '@antiphon/replica';
import type { FaultRates, Random } from '@antiphon/testing';

/** How a simulated synchronous cluster is set up; each seed has its own. */
export function chooseSyncUpdate(random: Random, replicas: number): Required<SyncUpdate> {
  return {
    mode: 'sync',
    acks: chooseAcks(random, replicas),
    minInSync: random.int(1, 2),
    onShortfall: random.pick(['reject', 'degrade']),
    foreignWrites: random.chance(0.25) ? 'async' : 'refuse',
  };
}

export function chooseAcks(random: Random, replicas: number): AckLevel {
  return random.pick<AckLevel>(['local', 'logged', 'majority', 'all', 'all', random.int(1, replicas)]);
}

/**
 * A replica takes seconds until it is in sync: with trouble all the time, nothing else would ever
 * happen.
 */
export function choosePace(random: Random): { readonly meanWriteMs: number; readonly meanTroubleMs: number } {
  return { meanWriteMs: random.pick([20, 50, 120]), meanTroubleMs: random.pick([700, 1500, 4000]) };
}

/** Faults that only matter where an append expects the last entry of its origin. */
export function chooseSyncRates(random: Random): Partial<FaultRates> {
  return { rivalAppend: random.chance(0.15) ? 0.5 : 0 };
}
