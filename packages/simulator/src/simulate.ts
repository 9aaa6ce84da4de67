import { AntiphonError, counterOf, toAntiphonError } from '@antiphon/core';
import type { UpdateOptions } from '@antiphon/replica';
import { Faults, memoryBus, memoryLog, memoryRegistry, Random, VirtualClock } from '@antiphon/testing';
import { Chaos } from './chaos.js';
import { checkCluster } from './cluster-check.js';
import { orphansOf } from './content.js';
import { SimulatedDatabase } from './database.js';
import { checkDatabase, type CheckContext } from './database-check.js';
import { Folder } from './disk/folder.js';
import { chooseFeatures, featuresText } from './features.js';
import { Ledger } from './ledger.js';
import { LocalAudit } from './local-audit.js';
import { LogModel } from './log-model.js';
import { SimulatedNode, type World } from './node.js';
import { chooseRates, resolveOptions, type ResolvedOptions, type SimulationOptions } from './options.js';
import { Operator } from './operator.js';
import { OrphansOfSqlite } from './orphans.js';
import { attempting, chooseTables, type RandomTables } from './random-tables.js';
import type { SimulationReport } from './report.js';
import { RowModel } from './row-model.js';
import { SchemaChanges } from './schema-changes.js';
import { FIRST_ROWS, SIMULATED_TABLES } from './tables.js';
import { type Service, Subscribers } from './subscribers.js';
import { SyncRun } from './sync-run.js';
import { choosePace, chooseSyncRates, chooseSyncUpdate } from './sync-plan.js';
import { FIRST_SYNC_ROWS, SYNC_TABLES } from './sync-tables.js';
import type { SimulatedTable } from './table.js';
import { checkAuthority, Takeovers } from './takeovers.js';
import { Trace } from './trace.js';
import { checkPositions } from './positions-check.js';
import { Violations } from './violation.js';
import { Writers } from './writers.js';
import { WrittenTimes } from './written-times.js';

/** What the log takes where it takes little: less than a part of a big transaction. */
const PIECE_BYTES = 500;
const HEAL_LIMIT_MS = 180_000;
const KEPT_LINES = 200;
const SUPERVISION_MS = 500;
/** What is noticed late must be noticed before everybody is said to be at rest. */
const NOTICED_MS = 3000;
/**
 * A connected replica looks for new members every ten beats; until then it does not wait for one,
 * which has the whole log before it.
 */
const MEMBER_KNOWN_AFTER_MS = 6000;

/**
 * One run of a whole cluster in virtual time: real replicas on simulated machines, with random
 * writes and random trouble, all from the seed. Then everything heals, and what is left is held
 * against invariants I1 to I5. The same seed and options give the same run, event for event.
 */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationReport> {
  return await new Simulation(seed, options).run();
}

class Simulation {
  readonly #world: World;
  readonly #random: Random;
  readonly #trace: Trace;
  readonly #nodes: readonly SimulatedNode[];
  readonly #writers: readonly Writers[];
  readonly #chaos: Chaos;
  readonly #check: CheckContext;
  readonly #sync: SyncRun | undefined;
  readonly #tables: readonly SimulatedTable[];
  readonly #folder = new Folder();
  readonly #operator: Operator;
  readonly #times = new WrittenTimes();
  readonly #audit: LocalAudit | undefined;
  readonly #subscribers: readonly Subscribers[];
  readonly #takeovers: Takeovers | undefined;
  #randomTables: RandomTables | undefined;
  #schemaChanges: SchemaChanges | undefined;
  /** The highest counter of each origin that each replica ever held. */
  readonly #everHeld = new Map<string, number>();
  #seenSeq = 0;

  constructor(
    private readonly seed: number,
    options: SimulationOptions,
  ) {
    const clock = new VirtualClock({ seed });
    this.#random = new Random(seed).fork('simulation');
    const pace = options.update === 'sync' ? choosePace(this.#random.fork('synchronous pace')) : {};
    const features = chooseFeatures(
      new Random(seed).fork('features'),
      options.update ?? 'async',
      options.features,
      options.topology,
    );
    const resolved = resolveOptions({ ...pace, ...options }, features);
    const faults = new Faults(this.#random.fork('faults'), chooseRates(this.#random, resolved.chaos));
    const shared = { clock, faults };
    this.#world = {
      ...shared,
      log: memoryLog({ ...shared, ...messageLimit(seed, resolved) }),
      bus: memoryBus(shared),
      registry: memoryRegistry(shared),
      options: resolved,
      update: this.#chooseUpdate(resolved),
    };
    if (resolved.update === 'sync' && resolved.chaos.messageFaults)
      faults.set(chooseSyncRates(this.#random.fork('synchronous faults')));
    this.#trace = new Trace(() => clock.monotonicMs(), KEPT_LINES);
    const multiPrimary = resolved.topology === 'multi-primary';
    const { update } = this.#world;
    const versions = multiPrimary && (update.mode === 'async' || update.foreignWrites === 'async');
    this.#tables = update.mode === 'sync' ? SYNC_TABLES : SIMULATED_TABLES;
    this.#check = {
      tables: this.#tables,
      ledger: new Ledger(this.#tables),
      log: new LogModel({
        certified: multiPrimary && update.mode === 'sync',
        ...(features.terms && !multiPrimary && { firstPrimary: 'r1' }),
      }),
      rows: new RowModel(this.#tables, versions),
      violations: new Violations(),
      randomTables: [],
      referencesHold: false,
      isSynchronous: this.#world.update.mode === 'sync',
      orphans: new OrphansOfSqlite(),
    };
    const note = (event: string): void => this.#trace.add(event);
    this.#audit = features.audits ? new LocalAudit() : undefined;
    const ids = Array.from({ length: resolved.replicas }, (_, index) => `r${index + 1}`);
    this.#nodes = ids.map((id, index) => this.#machine(id, index === 0));
    if (update.mode === 'sync') {
      const random = this.#random.fork('synchronous');
      this.#sync = new SyncRun(this.#world, this.#nodes, this.#check, random, note);
      this.#trace.add(JSON.stringify(update));
    }
    this.#writers =
      this.#sync !== undefined
        ? []
        : this.#nodes.map(
            (node, index) =>
              new Writers(
                this.#world,
                node,
                this.#random.fork(`writes ${node.id}`),
                multiPrimary || index === 0 || features.takeovers,
                this.#times,
              ),
          );
    this.#chaos = new Chaos(this.#world, this.#nodes, this.#random.fork('chaos'), this.#check.ledger, {
      note,
      left: (node) => this.#look(node),
      restored: (node) => this.#sync?.restored(node),
      changeSchema: (node) => this.#schemaChanges?.change(node),
      remove: (node) => void this.#operator.remove(node),
    });
    this.#operator = new Operator(this.#world, this.#nodes, this.#random.fork('operator'), note);
    if (features.takeovers && !multiPrimary)
      this.#takeovers = new Takeovers(
        ...([this.#world, this.#nodes, this.#random.fork('takeovers')] as const),
        ...([this.#check.log, this.#check.violations] as const),
        {
          note,
          left: (node) => this.#look(node),
          lost: (node, commits) => this.#check.ledger.lost(node.id, node.database, commits),
        },
      );
    this.#subscribers = features.subscriptions ? this.#drawServices(note) : [];
    note(featuresText(features));
    this.#watchLog();
  }

  async run(): Promise<SimulationReport> {
    try {
      return await this.#run();
    } finally {
      this.#close();
    }
  }

  async #run(): Promise<SimulationReport> {
    const { clock, faults, options } = this.#world;
    await this.#drawTables();
    for (const node of this.#nodes) node.start();
    for (const writers of this.#writers) writers.start();
    this.#sync?.start();
    this.#supervise();
    this.#operator.start();
    for (const subscribers of this.#subscribers) subscribers.start();
    this.#takeovers?.start();
    this.#chaos.start();
    await clock.advance(options.durationMs);

    this.#chaos.stop();
    this.#takeovers?.stop();
    for (const writers of this.#writers) writers.stop();
    this.#sync?.stop();
    faults.heal();
    this.#schemaChanges?.keepTidy();
    if (options.features.schemaChanges) await clock.advance(NOTICED_MS);
    // What the chaos broke, it mends by itself within seconds; the rest is up to the replicas.
    const atRest = await clock.runUntil(() => this.#atRest(), HEAL_LIMIT_MS);
    this.#check.log.feed(this.#world.log.entries());
    if (!atRest) this.#notAtRest();
    else {
      await this.#finishSync();
      await this.#verify();
      await this.#finishSubscribers();
      this.#check.log.feed(this.#world.log.entries());
    }
    // Where there is no cluster, that is what is wrong.
    if (this.#nodes.every(({ database }) => database.isReplica)) this.#checkAll();
    return this.#report(this.#isDamaged());
  }

  /**
   * No clock was ever set, and no statement rolled back the group that it was in (OR ROLLBACK): the
   * group is run again, and what waits comes after the times that it had taken.
   */
  #isTimely(): boolean {
    return this.#chaos.counts.clockJumps === 0 && !this.#world.options.features.randomTables;
  }

  /** One from the beginning; in half of the runs also one that comes later, and begins then. */
  #drawServices(note: (event: string) => void): readonly Subscribers[] {
    const random = this.#random.fork('subscribers');
    const services: Service[] = [{ name: 'service', from: 'beginning', afterMs: 0 }];
    const late = this.#random.fork('late subscribers');
    const afterMs = late.int(0, this.#world.options.durationMs - 1);
    if (late.chance(0.5)) services.push({ name: 'late', from: 'now', afterMs });
    return services.map((service, index) => {
      const chances = index === 0 ? random : late;
      return new Subscribers(service, this.#world, this.#nodes, chances, this.#check.violations, note);
    });
  }

  #checkAll(): void {
    const { log, rows, violations } = this.#check;
    checkCluster(this.#nodes, this.#check);
    if (this.#takeovers !== undefined) checkAuthority(this.#nodes, log, violations);
    this.#audit?.check(this.#nodes, violations);
    if (rows.lastWriterWins && this.#isTimely()) this.#times.check(log, violations);
    this.#sync?.check();
    for (const subscribers of this.#subscribers) subscribers.check(log);
    this.#checkWriters();
  }

  #close(): void {
    for (const node of this.#nodes) {
      node.kill();
      node.database.close();
    }
    this.#folder.remove();
  }

  async #finishSync(): Promise<void> {
    if (this.#sync === undefined) return;
    await this.#sync.finish();
    if (!(await this.#world.clock.runUntil(() => this.#atRest(), HEAL_LIMIT_MS))) this.#notAtRest();
    this.#check.log.feed(this.#world.log.entries());
  }

  async #finishSubscribers(): Promise<void> {
    const { clock, log } = this.#world;
    const isDone = (): boolean => {
      this.#check.log.feed(log.entries());
      return this.#subscribers.every((subscribers) => subscribers.hasAll(this.#check.log));
    };
    await clock.runUntil(isDone, HEAL_LIMIT_MS);
  }

  /** They are in the first machine's database before there is a cluster. */
  async #drawTables(): Promise<void> {
    const { options } = this.#world;
    const [creator] = this.#nodes;
    if (!options.features.randomTables || creator === undefined) return;
    const certified = options.topology === 'multi-primary' && options.update === 'sync';
    const { indexKeys } = options.features;
    const wishes = { rowVersions: this.#check.rows.lastWriterWins, certified, indexKeys };
    const random = this.#random.fork('tables');
    this.#randomTables = await chooseTables(random, this.#folder.path, wishes);
    if (this.#randomTables === undefined) return;
    const { ddl, setup, tables } = this.#randomTables;
    creator.database.migrate((editor) => {
      for (const sql of ddl) editor.run(sql);
    });
    for (const statement of setup)
      attempting((sql) => creator.database.writeOutside((tx) => tx.run(sql)), [statement]);
    creator.database.file.sync();
    this.#check.orphans.foundedWith(orphansOf(creator.database));
    for (const sql of ddl) this.#trace.add(sql);
    for (const writers of this.#writers) writers.tables = tables;
    this.#sync?.useTables(tables);
    const note = (event: string): void => this.#trace.add(event);
    const changes = random.fork('schema changes');
    if (options.features.schemaChanges) this.#beginLog();
    if (options.features.schemaChanges)
      this.#schemaChanges = new SchemaChanges(this.#world, this.#nodes, tables, changes, note);
    this.#check.randomTables = tables.map(({ name }) => name);
    const { update } = this.#world;
    this.#check.referencesHold =
      update.mode === 'sync' && update.foreignWrites === 'refuse' && !options.features.schemaChanges;
  }

  /** A log on NATS begins with a record of its own, which a recapture counts on. */
  #beginLog(): void {
    const { log } = this.#world;
    log.create();
    log.stream.append({ origin: '_barrier', id: 'first', data: new Uint8Array([0xc0]) });
    log.changed();
  }

  /** What the product says of itself is what the checks find. */
  async #verify(): Promise<void> {
    const { clock, options } = this.#world;
    if (!options.features.inspections) return;
    // The last outages may outlast what there was to catch up with.
    const isConnected = (): boolean =>
      this.#nodes.every(({ replica }) => replica?.status().connection === 'connected');
    await clock.runUntil(isConnected, HEAL_LIMIT_MS);
    const asked = this.#operator.verify().catch(toAntiphonError);
    const answer = await clock.run(asked, HEAL_LIMIT_MS);
    if (answer instanceof AntiphonError) {
      this.#check.violations.add('I4', '', `verify fails: ${answer.code}: ${answer.message}`);
      return;
    }
    const { outcome, differences, absent } = answer;
    if (outcome === 'equal' && absent.length === 0) return;
    const [tables, away] = [differences.map(({ table }) => table), absent.map(({ id }) => id)];
    const what = `verify says ${outcome}: ${tables.join()}, absent ${away.join()}`;
    this.#check.violations.add('I4', '', what);
  }

  /** Draws for asynchronous clusters what it always drew. */
  #chooseUpdate({ update, replicas }: ResolvedOptions): UpdateOptions {
    const intervalMs = this.#random.pick([0, 0, 0, 150]);
    if (update === 'async') return { mode: 'async', intervalMs };
    return chooseSyncUpdate(this.#random.fork('synchronous update'), replicas);
  }

  #machine(id: string, first: boolean): SimulatedNode {
    const { clock } = this.#world;
    const machine = clock.node({
      name: id,
      skewMs: this.#random.int(-3000, 3000),
      driftPpm: this.#random.int(-200, 200),
    });
    const database = new SimulatedDatabase(id, this.#folder, machine);
    if (first)
      database.create(this.#tables, this.#world.update.mode === 'async' ? FIRST_ROWS : FIRST_SYNC_ROWS);
    const node = new SimulatedNode(id, database, machine, this.#world, (event) =>
      this.#trace.add(`${id} ${event}`),
    );
    this.#check.ledger.watch(id, database, (counter) => this.#pruned(id, counter));
    database.onCommit(({ number, sealed, pruned, taken, rewound }) => {
      const bytes = sealed.reduce((sum, { data }) => sum + data.length, 0);
      const names = taken.map(({ origin, counter }) => `${origin}:${counter}`).join(' ');
      this.#trace.add(
        `${id} commit ${number}: sealed ${bytes} bytes, pruned ${pruned.length}, took ${names}` +
          (rewound.length === 0 ? '' : `, rewound ${rewound.length}`),
      );
      this.#noteHeld(node);
    });
    return node;
  }

  /** Like systemd: what has ended is started again. */
  #supervise(): void {
    this.#world.clock.setTimer(SUPERVISION_MS, () => {
      for (const node of this.#nodes) if (node.replica !== undefined) this.#audit?.install(node);
      for (const node of this.#nodes) if (!node.running && node.failures.length > 0) node.start();
      this.#supervise();
    });
  }

  #look(node: SimulatedNode): void {
    this.#check.log.feed(this.#world.log.entries());
    checkDatabase(node.id, node.database, this.#check);
    this.#sync?.left(node);
  }

  #watchLog(): void {
    const { log } = this.#world;
    log.onChange(() => {
      for (const { seq, origin, data } of log.entries().slice(this.#seenSeq)) {
        this.#trace.add(`log ${seq}: ${origin}, ${data.length} bytes`);
        this.#seenSeq = seq;
      }
      const node = this.#nodes[this.#seenSeq % this.#nodes.length];
      const status = node?.replica?.status();
      if (node && status) checkPositions(node.id, status, this.#check.violations);
    });
  }

  #noteHeld({ id, database }: SimulatedNode): void {
    for (const [origin, counter] of Object.entries(database.record()?.vector ?? {})) {
      const key = `${id} ${origin}`;
      if (counter > (this.#everHeld.get(key) ?? 0)) this.#everHeld.set(key, counter);
    }
  }

  /** I3: sealed messages are kept until every member has applied them. */
  #pruned(id: string, lastCounter: number): void {
    const connectedSinceMs = this.#nodes.find((node) => node.id === id)?.connectedSinceMs ?? 0;
    for (const other of this.#nodes) {
      const sinceMs = Math.max(connectedSinceMs, other.memberSinceMs ?? Infinity);
      const memberForMs = this.#world.clock.monotonicMs() - sinceMs;
      if (other.id === id || !(memberForMs > MEMBER_KNOWN_AFTER_MS)) continue;
      const held = this.#everHeld.get(`${other.id} ${id}`) ?? 0;
      if (held < lastCounter) {
        this.#check.violations.add(
          'I3',
          id,
          `pruned its messages up to ${lastCounter} when ${other.id} had ${held}, ` +
            `at ${this.#world.clock.monotonicMs()} ms`,
        );
      }
    }
  }

  #atRest(): boolean {
    const records = this.#nodes.map(({ database }) => database.record());
    const quiet = this.#nodes.every(
      ({ replica, database }) => replica !== undefined && !database.hasCaptured(),
    );
    if (!quiet || records.some((record) => record === undefined)) return false;
    const published = this.#nodes.every(({ id, database }) => {
      const record = database.record();
      if (record === undefined) return false;
      // Numbers that are spent come into the log with an own epoch, if ever.
      if (this.#takeovers !== undefined) return record.publishedCounter >= counterOf(record.vector, id);
      return (
        record.publishedCounter >= record.lastCounter && counterOf(record.vector, id) === record.lastCounter
      );
    });
    // What is asked often, and mostly answered with no, comes first.
    return (
      published &&
      this.#isAuthorityKnown() &&
      new Set(records.map((record) => vectorText(record?.vector ?? {}))).size === 1 &&
      this.#sync?.atRest() !== false &&
      !this.#writers.some(({ isWaiting }) => isWaiting) &&
      this.#nobodyStands()
    );
  }

  /** Everybody has read the log to its end, and its primary knows that it is. */
  #isAuthorityKnown(): boolean {
    if (this.#takeovers === undefined) return true;
    if (this.#takeovers.isWaiting) return false;
    const { log } = this.#check;
    log.feed(this.#world.log.entries());
    return this.#nodes.every(({ id, replica, database }) => {
      const hasRead = (database.record()?.position.seq ?? 0) >= (log.epochs.at(-1)?.seq ?? 0);
      return hasRead && (id !== log.primary || replica?.status().role === 'primary');
    });
  }

  /** Whoever has noticed that changes went uncaptured has equal counters as well. */
  #nobodyStands(): boolean {
    if (!this.#world.options.features.schemaChanges) return true;
    return this.#nodes.every(({ replica }) => {
      const { stalled, holding } = replica?.status() ?? {};
      return stalled === undefined && holding === undefined;
    });
  }

  #notAtRest(): void {
    for (const node of this.#nodes) {
      const record = node.database.record();
      const vector = record === undefined ? 'no replica yet' : vectorText(record.vector);
      const last = node.failures.at(-1);
      const { stalled, holding } = node.replica?.status() ?? {};
      const parts = [
        node.replica === undefined ? 'down' : 'running',
        vector,
        ...(this.#takeovers === undefined
          ? []
          : [
              `position ${record?.position.seq}`,
              `epoch ${node.replica?.status().epoch?.number} of ${node.replica?.status().epoch?.primary}`,
              `${node.replica?.status().lifecycle}`,
              `captured ${node.database.hasCaptured()}`,
            ]),
        `last ${record?.lastCounter}`,
        `published ${record?.publishedCounter}`,
        ...(stalled === undefined ? [] : [`stalled: ${stalled.message}`]),
        ...(holding === undefined ? [] : [`holding: ${holding.message}`]),
        ...(last === undefined ? [] : [`failed before: ${last.message}`]),
      ];
      this.#check.violations.add('liveness', node.id, parts.join(', '));
    }
  }

  #checkWriters(): void {
    for (const [index, { wrong }] of this.#writers.entries()) {
      for (const message of wrong) this.#check.violations.add('I1', this.#nodes[index]?.id ?? '', message);
    }
  }

  /**
   * UPDATE OR REPLACE that deletes the parent of the very row that it changes leaves an index
   * without that row, where the foreign key says SET NULL or SET DEFAULT (SQLite 3.40 to 3.54).
   * What comes after it says nothing about replicas.
   */
  #isDamaged(): boolean {
    if (!this.#world.options.features.randomTables) return false;
    return this.#nodes.some(({ database }) =>
      database.read('PRAGMA integrity_check').some(([text]) => String(text).includes('missing from index')),
    );
  }

  #report(isDamaged: boolean): SimulationReport {
    const { clock, log, faults, options } = this.#world;
    const sum = (count: (writers: Writers) => number): number =>
      this.#writers.reduce((total, writers) => total + count(writers), 0);
    const violations = isDamaged ? [] : this.#check.violations.all;
    return {
      seed: this.seed,
      topology: options.topology,
      update: options.update,
      features: featuresText(options.features),
      ok: violations.length === 0,
      violations,
      counts: {
        ...this.#chaos.counts,
        ...this.#operator.counts,
        ...this.#takeovers?.counts,
        ...(this.#takeovers && {
          epochs: this.#check.log.epoch,
          rescues: this.#nodes.reduce((total, { database }) => total + database.rescues().length, 0),
        }),
        writes: sum(({ counts }) => counts.committed),
        outsideWrites: sum(({ counts }) => counts.outside),
        refusedWrites: sum(({ counts }) => counts.refused),
        transactions: this.#check.log.transactions.length,
        damaged: isDamaged ? 1 : 0,
        orphaned: this.#check.orphans.count,
        logEntries: log.entries().length,
        lostAppends: faults.count('lostAppend'),
        lateAppends: faults.count('lateAppend'),
        duplicatedAppends: faults.count('duplicatedAppend'),
        ...this.#sync?.counts,
        ...this.#subscribers[0]?.counts,
        failedStarts: this.#nodes.reduce((total, { failures }) => total + failures.length, 0),
      },
      virtualMs: Math.round(clock.monotonicMs()),
      events: this.#trace.events,
      traceHash: this.#trace.hash(),
      lastEvents: violations.length === 0 ? [] : this.#trace.lines,
    };
  }
}

function vectorText(vector: Readonly<Record<string, number>>): string {
  const counters = Object.entries(vector).sort(([a], [b]) => (a < b ? -1 : 1));
  return counters.map(([origin, counter]) => `${origin}:${counter}`).join(' ');
}

/** A synchronous group is one message, and cannot be sent in pieces. */
function messageLimit(
  seed: number,
  { update, features }: ResolvedOptions,
): { readonly maxMessageBytes?: number } {
  const mayCut = update === 'async' && features.separateParts;
  return mayCut && new Random(seed).fork('pieces').chance(0.5) ? { maxMessageBytes: PIECE_BYTES } : {};
}
