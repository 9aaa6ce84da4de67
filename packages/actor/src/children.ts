import { AntiphonError, checkOptions, type OptionNames } from '@antiphon/core';
import type { ActorRef, Behaviour, SpawnOptions } from './behaviour.js';
import { actorStopped, escalated, overLimit } from './errors.js';
import type { ChildCell, Kernel } from './kernel.js';
import type { Protocol } from './protocol.js';

const MAX_CHILDREN = 1000;
const SPAWN_OPTIONS: OptionNames<SpawnOptions<unknown>> = { mailbox: true, supervision: true };
/** One token of a path. */
const NAME = /^[A-Za-z0-9_-]{1,128}$/;

/** The actors of one parent: an incarnation of another actor, or the system. */
export class Children {
  readonly #cells = new Map<string, ChildCell>();
  #closed = false;

  constructor(
    private readonly kernel: Kernel,
    private readonly parent: string,
    private readonly escalate: (error: AntiphonError) => void,
  ) {}

  spawn<P extends Protocol<P>>(
    name: string,
    create: () => Behaviour<P>,
    options: SpawnOptions<P> = {},
  ): ActorRef<P> {
    checkOptions(options, SPAWN_OPTIONS, 'spawn()');
    const path = `${this.parent}/${name}`;
    if (this.#closed) throw actorStopped({ actor: this.parent, message: `spawn ${name}`, started: false });
    if (!NAME.test(name))
      throw new AntiphonError(
        'BAD_OPTION',
        `${path} is not a valid name. Use letters, digits, _ and - only.`,
      );
    if (this.#cells.has(name))
      throw new AntiphonError('BAD_OPTION', `${path} already exists. Choose another name.`);
    if (this.#cells.size >= MAX_CHILDREN) throw overLimit(this.parent, 'children', MAX_CHILDREN);
    const cell = this.kernel.createCell(path, create as never, options, {
      ended: () => this.#cells.delete(name),
      escalate: (cause) => this.escalate(escalated(path, cause)),
    });
    this.#cells.set(name, cell);
    return cell.ref as unknown as ActorRef<P>;
  }

  /** No child is added any more. */
  close(): void {
    this.#closed = true;
  }

  /** All at the same time, and all by the same deadline. True: something of them still runs. */
  async stop(deadlineMs: number): Promise<boolean> {
    this.close();
    const abandoned = await Promise.all([...this.#cells.values()].map((cell) => cell.stop(deadlineMs)));
    return abandoned.includes(true);
  }
}
