import { toAntiphonError } from '@antiphon/core';
import type { ClusterClient } from '@antiphon/client';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import type { addTargetOptions, CommandContext } from './define.js';
import type { Said } from './quarantine-text.js';

const ASK_TIMEOUT_MS = 30_000;

interface AskedOptions extends TargetOptions {
  readonly replica?: string;
}

export function addReplicaOption(command: Parameters<typeof addTargetOptions>[0]): void {
  command.option('-r, --replica <id>', 'only this one (default: every member that answers)');
}

/** The replicas that a command asks: the named one, or every member. */
export class Asked implements AsyncDisposable {
  private constructor(
    private readonly client: ClusterClient,
    private readonly ids: readonly string[],
    private readonly signal: AbortSignal,
  ) {}

  static async open(options: AskedOptions, { terminal, env, cwd, signal }: CommandContext): Promise<Asked> {
    const client = await openCluster(resolveTarget(options, env, cwd), terminal);
    try {
      if (options.replica !== undefined) {
        await client.requireMember(options.replica);
        return new Asked(client, [options.replica], signal);
      }
      const members = await client.members();
      return new Asked(client, members.map(({ id }) => id).sort(), signal);
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  get name(): string {
    return this.client.cluster;
  }

  get wait(): { readonly timeoutMs: number; readonly signal: AbortSignal } {
    return { timeoutMs: ASK_TIMEOUT_MS, signal: this.signal };
  }

  ref(id: string): ReturnType<ClusterClient['replica']> {
    return this.client.replica(id);
  }

  /** Throws what all of them failed with. */
  async each<T>(ask: (id: string) => Promise<T>): Promise<readonly Said<T>[]> {
    const said = await Promise.all(
      this.ids.map(async (id): Promise<Said<T>> => {
        try {
          return { id, answer: await ask(id) };
        } catch (error) {
          return { id, error: toAntiphonError(error) };
        }
      }),
    );
    const [first] = said;
    if (first?.error !== undefined && said.every(({ answer }) => answer === undefined)) throw first.error;
    return said;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}

export function exitOf<T>(said: readonly Said<T>[], good: (answer: T) => boolean): ExitCode {
  return said.every(({ answer }) => answer !== undefined && good(answer)) ? EXIT.ok : EXIT.failed;
}
