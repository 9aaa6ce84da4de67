import { toAntiphonError, type AntiphonError } from '@antiphon/core';
import { startReplica, type Replica, type UpdateOptions } from '@antiphon/replica';
import {
  type Faults,
  Link,
  type MemoryBus,
  type MemoryLog,
  type MemoryRegistry,
  type NodeClock,
  type VirtualClock,
} from '@antiphon/testing';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { AUDIT_TRIGGER } from './features.js';
import type { SimulatedDatabase } from './database.js';
import type { Program } from './disk/connection.js';
import { SimulatedStore } from './disk/simulated-store.js';
import { simulatedSurroundings } from './disk/surroundings.js';
import type { ResolvedOptions } from './options.js';

/** What all simulated machines share. */
export interface World {
  readonly clock: VirtualClock;
  readonly faults: Faults;
  readonly log: MemoryLog;
  readonly bus: MemoryBus;
  readonly registry: MemoryRegistry;
  readonly options: ResolvedOptions;
  readonly update: UpdateOptions;
}

export const CLUSTER = 'simulated';
const REPLICA_LIMITS = {
  pollMs: 40,
  connectTimeoutMs: 8000,
  duplicateCheckMs: 100,
  beatMs: 500,
  windowMessages: 8,
  applyEntries: 16,
};
/** Whole transactions still share an entry; parts do not. */
const SEPARATE_PARTS = { packBytes: 1500 };
/** Short, so that members leave the in-sync set and return within a run. */
const SYNC_LIMITS = { inSyncLagMs: 1500, inSyncJoinMs: 2000, writeGroup: 6 };

/** One process: what is gone when it is killed. */
interface Process {
  readonly clock: NodeClock;
  readonly link: Link;
  readonly store: SimulatedStore;
  /** As its database knows it. */
  readonly program: Program;
  replica: Replica<SqliteTransaction> | undefined;
  paused: boolean;
}

/** A simulated machine: a clock and a database that last, and a process that comes and goes. */
export class SimulatedNode {
  /** Why starts failed and replicas ended by themselves. */
  readonly failures: AntiphonError[] = [];
  readonly #links: Link[] = [];
  #process: Process | undefined;
  #starts = 0;
  #memberSinceMs: number | undefined;
  #firstMemberCommit: number | undefined;
  #connectedSinceMs = 0;

  constructor(
    readonly id: string,
    readonly database: SimulatedDatabase,
    readonly machine: NodeClock,
    private readonly world: World,
    private readonly onEvent: (event: string) => void,
  ) {}

  get running(): boolean {
    return this.#process !== undefined;
  }

  /** Processes so far; also the number of the one that runs. */
  get starts(): number {
    return this.#starts;
  }

  get paused(): boolean {
    return this.#process?.paused === true;
  }

  /** When it became a member of the cluster. */
  get memberSinceMs(): number | undefined {
    return this.#memberSinceMs;
  }

  /** Since when nothing but faults of single messages is between it and the others. */
  get connectedSinceMs(): number {
    return this.#connectedSinceMs;
  }

  /** The first state of its database from which it can start as a member. */
  get firstMemberCommit(): number | undefined {
    return this.#firstMemberCommit;
  }

  /** It was removed; a new start makes it a member again. */
  forgetMembership(): void {
    this.#memberSinceMs = undefined;
  }

  get replica(): Replica<SqliteTransaction> | undefined {
    return this.#process?.replica;
  }

  start(): void {
    if (this.#process !== undefined) return;
    const { world, machine } = this;
    const clock = machine.process(`process ${++this.#starts}`);
    const link = new Link({ clock: world.clock, faults: world.faults });
    this.#links.push(link);
    const { file } = this.database;
    const { faults, options } = world;
    const name = `${this.id}-${this.#starts}`;
    const { surroundings, program } = simulatedSurroundings({ clock, faults, file, name });
    const store = new (options.defect.store ?? SimulatedStore)(file.path, surroundings, clock, faults);
    const process: Process = { clock, link, store, program, replica: undefined, paused: false };
    this.#process = process;
    this.onEvent('starts');
    this.#run(process).catch((error: unknown) => this.#ended(process, toAntiphonError(error)));
  }

  async #run(process: Process): Promise<void> {
    const { log, bus, registry, options, update } = this.world;
    const { clock, link, store } = process;
    const connection = log.connect(link);
    const replica = await startReplica<SqliteTransaction>({
      cluster: CLUSTER,
      id: this.id,
      store,
      log: options.defect.log?.(connection) ?? connection,
      bus: bus.connect(link),
      registry: registry.connect(link),
      clock,
      topology:
        options.topology === 'multi-primary'
          ? { mode: 'multi-primary' }
          : { mode: 'primary-replica', primary: 'r1' },
      update,
      ...(options.features.terms &&
        options.topology === 'primary-replica' && { failover: { mode: 'manual' } }),
      ...(options.features.audits && { localTriggers: [AUDIT_TRIGGER] }),
      limits: {
        ...REPLICA_LIMITS,
        ...(update.mode === 'sync' && SYNC_LIMITS),
        ...(options.features.separateParts && SEPARATE_PARTS),
      },
    });
    process.replica = replica;
    this.#memberSinceMs ??= this.world.clock.monotonicMs();
    this.#firstMemberCommit ??= this.database.commits;
    this.onEvent('runs');
    const error = await replica.ended;
    if (error !== undefined) this.#ended(process, error);
  }

  /** The process is killed between two of its steps: only the database remains. */
  kill(): void {
    this.#end({ dropWhatIsUnderWay: false });
    this.onEvent('killed');
  }

  /**
   * The machine loses power: its newest commits are gone as well, and what it had sent. Returns the
   * lost commits.
   */
  losePower(commits: number): readonly number[] {
    this.#end({ dropWhatIsUnderWay: true });
    const lost = this.database.losePower(commits);
    this.onEvent(`lost power and ${lost.length} commits`);
    return lost;
  }

  /**
   * The machine goes down, and somebody puts an older copy of its database in place. Returns the
   * commits it lacks.
   */
  restore(commits: number): readonly number[] {
    this.#end({ dropWhatIsUnderWay: true });
    const lost = this.database.restore(commits, this.#firstMemberCommit ?? this.database.commits);
    this.onEvent(`has an older copy, without ${lost.length} commits`);
    return lost;
  }

  /**
   * The process stands still for a while, and then goes on as if nothing had been. Returns how to
   * make it.
   */
  pause(): () => void {
    const process = this.#process;
    if (process === undefined || process.paused) return () => undefined;
    process.paused = true;
    process.clock.pause();
    process.link.pause();
    this.onEvent('stands still');
    return () => {
      process.paused = false;
      process.clock.resume();
      process.link.resume();
    };
  }

  disconnect(): void {
    this.#connectedSinceMs = Infinity;
    this.#process?.link.disconnect();
  }

  reconnect(): void {
    this.#connectedSinceMs = this.world.clock.monotonicMs();
    this.#process?.link.reconnect();
  }

  #ended(process: Process, error: AntiphonError): void {
    if (this.#process !== process) return;
    this.failures.push(error);
    this.onEvent(`ended: ${error.code}`);
    this.#end({ dropWhatIsUnderWay: false });
  }

  #end(options: { readonly dropWhatIsUnderWay: boolean }): void {
    const process = this.#process;
    this.#process = undefined;
    process?.clock.stop();
    process?.link.kill(options);
    if (process !== undefined) this.database.file.drop(process.program);
    // What an earlier process had sent is under way as well. Messages outlive a process for
    // seconds, not a reboot.
    if (options.dropWhatIsUnderWay) for (const link of this.#links) link.kill(options);
  }
}
