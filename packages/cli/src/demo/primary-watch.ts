import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterClient } from '@antiphon/client';
import { counted } from '@antiphon/core';
import type { EpochStatus, ReplicaStatus } from '@antiphon/replica';
import type { ReplicaProcess } from '../cluster/replica-process.js';

export interface PrimaryWatchOptions {
  readonly client: Pick<ClusterClient, 'replica'>;
  /** Of all replicas. */
  readonly processes: readonly Pick<ReplicaProcess, 'id' | 'pid'>[];
  /** How this user starts the command. */
  readonly command: string;
  /** One sentence for people. */
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

const LOOK_MS = 500;
/** While there is something to wait for. */
const LOOK_OFTEN_MS = 25;
const ASK_MS = 1000;

/** Tells who is the primary whenever another one is, and what has become of the last one. */
export class PrimaryWatch {
  #epoch: EpochStatus | undefined;
  /** The primary, and by when its process had ended. */
  #ended: { readonly id: string; readonly atMs: number } | undefined;
  /** Primaries of before, which have not said yet that they follow. */
  readonly #returning = new Set<string>();

  constructor(private readonly options: PrimaryWatchOptions) {}

  /** The process of a replica has ended. */
  ended(id: string): void {
    if (id === this.#epoch?.primary) this.#ended = { id, atMs: performance.now() };
  }

  /** Who the primary is at first; says nothing. */
  async look(): Promise<void> {
    this.#look(await this.#statuses());
  }

  /** Until the signal. */
  async run(): Promise<void> {
    const { signal } = this.options;
    while (!signal.aborted) {
      await this.look();
      const isWaiting = this.#ended !== undefined || this.#returning.size > 0;
      await sleep(isWaiting ? LOOK_OFTEN_MS : LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  #look(statuses: readonly ReplicaStatus[]): void {
    // It takes writes.
    const primary = statuses.find(({ lifecycle }) => lifecycle === 'primary');
    const { epoch } = primary ?? {};
    if (epoch !== undefined && epoch.number > (this.#epoch?.number ?? -1)) this.#begin(epoch);
    for (const status of statuses) this.#returned(status);
  }

  #begin(epoch: EpochStatus): void {
    const { say, processes } = this.options;
    const before = this.#epoch?.primary;
    const ended = this.#ended;
    [this.#epoch, this.#ended] = [epoch, undefined];
    if (before === undefined) return;
    const { primary, number, why } = epoch;
    const again = primary === before ? ' again' : '';
    const after =
      ended === undefined
        ? ''
        : `, ${((performance.now() - ended.atMs) / 1000).toFixed(2)} s after ${ended.id} ended`;
    const pid = processes.find(({ id }) => id === primary)?.pid;
    say(`${primary} is the primary${again} (pid ${pid})${after}: epoch ${number}, ${why}`);
    this.#returning.delete(primary);
    if (primary !== before) this.#returning.add(before);
  }

  #returned({ id, epoch, lifecycle, rescued }: ReplicaStatus): void {
    const { say, command } = this.options;
    if (lifecycle !== 'following' || epoch?.number !== this.#epoch?.number) return;
    if (!this.#returning.delete(id)) return;
    const follows = `${id} follows ${epoch?.primary}.`;
    const transactions = counted(rescued, 'transaction');
    say(
      rescued === 0
        ? `${follows} Its rescue ledger is empty: all that it had written had come into the log`
        : `${follows} Its rescue ledger has ${transactions} that had not come into the log: ${command} rescue list`,
    );
  }

  async #statuses(): Promise<readonly ReplicaStatus[]> {
    const { client, processes, signal } = this.options;
    const asked = processes.map(({ id }) =>
      client.replica(id).ask('status', undefined, { timeoutMs: ASK_MS, signal }),
    );
    const answers = await Promise.allSettled(asked);
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
  }
}
