import type { CheckContext } from './database-check.js';
import { History, type Random } from '@antiphon/testing';
import type { Outcome } from '@antiphon/replica';
import type { SimulatedNode, World } from './node.js';
import type { Table } from './schema/index.js';
import { SyncAnswers } from './sync-answers.js';
import { checkOutcome, checkSnapshot, checkSyncRun } from './sync-check.js';
import type { SyncContext } from './sync-context.js';
import { SyncSession } from './sync-session.js';
import { SyncReaders } from './sync-readers.js';
import { SyncWriters, type SyncWriteRecord, type WriteEnd } from './sync-writers.js';
import { writeRegisters } from './sync-workload.js';

/** Its number; no other write has it or the next ones. */
const LAST_WRITE = 1_000_000;
const SETTLE_LIMIT_MS = 60_000;
const LAST_CALL_MS = 20_000;
const LAST_ATTEMPTS = 10;
const BETWEEN_ATTEMPTS_MS = 1000;

/** The clients of a synchronous cluster, and what they may expect of it. */
export class SyncRun {
  readonly #context: SyncContext;
  readonly #writers: readonly SyncWriters[];
  readonly #readers: SyncReaders;
  readonly #asked: { readonly write: SyncWriteRecord; readonly by: string; readonly outcome: Outcome }[] = [];
  readonly #sessions: readonly SyncSession[];
  #snapshots = 0;

  constructor(
    world: World,
    nodes: readonly SimulatedNode[],
    { log, violations, ledger, orphans }: Pick<CheckContext, 'log' | 'violations' | 'ledger' | 'orphans'>,
    private readonly random: Random,
    note: (event: string) => void,
  ) {
    const multiPrimary = world.options.topology === 'multi-primary';
    const history = new History({ now: () => world.clock.monotonicMs() });
    const sessions = new History({ now: () => world.clock.monotonicMs() });
    const answers = new SyncAnswers(world, log, violations);
    const takeovers = !multiPrimary && world.options.features.takeovers;
    const mayWrite = (node: SimulatedNode): boolean => multiPrimary || takeovers || node === nodes[0];
    const { repeatable } = ledger;
    const shared = { world, nodes, log, violations, repeatable, orphans };
    this.#context = { ...shared, history, sessions, answers, mayWrite, note };
    this.#writers = nodes.map(
      (node) => new SyncWriters(this.#context, node, random.fork(`writes ${node.id}`)),
    );
    this.#readers = new SyncReaders(this.#context, random.fork('reads'));
    for (const node of nodes) this.#watch(node);
    for (const writers of this.#writers) {
      writers.onCommitted = (name, at) => void this.#readers.session(name, at);
      writers.onUnknown = (write) => this.#askLater(write);
    }
    const usable = this.#writers.filter((_, index) => multiPrimary || takeovers || index === 0);
    this.#sessions = ['one', 'two'].map(
      (name, index) =>
        new SyncSession(
          this.#context,
          usable,
          name,
          random.fork(`session ${name}`),
          (index + 2) * LAST_WRITE,
        ),
    );
  }

  /** A share of the writes goes to these. */
  useTables(tables: readonly Table[]): void {
    for (const writers of this.#writers) writers.tables = tables;
  }

  /** Its database is an older copy: whatever was promised of it. */
  restored({ id }: SimulatedNode): void {
    this.#context.answers.restored(id);
  }

  start(): void {
    for (const writers of this.#writers) writers.start();
    this.#readers.start();
    for (const session of this.#sessions) session.start();
  }

  stop(): void {
    for (const writers of this.#writers) writers.stop();
    this.#readers.stop();
    for (const session of this.#sessions) session.stop();
  }

  /** A process has ended, and its database is as it was left. */
  left({ id, database }: SimulatedNode): void {
    this.#context.answers.left(id, database);
  }

  get writes(): readonly SyncWriteRecord[] {
    return this.#writers.flatMap(({ writes }) => writes);
  }

  get counts(): Readonly<Record<string, number>> {
    const sum = (count: (writers: SyncWriters) => number): number =>
      this.#writers.reduce((total, writers) => total + count(writers), 0);
    return {
      writes: sum(({ counts }) => counts.committed),
      outsideWrites: sum(({ counts }) => counts.outside),
      refusedWrites: sum(({ counts }) => counts.refused),
      unknownWrites: sum(({ unknown }) => unknown),
      strongReads: this.#readers.strongReads,
      sessionReads: this.#readers.sessionReads,
      rejectedTransactions: this.#context.log.transactions.filter(({ rejected }) => rejected === true).length,
      snapshots: this.#snapshots,
    };
  }

  /** I11: everybody is in sync again, and nothing is under way any more. */
  atRest(): boolean {
    const { nodes } = this.#context;
    if (this.writes.some(({ end, node, process }) => end === 'open' && node.starts === process)) return false;
    return nodes.every(({ replica }) => {
      const sync = replica?.status().sync;
      if (sync === undefined || sync.inSync.length !== nodes.length) return false;
      return sync.waiting === 0 && sync.inFlight === 0 && sync.unacknowledged === 0;
    });
  }

  describe({ replica }: SimulatedNode): string {
    const { inSync = [], waiting, inFlight, unacknowledged } = replica?.status().sync ?? {};
    return `in sync ${inSync.join(' ')}, waiting ${waiting}, in flight ${inFlight}, unacknowledged ${unacknowledged}`;
  }

  /** Everything has healed: whoever may write can, and whoever asks learns the truth. */
  async finish(): Promise<void> {
    const { world, nodes, violations, answers } = this.#context;
    for (const [index, writers] of this.#writers.entries()) {
      const node = nodes[index];
      if (node === undefined || !this.#isWritable(node)) continue;
      const end = await this.#lastWrite(writers);
      answers.catchUp();
      // A claim without an answer may be stored late, and make another one the primary.
      if (end !== 'committed' && this.#isWritable(node))
        violations.add('liveness', node.id, `the last write was ${end}`);
    }
    for (const node of nodes) {
      await world.clock.run(this.#readers.read(node, { register: 0 }, LAST_CALL_MS), SETTLE_LIMIT_MS);
    }
    for (const write of this.writes) {
      if (write.outcomeId === undefined) continue;
      await this.#ask(write, write.node, LAST_CALL_MS);
      await this.#ask(write, this.random.pick(nodes.filter((node) => node !== write.node)), LAST_CALL_MS);
    }
    answers.catchUp();
  }

  /** When everything rests. */
  #isWritable(node: SimulatedNode): boolean {
    const { mayWrite, world, log } = this.#context;
    return (
      mayWrite(node) &&
      (!world.options.features.takeovers || log.primary === undefined || log.primary === node.id)
    );
  }

  /**
   * A replica whose clock was wrong takes writes again when it has next compared it with the log's.
   */
  async #lastWrite(writers: SyncWriters): Promise<WriteEnd | undefined> {
    const { world, nodes } = this.#context;
    const options = { acks: nodes.length, timeoutMs: LAST_CALL_MS };
    let end: WriteEnd | undefined;
    for (let attempt = 0; attempt < LAST_ATTEMPTS && end !== 'committed'; attempt++) {
      if (attempt > 0) await world.clock.advance(BETWEEN_ATTEMPTS_MS);
      const token = `${writers.id}#${LAST_WRITE + attempt}`;
      const writing = writers.write(token, writeRegisters([0], token), options);
      end = (await world.clock.run(writing, SETTLE_LIMIT_MS))?.end;
    }
    return end;
  }

  check(): void {
    const { nodes, violations, answers } = this.#context;
    for (const { id, database } of nodes) answers.left(id, database);
    for (const [index, { wrong }] of this.#writers.entries()) {
      for (const message of wrong) violations.add('I8', nodes[index]?.id ?? '', message);
    }
    for (const message of this.#readers.wrong) violations.add('I12', '', message);
    for (const { write, by, outcome } of this.#asked) checkOutcome(this.#context, write, by, outcome);
    checkSyncRun(this.#context, this.writes);
  }

  #watch(node: SimulatedNode): void {
    this.#context.answers.watch(node.id, node.database);
    node.database.onCommit(() => {
      this.#snapshots++;
      checkSnapshot(node, this.#context.violations);
    });
  }

  /** While the trouble goes on: what is answered for certain must be true in the end. */
  #askLater(write: SyncWriteRecord): void {
    const node = this.random.pick(this.#context.nodes);
    const delayMs = this.random.int(0, 2000);
    this.#context.world.clock.setTimer(delayMs, () => void this.#ask(write, node, 1000, true));
  }

  async #ask(write: SyncWriteRecord, node: SimulatedNode, timeoutMs: number, mayFail = false): Promise<void> {
    const { world, violations, note } = this.#context;
    const { outcomeId } = write;
    if (outcomeId === undefined || node.replica === undefined || node.paused) return;
    const asking = node.replica.outcome(outcomeId, { timeoutMs });
    try {
      const outcome = await (mayFail ? asking : world.clock.run(asking, SETTLE_LIMIT_MS));
      note(`${write.token} is ${outcome.outcome}, says ${node.id}`);
      if (!mayFail || outcome.outcome !== 'unknown') this.#asked.push({ write, by: node.id, outcome });
    } catch (error) {
      if (mayFail) return;
      violations.add(
        'I8',
        node.id,
        `asked for ${write.token} (${outcomeId}), it failed with ${String(error)}`,
      );
    }
  }
}
