import type { Log } from '@antiphon/core';
import type { FaultRates, Random } from '@antiphon/testing';
import type { SimulatedStore } from './disk/simulated-store.js';
import type { Features, SimulatedUpdate } from './features.js';

export type SimulatedTopology = 'multi-primary' | 'primary-replica';

export type { SimulatedUpdate };

export interface SimulationOptions {
  /** 'async' when absent. */
  readonly update?: SimulatedUpdate;
  readonly topology?: SimulatedTopology;
  /** Replicas of the cluster. Default 3. */
  readonly replicas?: number;
  /** Virtual time with writes and faults, before everything heals. */
  readonly durationMs?: number;
  /** Mean virtual time between two writes at one replica. */
  readonly meanWriteMs?: number;
  /** Mean virtual time between two troubles. */
  readonly meanTroubleMs?: number;
  /** What may happen; everything when absent. */
  readonly chaos?: Partial<ChaosSwitches>;
  /** What the world has; the seed decides what is absent here. */
  readonly features?: Partial<Features>;
  /** Puts a defect in, to see that the checks find it. */
  readonly defect?: Defect;
}

/** Kinds of trouble that can be left out. */
export interface ChaosSwitches {
  readonly crashes: boolean;
  readonly powerLoss: boolean;
  readonly disconnections: boolean;
  readonly clockJumps: boolean;
  readonly messageFaults: boolean;
  readonly storeFaults: boolean;
  /** Processes that stand still for a while; of synchronous clusters only. */
  readonly pauses: boolean;
}

/** Ports that do not keep their contract. */
export interface Defect {
  readonly store?: typeof SimulatedStore;
  readonly log?: (log: Log) => Log;
}

export interface ResolvedOptions {
  readonly update: SimulatedUpdate;
  readonly topology: SimulatedTopology;
  readonly replicas: number;
  readonly durationMs: number;
  readonly meanWriteMs: number;
  readonly meanTroubleMs: number;
  readonly chaos: ChaosSwitches;
  readonly features: Features;
  readonly defect: Defect;
}

export const ALL_CHAOS: ChaosSwitches = {
  crashes: true,
  powerLoss: true,
  disconnections: true,
  clockJumps: true,
  messageFaults: true,
  storeFaults: true,
  pauses: true,
};

export function resolveOptions(options: SimulationOptions, features: Features): ResolvedOptions {
  const { update = 'async' } = options;
  const chaos = { ...ALL_CHAOS, ...options.chaos };
  return {
    update,
    topology: options.topology ?? 'multi-primary',
    replicas: options.replicas ?? 3,
    durationMs: options.durationMs ?? 12_000,
    meanWriteMs: options.meanWriteMs ?? 150,
    meanTroubleMs: options.meanTroubleMs ?? 500,
    chaos: { ...chaos, pauses: chaos.pauses && update === 'sync' },
    features,
    defect: options.defect ?? {},
  };
}

/**
 * Each run has its own mixture: some faults often, some never. A run in which everything fails all
 * the time reaches few states (Groce et al., "Swarm Testing", 2012).
 */
export function chooseRates(random: Random, chaos: ChaosSwitches): Partial<FaultRates> {
  const sometimes = (most: number): number => (random.chance(0.5) ? random.next() * most : 0);
  const maxLatencyMs = random.pick([1, 5, 30, 200]);
  const late = random.fork('late answers');
  const messages = {
    lostAppend: sometimes(0.2),
    lostAppendReply: sometimes(0.2),
    lateAppend: sometimes(0.1),
    lateAppendReply: late.chance(0.5) ? late.next() * 0.4 : 0,
    duplicatedAppend: sometimes(0.2),
    refusedAppend: sometimes(0.2),
    lostCall: sometimes(0.05),
    lostBusMessage: sometimes(0.3),
    duplicatedBusMessage: sometimes(0.2),
  };
  const store = {
    storeBusy: sometimes(0.2),
    storeFull: sometimes(0.05),
    maxStoreMs: random.pick([0, 2, 10]),
  };
  return {
    minLatencyMs: 0.1,
    maxLatencyMs,
    ...(chaos.messageFaults ? messages : {}),
    ...(chaos.storeFaults ? store : {}),
  };
}
