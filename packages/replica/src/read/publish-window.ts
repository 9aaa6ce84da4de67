import type { AntiphonError, PublishResult } from '@antiphon/core';

/** Why nothing more is sent: the stream ends otherwise than expected, or something went wrong. */
export type Broken = { readonly type: 'outrun' } | { readonly type: 'failed'; readonly error: AntiphonError };

export interface WindowLimits {
  readonly messages: number;
  readonly bytes: number;
}

/** What was sent to the stream and not answered. The first thing that goes wrong ends it. */
export class PublishWindow {
  #messages = 0;
  #bytes = 0;
  #broken: Broken | undefined;
  #waiting: { readonly until: () => boolean; readonly resume: () => void }[] = [];

  constructor(
    private readonly limits: WindowLimits,
    private readonly onBroken: () => void,
  ) {}

  get broken(): Broken | undefined {
    return this.#broken;
  }

  get isEmpty(): boolean {
    return this.#messages === 0;
  }

  get hasRoom(): boolean {
    return this.#messages < this.limits.messages && this.#bytes < this.limits.bytes;
  }

  sent(bytes: number): void {
    this.#messages++;
    this.#bytes += bytes;
  }

  settled(bytes: number, result: PublishResult, expectedSeq: number): void {
    this.#messages--;
    this.#bytes -= bytes;
    // The chain is broken where a message is not where it belongs, whoever's fault that is.
    const broken: Broken | undefined =
      result.type !== 'stored' ? result : result.seq === expectedSeq + 1 ? undefined : { type: 'outrun' };
    if (broken !== undefined && this.#broken === undefined) {
      this.#broken = broken;
      this.onBroken();
    }
    this.#wake();
  }

  /** Room for one more, or nothing more is to be sent. */
  room(): Promise<void> | undefined {
    return this.#until(() => this.hasRoom || this.#broken !== undefined);
  }

  /** Everything is answered; each message is within seconds. */
  async drained(): Promise<void> {
    await this.#until(() => this.isEmpty);
  }

  #until(until: () => boolean): Promise<void> | undefined {
    if (until()) return undefined;
    return new Promise((resume) => this.#waiting.push({ until, resume }));
  }

  #wake(): void {
    if (this.#waiting.length === 0) return;
    const [due, left] = [
      this.#waiting.filter(({ until }) => until()),
      this.#waiting.filter(({ until }) => !until()),
    ];
    this.#waiting = left;
    for (const { resume } of due) resume();
  }
}
