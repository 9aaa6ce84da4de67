import { toAntiphonError } from '@antiphon/core';
import { verifyCluster, type VerifyResult } from '@antiphon/replica';
import { Link, type Random } from '@antiphon/testing';
import { CLUSTER, type SimulatedNode, type World } from './node.js';
import { quote } from './schema/index.js';

const LOOK_MS = 1000;
const RECAPTURE_MS = 30_000;
const INSPECT_CHANCE = 0.15;
const VERIFY_MS = 20_000;
const REMOVE_MS = 6000;

/** Does what the documentation tells an operator to do, whenever `status` asks for it. */
export class Operator {
  readonly counts = { recaptures: 0, removals: 0 };
  /** Whose process is being talked to; one that was killed never answers. */
  readonly #busy = new Map<SimulatedNode, number>();

  constructor(
    private readonly world: World,
    private readonly nodes: readonly SimulatedNode[],
    private readonly random: Random,
    private readonly note: (event: string) => void,
  ) {}

  /** For ever: after the troubles, somebody has to clear up what they left. */
  start(): void {
    this.world.clock.setTimer(LOOK_MS, () => {
      for (const node of this.nodes) this.#look(node);
      this.start();
    });
  }

  /** Everybody is asked, as `antiphon verify` does. */
  async verify(timeoutMs = VERIFY_MS): Promise<VerifyResult> {
    const { clock, faults, bus, registry } = this.world;
    const link = new Link({ clock, faults });
    return await verifyCluster({
      ...{ cluster: CLUSTER, clock, timeoutMs },
      bus: bus.connect(link),
      registry: registry.connect(link),
    });
  }

  /** A member that is gone for good, as somebody believes. */
  async remove(gone: SimulatedNode): Promise<void> {
    const remover = this.nodes.find((node) => node !== gone && node.replica !== undefined && !node.paused);
    const { replica } = remover ?? {};
    if (replica === undefined) return;
    const force = this.random.chance(0.5);
    gone.forgetMembership();
    try {
      await replica.removeMember(gone.id, { force, timeoutMs: REMOVE_MS });
      this.counts.removals++;
      this.note(`${gone.id} removed by ${replica.id}`);
    } catch (thrown) {
      this.note(`${gone.id} not removed: ${toAntiphonError(thrown).code}`);
    }
  }

  #look(node: SimulatedNode): void {
    const { replica } = node;
    if (!node.running) this.#deleteNullKeys(node);
    if (replica === undefined || node.paused || this.#busy.get(node) === node.starts) return;
    const [table] = replica.status().stalled?.tables ?? [];
    const work = table === undefined ? this.#inspection(node) : this.#recapture(node, table);
    if (work === undefined) return;
    const process = node.starts;
    this.#busy.set(node, process);
    void work.finally(() => {
      if (this.#busy.get(node) === process) this.#busy.delete(node);
    });
  }

  /** No start goes well while there are such rows, and its error says what to do about them. */
  #deleteNullKeys({ id, database, failures }: SimulatedNode): void {
    const last = failures.at(-1);
    if (last?.message.includes('NULL in their primary key') !== true || database.busy) return;
    const table = String(last.context['table']);
    try {
      database.migrate((editor) => {
        for (const [column] of editor.read('SELECT name FROM pragma_table_info(?) WHERE pk > 0', table))
          editor.run(`DELETE FROM ${quote(table)} WHERE ${quote(String(column))} IS NULL`);
      });
      this.note(`${id} has no rows without a key in ${table} any more`);
    } catch (thrown) {
      this.note(`${id} keeps rows without a key in ${table}: ${String(thrown)}`);
    }
  }

  async #recapture(node: SimulatedNode, table: string): Promise<void> {
    const { replica } = node;
    if (replica === undefined) return;
    try {
      const result = await replica.recapture(table, { deleteRows: true, timeoutMs: RECAPTURE_MS });
      this.counts.recaptures++;
      this.note(`${node.id} recaptured ${table}: ${result.outcome}`);
    } catch (thrown) {
      const { code, message } = toAntiphonError(thrown);
      this.note(`${node.id} did not recapture ${table}: ${code}: ${message}`);
    }
  }

  #inspection(node: SimulatedNode): Promise<void> | undefined {
    if (!this.world.options.features.inspections || !this.random.chance(INSPECT_CHANCE)) return undefined;
    const verifies = this.random.chance(0.3);
    const asked: Promise<unknown> | undefined = verifies ? this.verify() : node.replica?.quarantine.retry();
    return asked?.then(
      () => this.note(`${node.id} ${verifies ? 'verified' : 'tried again what was quarantined'}`),
      (thrown: unknown) => this.note(`${node.id} was asked in vain: ${toAntiphonError(thrown).code}`),
    );
  }
}
