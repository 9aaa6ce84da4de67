import { deserialize } from 'node:v8';
import { FRAME_HEAD_BYTES } from './answer-pipe.js';
import type { ReadReply } from './reader-protocol.js';

/** What `AnswerPipe` has written, whatever pieces it comes in. */
export class AnswerFrames {
  /** The pieces of a frame that is not whole. */
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** It is whole with so many bytes. */
  #wanted = FRAME_HEAD_BYTES;

  take(piece: Buffer): readonly ReadReply[] {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes < this.#wanted) return [];
    const data = Buffer.concat(this.#pieces, this.#bytes);
    const replies: ReadReply[] = [];
    let at = 0;
    for (;;) {
      const left = data.length - at;
      this.#wanted = FRAME_HEAD_BYTES + (left < FRAME_HEAD_BYTES ? 0 : data.readUInt32LE(at));
      if (left < this.#wanted) break;
      replies.push(deserialize(data.subarray(at + FRAME_HEAD_BYTES, at + this.#wanted)) as ReadReply);
      at += this.#wanted;
    }
    // A copy: a view would keep all of the answers in memory.
    const rest = Buffer.from(data.subarray(at));
    [this.#pieces, this.#bytes] = [[rest], rest.length];
    return replies;
  }
}
