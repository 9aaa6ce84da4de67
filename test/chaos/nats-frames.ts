/** A message of a client to a server, whole. */
export interface Frame {
  readonly data: Buffer;
  /** Of what it publishes; empty for everything else. */
  readonly subject: string;
}

const LINE_END = '\r\n';

/** Cuts what a NATS client sends into its messages. */
export class NatsFrames {
  #rest: Buffer = Buffer.alloc(0);

  take(data: Buffer): readonly Frame[] {
    this.#rest = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    const frames: Frame[] = [];
    let from = 0;
    for (;;) {
      const lineEnd = this.#rest.indexOf(LINE_END, from);
      if (lineEnd < 0) break;
      const [verb, subject = '', ...others] = this.#rest.toString('latin1', from, lineEnd).split(' ');
      const publishes = verb === 'PUB' || verb === 'HPUB';
      const to = lineEnd + 2 + (publishes ? Number(others.at(-1)) + 2 : 0);
      if (to > this.#rest.length) break;
      frames.push({ data: this.#rest.subarray(from, to), subject: publishes ? subject : '' });
      from = to;
    }
    this.#rest = this.#rest.subarray(from);
    return frames;
  }
}
