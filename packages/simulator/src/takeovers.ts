import { toAntiphonError } from '@antiphon/core';
import type { Replica } from '@antiphon/replica';
import type { Random } from '@antiphon/testing';
import type { LogModel } from './log-model.js';
import type { SimulatedNode, World } from './node.js';
import type { Violations } from './violation.js';

const MEAN_MS = 900;
const TIMEOUTS_MS = [200, 1500, 6000];
/** After an event: before anything else happens, or while its answer is on the way. */
const INSTANTS_MS = [0, 0, 0.05, 1, 5, 40];
const LONGEST_DOWN_MS = 2500;
const LONGEST_PAUSE_MS = 3000;
const MOST_LOST_COMMITS = 4;

type TakenOver = Awaited<ReturnType<Replica<unknown>['takeOver']>>;
type Moment = (typeof MOMENTS)[number];

const MOMENTS = [
  ...(['any time', 'any time', 'publish', 'publish', 'commit', 'commit', 'record'] as const),
  ...(['primary down', 'primary down', 'primary paused', 'primary cut off', 'all cut off'] as const),
  ...(['two at once', 'two at once', 'three at once', 'primary returns', 'primary itself'] as const),
  ...(['power goes', 'power goes'] as const),
] as const;

interface Hooks {
  readonly note: (event: string) => void;
  /** A database is as it was left, and nobody has it open. */
  readonly left: (node: SimulatedNode) => void;
  /** Commits that a database has no more. */
  readonly lost: (node: SimulatedNode, commits: readonly number[]) => void;
}

/** An operator who makes one replica after the other the primary, at the worst moments. */
export class Takeovers {
  readonly counts = { takeovers: 0, elected: 0, refusedTakeovers: 0 };
  #stopped = false;
  /** The processes that are to answer. */
  readonly #open = new Map<object, { readonly node: SimulatedNode; readonly process: number }>();

  constructor(
    private readonly world: World,
    private readonly nodes: readonly SimulatedNode[],
    private readonly random: Random,
    private readonly log: LogModel,
    private readonly violations: Violations,
    private readonly hooks: Hooks,
  ) {}

  start(): void {
    this.#later(-Math.log(1 - this.random.next()) * MEAN_MS, () => {
      if (this.#stopped) return;
      this.#at(this.random.pick(MOMENTS));
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  /** One that can still be answered is not. */
  get isWaiting(): boolean {
    return [...this.#open.values()].some(({ node, process }) => node.starts === process);
  }

  #at(moment: Moment): void {
    const primary = this.#primary();
    const others = this.nodes.filter((node) => node !== primary);
    const other = this.random.pick(others);
    this.hooks.note(`takeover: ${moment}, ${primary?.id} is the primary`);
    if (moment === 'publish') return this.#afterEntry((origin) => origin === primary?.id, other);
    if (moment === 'record') return this.#afterEntry((origin) => origin === '_epoch', other);
    if (moment === 'commit') return this.#aroundCommit(this.random.pick(this.nodes), other);
    if (moment === 'primary itself') return void (primary && this.#ask(primary));
    if (moment === 'any time') return this.#ask(this.random.pick(this.nodes));
    if (moment === 'two at once' || moment === 'three at once') {
      const asked = moment === 'two at once' ? others.slice(0, 2) : this.nodes;
      for (const node of asked) this.#soon(() => this.#ask(node));
      return;
    }
    if (moment === 'all cut off') return this.#cutOff(this.nodes, other);
    if (primary === undefined) return;
    if (moment === 'power goes') return this.#powerGoes(primary, other);
    if (moment === 'primary cut off') return this.#cutOff([primary], other);
    if (moment === 'primary paused') return this.#pause(primary, other);
    this.#down(primary, other, moment === 'primary returns');
  }

  #cutOff(nodes: readonly SimulatedNode[], other: SimulatedNode): void {
    if (!this.world.options.chaos.disconnections) return this.#ask(other);
    for (const node of nodes) node.disconnect();
    this.#soon(() => this.#ask(other));
    this.#later(this.random.int(1, LONGEST_DOWN_MS), () => nodes.forEach((node) => node.reconnect()));
  }

  #pause(primary: SimulatedNode, other: SimulatedNode): void {
    this.#later(this.random.int(1, LONGEST_PAUSE_MS), primary.pause());
    this.#soon(() => this.#ask(other));
  }

  /** `returns`: the other one is asked when the old primary is back, and before it knows. */
  #down(primary: SimulatedNode, other: SimulatedNode, returns: boolean): void {
    if (!primary.running || !this.world.options.chaos.crashes) return this.#ask(other);
    primary.kill();
    this.hooks.left(primary);
    const downMs = this.random.int(1, LONGEST_DOWN_MS);
    const askMs = returns ? downMs + this.random.int(0, 100) : this.random.int(0, downMs);
    this.#later(downMs, () => primary.start());
    this.#later(askMs, () => this.#ask(other));
    if (returns && this.random.chance(0.5)) this.#later(askMs, () => this.#ask(primary));
  }

  /** While it sends what it committed last, which it does not have afterwards. */
  #powerGoes(primary: SimulatedNode, other: SimulatedNode): void {
    if (!this.world.options.chaos.powerLoss) return this.#ask(other);
    const stop = primary.database.onCommit(({ sealed }) => {
      if (sealed.length === 0) return;
      stop();
      this.#soon(() => {
        if (this.#stopped || !primary.running) return;
        this.hooks.lost(primary, primary.losePower(this.random.int(1, MOST_LOST_COMMITS)));
        this.hooks.left(primary);
        this.#later(this.random.int(1, LONGEST_DOWN_MS), () => primary.start());
        this.#soon(() => this.#ask(this.random.chance(0.8) ? other : primary));
      });
    });
  }

  #afterEntry(isIt: (origin: string) => boolean, node: SimulatedNode): void {
    const { log } = this.world;
    let last = log.entries().length;
    const stop = log.onChange(() => {
      const entries = log.entries().slice(last);
      last += entries.length;
      if (!entries.some(({ origin }) => isIt(origin))) return;
      stop();
      this.#soon(() => this.#ask(node));
    });
  }

  #aroundCommit({ database }: SimulatedNode, node: SimulatedNode): void {
    const stop = database.onCommit(() => {
      stop();
      this.#soon(() => this.#ask(node));
    });
  }

  #ask(node: SimulatedNode): void {
    const { replica } = node;
    if (this.#stopped || replica === undefined || node.paused) return;
    this.counts.takeovers++;
    this.hooks.note(`${node.id} is to take over`);
    const asked = {};
    this.#open.set(asked, { node, process: node.starts });
    replica
      .takeOver({ timeoutMs: this.random.pick(TIMEOUTS_MS) })
      .then(
        (taken) => this.#taken(node, taken),
        (thrown: unknown) => this.#failed(node, thrown),
      )
      .finally(() => this.#open.delete(asked));
  }

  /** I9: it says what the log says, and has read everything in front of it. */
  #taken({ id, database }: SimulatedNode, { epoch, primary, seq, elected }: TakenOver): void {
    this.log.feed(this.world.log.entries());
    this.hooks.note(`${id} took over: epoch ${epoch} of ${primary}, ${elected ? '' : 'not '}elected`);
    if (elected) this.counts.elected++;
    const wrong = (what: string): void =>
      this.violations.add('I9', id, `epoch ${epoch} of ${primary}: ${what}`);
    const found = this.log.epochs.find(({ number }) => number === epoch);
    if (epoch > 0 && (found === undefined || found.primary !== primary || found.seq !== seq))
      wrong(`the log says ${found?.primary} at ${found?.seq}, it says at ${seq}`);
    if (elected && primary !== id) wrong('it is elected, and another one is the primary');
    if ((database.record()?.position.seq ?? 0) < seq) wrong('it has not come there');
  }

  #failed({ id }: SimulatedNode, thrown: unknown): void {
    const { code, message } = toAntiphonError(thrown);
    this.counts.refusedTakeovers++;
    this.hooks.note(`${id} did not take over: ${code}`);
    const { schemaChanges } = this.world.options.features;
    if (!EXPECTED.has(code) && !(schemaChanges && code === 'SCHEMA_DRIFT'))
      this.violations.add('I9', id, `it did not take over: ${code}: ${message}`);
  }

  #primary(): SimulatedNode | undefined {
    this.log.feed(this.world.log.entries());
    return this.nodes.find(({ id }) => id === this.log.primary);
  }

  #soon(work: () => void): void {
    this.#later(this.random.pick(INSTANTS_MS), work);
  }

  #later(delayMs: number, work: () => void): void {
    this.world.clock.setTimer(delayMs, work);
  }
}

const EXPECTED = new Set(['TIMEOUT', 'LOG_UNAVAILABLE', 'CLOSED', 'ACTOR_STOPPED', 'OVERLOADED', 'NO_ACTOR']);

/** I9: when everything rests, all agree who is the primary, and nobody else takes writes. */
export function checkAuthority(nodes: readonly SimulatedNode[], log: LogModel, violations: Violations): void {
  for (const node of nodes) {
    const { id, replica, database } = node;
    const status = replica?.status();
    if (status === undefined) continue;
    const { role, epoch } = status;
    if (epoch?.number !== log.epoch || epoch.primary !== log.primary)
      violations.add(
        'I9',
        id,
        `it says epoch ${epoch?.number} of ${epoch?.primary}, the log ${log.epoch} of ${log.primary}`,
      );
    const expected = log.primary === id ? 'primary' : 'replica';
    if (role !== expected) violations.add('I9', id, `its role is ${role}, and ought to be ${expected}`);
    if (log.primary !== id && takesOutsideWrite(node))
      violations.add('I9', id, 'it is not the primary, and its database takes writes of other programs');
    const recorded = database.read('SELECT epoch, primary_replica, seq FROM _antiphon_epochs ORDER BY epoch');
    const texts = [
      recorded.map((row) => row.map(String).join()),
      log.epochs.map(({ number, primary, seq }) => [number, primary, seq].join()),
    ];
    if (texts[0]?.join(' ') !== texts[1]?.join(' '))
      violations.add(
        'I9',
        id,
        `its epochs are ${texts[0]?.join(' ')}, those of the log ${texts[1]?.join(' ')}`,
      );
  }
}

class NotMeant extends Error {}

/** Tried, and rolled back. */
function takesOutsideWrite({ database }: SimulatedNode): boolean {
  if (!database.tableNames().includes('events')) return false;
  try {
    database.writeOutside((tx) => {
      tx.run(`INSERT INTO events (replica, number, token) VALUES ('nobody', 0, 'nobody')`);
      throw new NotMeant();
    });
  } catch (thrown) {
    return thrown instanceof NotMeant;
  }
  return true;
}
