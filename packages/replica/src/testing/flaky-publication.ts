import {
  AntiphonError,
  type Publication,
  type PublicationEnd,
  type PublishRequest,
  type PublishResult,
} from '@antiphon/core';

/** Of a hundred messages, to how many each of these happens. */
export interface PublicationFaults {
  /** It is not sent, and no answer comes. */
  readonly lost: number;
  /** It is stored, and no answer comes. */
  readonly unanswered: number;
  /** No answer comes, and it is sent later: when others have published, or the end was read. */
  readonly late: number;
  /** Nothing is sent or read for a while, as in a process that is paused. */
  readonly paused: number;
}

const MAX_LATE_MS = 200;
const MAX_PAUSE_MS = 2500;

/** A real stream, behind a network that loses and delays. */
export class FlakyPublication implements Publication {
  #pausedUntilMs = 0;

  constructor(
    private readonly real: Publication,
    private readonly faults: PublicationFaults,
    private readonly random: () => number,
  ) {}

  get stream(): string {
    return this.real.stream;
  }

  get maxMessageBytes(): number {
    return this.real.maxMessageBytes;
  }

  async end(signal?: AbortSignal): Promise<PublicationEnd> {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, this.#pausedUntilMs - performance.now())));
    return this.real.end(signal);
  }

  publish(request: PublishRequest, settled: (result: PublishResult) => void): void {
    const { lost, unanswered, late, paused } = this.faults;
    const pausedMs = Math.max(0, this.#pausedUntilMs - performance.now());
    const drawn = this.random() * 100;
    if (drawn < paused) this.#pausedUntilMs = performance.now() + this.random() * MAX_PAUSE_MS;
    const send = (): void => this.real.publish(request, settled);
    if (drawn < paused || pausedMs > 0) return void setTimeout(send, Math.max(pausedMs, this.#leftMs));
    const silent = (): void => this.real.publish(request, () => undefined);
    if (drawn >= paused + lost + unanswered + late) return send();
    if (drawn >= paused + lost + unanswered) setTimeout(silent, this.random() * MAX_LATE_MS);
    else if (drawn >= paused + lost) silent();
    const error = new AntiphonError('TIMEOUT', 'The answer is lost.');
    setTimeout(() => settled({ type: 'failed', error }), this.random() * MAX_LATE_MS);
  }

  get #leftMs(): number {
    return Math.max(0, this.#pausedUntilMs - performance.now());
  }

  close(): void {
    this.real.close();
  }
}
