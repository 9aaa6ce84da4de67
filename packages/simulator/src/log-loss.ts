import { counterOf, EPOCH_ORIGIN } from '@antiphon/core';
import { Faults, memoryBus, memoryLog, memoryRegistry, Random, VirtualClock } from '@antiphon/testing';
import { SimulatedDatabase } from './database.js';
import { Folder } from './disk/folder.js';
import { LogModel } from './log-model.js';
import { SimulatedNode, type World } from './node.js';
import { NO_FEATURES } from './features.js';
import { resolveOptions, type SimulationOptions } from './options.js';
import { FIRST_ROWS, SIMULATED_TABLES } from './tables.js';
import { Trace } from './trace.js';
import { Violations, type Violation } from './violation.js';
import { Writers } from './writers.js';

const BEFORE_MS = { least: 3000, most: 7000 };
/** Beats, in which members compare what they know, come every half second. */
const AFTER_MS = 20_000;
const LONGEST_APART_MS = 4000;
const MOST_LOST = 12;
const MEAN_TAKEOVER_MS = 700;
const TAKEOVER_TIMEOUTS_MS = [200, 1500, 6000];
const KEPT_LINES = 200;

export interface LogLossReport {
  readonly seed: number;
  readonly ok: boolean;
  readonly violations: readonly Violation[];
  /** Entries that the log lost, and how many of them somebody's database had dealt with. */
  readonly lost: number;
  readonly stalled: readonly string[];
  readonly knew: readonly string[];
  /** Replicas that became the primary. */
  readonly takenOver: number;
  readonly lastEvents: readonly string[];
}

export function describeLogLoss(report: LogLossReport, topology: string, update: string): string {
  const { seed, ok, lost, knew, stalled, violations } = report;
  const text = `seed ${seed} (${topology}, ${update}): ${ok ? 'ok' : 'FAILED'}; lost ${lost}, known to ${knew.join(' ') || 'nobody'}, stalled ${stalled.join(' ') || 'nobody'}`;
  return [text, ...violations.map(({ replica, message }) => `  ${replica}: ${message}`)].join('\n');
}

/**
 * One run in which the log loses acknowledged entries and grows again (I14): nats-server comes back
 * with an older store, some members are down or slow meanwhile, and whoever is there first writes
 * on. Right is: where a database had dealt with what is lost, everybody stalls, and nothing of
 * whoever knew it comes into the other history; where none had, all go on after a start.
 */
export async function simulateLogLoss(seed: number, options: SimulationOptions = {}): Promise<LogLossReport> {
  return await new LogLoss(seed, options).run();
}

class LogLoss {
  readonly #world: World;
  readonly #random: Random;
  readonly #trace: Trace;
  readonly #nodes: readonly SimulatedNode[];
  readonly #writers: readonly Writers[];
  readonly #violations = new Violations();
  readonly #folder = new Folder();
  #stopped = false;
  #takenOver = 0;
  #endSeq = 0;
  #knew: readonly SimulatedNode[] = [];
  #writesBefore = new Map<SimulatedNode, { readonly process: number; readonly writes: number }>();

  constructor(
    private readonly seed: number,
    options: SimulationOptions,
  ) {
    const clock = new VirtualClock({ seed });
    this.#random = new Random(seed).fork('log loss');
    const faults = new Faults(this.#random.fork('faults'), { minLatencyMs: 0.1, maxLatencyMs: 20 });
    const shared = { clock, faults };
    this.#world = {
      ...shared,
      log: memoryLog(shared),
      bus: memoryBus(shared),
      registry: memoryRegistry(shared),
      options: resolveOptions({ meanWriteMs: 300, ...options }, { ...NO_FEATURES, ...options.features }),
      update:
        options.update === 'sync'
          ? { mode: 'sync', acks: 'all', minInSync: 1 }
          : { mode: 'async', intervalMs: 0 },
    };
    this.#trace = new Trace(() => clock.monotonicMs(), KEPT_LINES);
    const { replicas, topology, features } = this.#world.options;
    this.#nodes = Array.from({ length: replicas }, (_, index) => this.#machine(`r${index + 1}`, index === 0));
    this.#writers = this.#nodes.map(
      (node, index) =>
        new Writers(
          this.#world,
          node,
          this.#random.fork(`writes ${node.id}`),
          topology === 'multi-primary' || features.takeovers || index === 0,
        ),
    );
  }

  async run(): Promise<LogLossReport> {
    try {
      return await this.#run();
    } finally {
      for (const node of this.#nodes) {
        node.kill();
        node.database.close();
      }
      this.#folder.remove();
    }
  }

  async #run(): Promise<LogLossReport> {
    const { clock } = this.#world;
    for (const node of this.#nodes) node.start();
    for (const writers of this.#writers) writers.start();
    if (this.#world.options.features.takeovers) this.#takeOverAtTimes();
    await clock.advance(this.#random.int(BEFORE_MS.least, BEFORE_MS.most));
    // A member that is down sees nothing wrong when it comes back.
    const away = this.#random.chance(0.2) ? this.#nodes : this.#nodes.filter(() => this.#random.chance(0.3));
    for (const node of away) node.kill();
    await clock.advance(this.#random.int(0, 2000));
    for (const node of this.#nodes) node.disconnect();
    // What was answered before is committed.
    await clock.advance(100);
    const lost = this.#loseEntries(away);
    await clock.advance(AFTER_MS);
    this.#stopped = true;
    for (const writers of this.#writers) writers.stop();
    if (this.#knew.length > 0) this.#checkStalled();
    else await this.#checkGoesOn();
    const { all: violations } = this.#violations;
    const stalled = this.#nodes.filter((node) => stalledBy(node) !== undefined).map(({ id }) => id);
    return {
      seed: this.seed,
      ok: violations.length === 0,
      violations,
      lost,
      stalled,
      knew: this.#knew.map(({ id }) => id),
      takenOver: this.#takenOver,
      lastEvents: violations.length === 0 ? [] : this.#trace.lines,
    };
  }

  #machine(id: string, first: boolean): SimulatedNode {
    const machine = this.#world.clock.node({ name: id });
    const database = new SimulatedDatabase(id, this.#folder, machine);
    if (first) database.create(SIMULATED_TABLES, FIRST_ROWS);
    return new SimulatedNode(id, database, machine, this.#world, (event) =>
      this.#trace.add(`${id} ${event}`),
    );
  }

  /** The server goes away with its newest entries; who comes back first, writes on. */
  #loseEntries(away: readonly SimulatedNode[]): number {
    const { log } = this.#world;
    const unread = away.length === this.#nodes.length ? this.#random.int(0, MOST_LOST) : 0;
    this.#fill(unread, 'unread');
    const most = Math.min(this.#random.int(1, MOST_LOST), log.entries().length - 1);
    // Entries that nobody has seen, if there are any.
    const lost = unread > 0 ? Math.min(most, unread) : most;
    log.loseTail(lost);
    this.#endSeq = log.stream.lastSeq;
    this.#trace.add(`the log loses the entries after ${this.#endSeq}`);
    const kills = this.#nodes.filter((node) => !away.includes(node) && this.#random.chance(0.2));
    for (const node of kills) node.kill();
    this.#knew = this.#nodes.filter((node) => seqOf(node) > this.#endSeq);
    for (const node of this.#knew) {
      const writes = node.replica?.status().totals['writes'] ?? 0;
      this.#writesBefore.set(node, { process: node.starts, writes });
    }
    // Somebody has written before anybody is back; about as much as was lost, so that numbers come
    // to mean something else.
    this.#fill(this.#random.int(0, lost + 2), 'since');
    for (const node of this.#nodes) {
      this.#world.clock.setTimer(this.#random.int(0, LONGEST_APART_MS), () => {
        node.reconnect();
        node.start();
      });
    }
    return lost;
  }

  /** Entries that mean nothing to anybody. */
  #fill(count: number, name: string): void {
    const { log } = this.#world;
    for (let n = 1; n <= count; n++)
      log.stream.append({ origin: '_barrier', id: `${name}-${n}`, data: new Uint8Array([0xc0]) });
    log.changed();
  }

  /** An operator makes one replica after the other the primary, before and after the loss. */
  #takeOverAtTimes(): void {
    this.#world.clock.setTimer(this.#random.int(0, 2 * MEAN_TAKEOVER_MS), () => {
      if (this.#stopped) return;
      void this.#takeOver(this.#random.pick(this.#nodes));
      this.#takeOverAtTimes();
    });
  }

  async #takeOver(node: SimulatedNode): Promise<void> {
    const knew = this.#present(node);
    // What is there already was claimed when they may have been away.
    const askedSeq = Math.max(this.#endSeq, this.#world.log.stream.lastSeq);
    const taken = await node.replica
      ?.takeOver({ timeoutMs: this.#random.pick(TAKEOVER_TIMEOUTS_MS) })
      .catch(() => undefined);
    if (taken?.elected !== true) return;
    this.#takenOver++;
    this.#trace.add(`${node.id} took over at ${taken.seq}`);
    const since = this.#world.log.entries().filter(({ seq }) => seq > askedSeq);
    const isAnother = since.some(({ seq, origin }) => seq === taken.seq && origin === EPOCH_ORIGIN);
    const stayed = this.#present(node).filter((other) => knew.includes(other));
    if (isAnother && stayed.length > 0)
      this.#violations.add(
        'I14',
        node.id,
        `began epoch ${taken.epoch} in another history, and ${stayed.map(({ id }) => id).join(' and ')} could have told`,
      );
  }

  /** Whoever has dealt with what is lost, and answers others. */
  #present(asking: SimulatedNode): readonly SimulatedNode[] {
    return this.#knew.filter(
      (node) => node !== asking && node.replica !== undefined && node.connectedSinceMs < Infinity,
    );
  }

  #checkStalled(): void {
    for (const node of this.#nodes) {
      const stalled = stalledBy(node);
      if (stalled?.code === 'LOG_REPLACED') continue;
      const how = stalled === undefined ? 'goes on' : `has stalled with ${stalled.code}: ${stalled.message}`;
      const knew = this.#knew.map(({ id }) => id).join(' and ');
      this.#violations.add('I14', node.id, `${how}, and ${knew} had dealt with what the log lost`);
    }
    for (const node of this.#knew) {
      const since = this.#world.log
        .entries()
        .filter(({ seq, origin }) => seq > this.#endSeq && origin === node.id);
      if (since.length > 0)
        this.#violations.add('I14', node.id, `wrote ${since.length} entries into another history`);
      const before = this.#writesBefore.get(node);
      const writes = node.replica?.status().totals['writes'] ?? 0;
      if (this.#world.update.mode === 'sync' && before?.process === node.starts && writes > before.writes)
        this.#violations.add('I14', node.id, `acknowledged ${writes - before.writes} writes after it`);
    }
  }

  /**
   * What was lost was in no database: whoever knew it in memory only is well again after a start.
   */
  async #checkGoesOn(): Promise<void> {
    const { clock, log } = this.#world;
    for (const node of this.#nodes) {
      if (stalledBy(node) === undefined && node.running) continue;
      node.kill();
      node.start();
    }
    const atRest = await clock.runUntil(() => this.#converged(), 60_000);
    if (atRest) return;
    const model = new LogModel({ certified: false });
    model.feed(log.entries());
    for (const node of this.#nodes) {
      const { lifecycle, vector, outbox, waitingFor } = node.replica?.status() ?? {};
      const text = JSON.stringify({
        lifecycle,
        vector,
        outbox,
        waitingFor,
        stalled: stalledBy(node)?.message,
      });
      this.#violations.add('liveness', node.id, `does not go on: ${text}`);
    }
  }

  #converged(): boolean {
    const states = this.#nodes.map(({ replica }) => replica?.status());
    const [first] = states;
    return states.every(
      (status, index) =>
        status !== undefined &&
        status.stalled === undefined &&
        status.outbox.unpublished === 0 &&
        status.waitingFor.length === 0 &&
        this.#nodes.every(({ id }) => counterOf(status.vector, id) === counterOf(first?.vector ?? {}, id)) &&
        this.#nodes[index]?.database.hasCaptured() === false,
    );
  }
}

function stalledBy({
  replica,
}: SimulatedNode): { readonly code: string; readonly message: string } | undefined {
  return replica?.status().stalled;
}

/** What its database has dealt with. */
function seqOf({ replica, database }: SimulatedNode): number {
  return replica?.status().position.seq ?? database.record()?.position.seq ?? 0;
}
