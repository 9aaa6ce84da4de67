import { summarize, type LogEntry } from '@antiphon/core';
import type { Random } from '@antiphon/testing';
import type { Ledger } from './ledger.js';
import type { SimulatedNode, World } from './node.js';
import { chooseRates, type ResolvedOptions } from './options.js';

export interface ChaosCounts {
  crashes: number;
  powerLosses: number;
  lostCommits: number;
  disconnections: number;
  outages: number;
  clockJumps: number;
  pauses: number;
  restores: number;
}

type Trouble =
  | 'crash'
  | 'crash at commit'
  | 'crash at publish'
  | 'loss between parts'
  | 'power loss'
  | 'disconnect'
  | 'outage'
  | 'clock jump'
  | 'pause'
  | 'lock'
  | 'durable deleted'
  | 'power loss and wrong clock'
  | 'older copy'
  | 'full disk'
  | 'removal'
  | 'schema change'
  | 'other rates';

const LONGEST_DOWN_MS = 2500;
const LONGEST_PAUSE_MS = 4000;
const MOST_LOST_COMMITS = 12;
const MOST_RESTORED_COMMITS = [3, 40, 400];
const LONGEST_FULL_MS = 6000;
/** After an event: before anything else happens, or while its answer is on the way. */
const INSTANTS_MS = [0, 0, 0.05, 1, 5];
const DAY_MS = 86_400_000;
const JUMPS_MS = [-2 * DAY_MS, -3_600_000, -2000, -50, 50, 2000, 600_000, 2 * DAY_MS];
/** Somebody notices, or NTP does. */
const LONGEST_WRONG_MS = 4000;

export interface ChaosHooks {
  readonly note: (event: string) => void;
  /** A database is as it was left, and nobody has it open. */
  readonly left: (node: SimulatedNode) => void;
  /** A database is about to be looked at, and is an older copy. */
  readonly restored: (node: SimulatedNode) => void;
  readonly changeSchema: (node: SimulatedNode) => void;
  readonly remove: (node: SimulatedNode) => void;
}

/**
 * Makes trouble, at random times, until it is told to stop; everything that it breaks it mends
 * after a while.
 */
export class Chaos {
  readonly counts: ChaosCounts = {
    crashes: 0,
    powerLosses: 0,
    lostCommits: 0,
    disconnections: 0,
    outages: 0,
    clockJumps: 0,
    pauses: 0,
    restores: 0,
  };
  #stopped = false;

  constructor(
    private readonly world: World,
    private readonly nodes: readonly SimulatedNode[],
    private readonly random: Random,
    private readonly ledger: Ledger,
    private readonly hooks: ChaosHooks,
  ) {}

  start(): void {
    this.world.clock.setTimer(this.#soon(this.world.options.meanTroubleMs), () => {
      if (this.#stopped) return;
      this.#trouble(this.random.pick(troubles(this.world.options)), this.random.pick(this.nodes));
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  #trouble(kind: Trouble, node: SimulatedNode): void {
    if (kind === 'crash' || kind === 'power loss') return this.#end(node, kind);
    if (kind === 'crash at commit') return this.#endAtCommit(node);
    if (kind === 'crash at publish') return this.#endAtPublish(node);
    if (kind === 'loss between parts') return this.#loseBetweenParts(node);
    if (kind === 'other rates')
      return this.world.faults.set(chooseRates(this.random, this.world.options.chaos));
    if (kind === 'schema change') return this.hooks.changeSchema(node);
    if (kind === 'older copy') return this.#end(node, kind);
    this.hooks.note(`${kind} ${node.id}`);
    if (kind === 'power loss and wrong clock') return this.#bootWrong(node);
    if (kind === 'full disk') return this.#fill(node);
    if (kind === 'removal') return this.#remove(node);
    if (kind === 'disconnect') return this.#disconnect([node]);
    if (kind === 'outage') return this.#disconnect(this.nodes);
    if (kind === 'lock') return this.#lock(node);
    if (kind === 'pause') return this.#pause(node);
    if (kind === 'durable deleted') return this.#deleteDurable(node);
    this.#jump(node);
  }

  #jump(node: SimulatedNode): void {
    this.counts.clockJumps++;
    node.machine.jump(this.random.pick(JUMPS_MS));
    this.#later(this.random.int(1, LONGEST_WRONG_MS), () => node.machine.setRight());
  }

  /** Without a battery, a machine's clock comes back with an old time, and NTP takes its time. */
  #bootWrong(node: SimulatedNode): void {
    if (!node.running) return;
    this.#end(node, 'power loss');
    this.#jump(node);
  }

  #fill({ database: { file } }: SimulatedNode): void {
    file.full = true;
    this.#later(this.random.int(1, LONGEST_FULL_MS), () => (file.full = false));
  }

  /** Mostly one that is down already. */
  #remove(node: SimulatedNode): void {
    if (this.random.chance(0.7)) this.#end(node, 'crash');
    this.hooks.remove(node);
  }

  #end(node: SimulatedNode, kind: 'crash' | 'power loss' | 'older copy'): void {
    // An armed crash may come when everything is to heal.
    if (!node.running || this.#stopped) return;
    if (kind === 'crash') {
      this.counts.crashes++;
      node.kill();
    } else if (kind === 'older copy') {
      if (node.firstMemberCommit === undefined) return;
      this.counts.restores++;
      const lost = node.restore(this.random.int(1, this.random.pick(MOST_RESTORED_COMMITS)));
      this.ledger.lost(node.id, node.database, lost);
      this.hooks.restored(node);
    } else {
      const lost = node.losePower(this.random.int(0, MOST_LOST_COMMITS));
      this.counts.powerLosses++;
      this.counts.lostCommits += lost.length;
      this.ledger.lost(node.id, node.database, lost);
    }
    this.hooks.left(node);
    this.#later(this.random.int(1, LONGEST_DOWN_MS), () => node.start());
  }

  /** Between a commit and whoever waits for it. */
  #endAtCommit(node: SimulatedNode): void {
    const kind = this.#crashOrPowerLoss();
    const stop = node.database.onCommit(() => {
      stop();
      this.#later(this.random.pick(INSTANTS_MS), () => this.#end(node, kind));
    });
  }

  /** Between the log's storing a message and its answer. */
  #endAtPublish(node: SimulatedNode): void {
    const kind = this.#crashOrPowerLoss();
    const { log } = this.world;
    const stop = log.onChange(() => {
      if (log.entries().at(-1)?.origin !== node.id) return;
      stop();
      this.#later(this.random.pick(INSTANTS_MS), () => this.#end(node, kind));
    });
  }

  /** The log has the beginning of a big transaction, which its database has no more. */
  #loseBetweenParts(node: SimulatedNode): void {
    const kind = this.random.chance(0.5) ? 'power loss' : 'older copy';
    const { log } = this.world;
    const stop = log.onChange(() => {
      const newest = log.entries().at(-1);
      if (newest?.origin !== node.id || !isBeginning(newest)) return;
      stop();
      this.#later(this.random.pick(INSTANTS_MS), () => this.#end(node, kind));
    });
  }

  #crashOrPowerLoss(): 'crash' | 'power loss' {
    const { powerLoss } = this.world.options.chaos;
    return this.random.chance(0.3) && powerLoss ? 'power loss' : 'crash';
  }

  #disconnect(nodes: readonly SimulatedNode[]): void {
    if (nodes.length === 1) this.counts.disconnections++;
    else this.counts.outages++;
    for (const node of nodes) node.disconnect();
    this.#later(this.random.int(1, LONGEST_DOWN_MS), () => {
      for (const node of nodes) node.reconnect();
    });
  }

  /** Another program begins a transaction and takes its time. */
  #lock({ database }: SimulatedNode): void {
    if (database.busy) return;
    const unlock = database.lock();
    this.#later(this.random.int(1, 300), unlock);
  }

  #pause(node: SimulatedNode): void {
    this.counts.pauses++;
    this.#later(this.random.int(1, LONGEST_PAUSE_MS), node.pause());
  }

  #deleteDurable({ id }: SimulatedNode): void {
    if (this.world.log.exists) this.world.log.deleteDurable(`replica_${id}`);
  }

  #later(delayMs: number, work: () => void): void {
    this.world.clock.setTimer(delayMs, work);
  }

  #soon(meanMs: number): number {
    return -Math.log(1 - this.random.next()) * meanMs;
  }
}

/** A part that others follow. */
function isBeginning({ data }: LogEntry): boolean {
  return summarize(data).some(({ kind, last }) => kind === 'part' && !last);
}

function troubles({ chaos, features }: ResolvedOptions): readonly Trouble[] {
  const possible: Trouble[] = ['durable deleted'];
  if (chaos.crashes) possible.push('crash', 'crash at commit', 'crash at publish');
  if (chaos.powerLoss) possible.push('power loss');
  if (chaos.disconnections) possible.push('disconnect', 'outage');
  if (chaos.clockJumps) possible.push('clock jump');
  if (chaos.pauses) possible.push('pause');
  if (chaos.storeFaults) possible.push('lock');
  if (chaos.messageFaults) possible.push('other rates');
  if (features.wrongBoots && chaos.powerLoss) possible.push('power loss and wrong clock');
  if (features.restores) possible.push('older copy');
  if (features.separateParts && chaos.powerLoss) possible.push('loss between parts', 'loss between parts');
  if (features.fullDisks) possible.push('full disk', 'full disk');
  if (features.removals) possible.push('removal');
  if (features.randomTables && features.schemaChanges)
    possible.push('schema change', 'schema change', 'schema change');
  return possible;
}
