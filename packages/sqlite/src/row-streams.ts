import type { RowStream } from '@antiphon/core';
import { abortError, AntiphonError } from '@antiphon/core';
import { storeClosed } from './errors.js';
import { ProcessStream } from './process-stream.js';
import { programsGone } from './reading-program.js';
import type { StreamRequest } from './stream-protocol.js';

export interface StreamsOptions {
  readonly file: string;
  /** Open at once; more are OVERLOADED. */
  readonly most: number;
}

/**
 * Streams of rows, each in a process of its own: it keeps its snapshot while its reader is slow,
 * and no other read waits for that.
 */
export class RowStreams {
  readonly #open = new Set<ProcessStream>();
  #closed = false;

  constructor(private readonly options: StreamsOptions) {}

  async open(request: StreamRequest, signal: AbortSignal): Promise<RowStream> {
    if (this.#closed) throw storeClosed();
    if (signal.aborted) throw abortError(signal, 'The caller gave up the stream.');
    const { most, file } = this.options;
    if (this.#open.size >= most) {
      const message = `${most} streams of rows are open already. End one of them, or raise \`streams\` of sqlite().`;
      throw new AntiphonError('OVERLOADED', message);
    }
    const stream = new ProcessStream(file, request, signal, () => this.#open.delete(stream));
    this.#open.add(stream);
    await stream.opened;
    return stream;
  }

  /** Whatever they do: bounded in time. */
  async close(): Promise<void> {
    this.#closed = true;
    const open = [...this.#open];
    for (const stream of open) stream.fail(storeClosed());
    await programsGone(open.map(({ gone }) => gone));
  }
}
