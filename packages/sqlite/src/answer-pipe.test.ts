import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AnswerFrames } from './answer-frames.js';
import { AnswerPipe } from './answer-pipe.js';
import type { ReadReply } from './reader-protocol.js';

let folder: string;
let file: string;
let fd: number;
let pipe: AnswerPipe;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antiphon-answers-'));
  open();
});

afterEach(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

function open(): void {
  file = join(folder, 'answers');
  fd = openSync(file, 'w');
  pipe = new AnswerPipe(undefined, fd);
}

function reply(id: number, bytes: number): ReadReply {
  const rows = [[BigInt(id), -0, 'x'.repeat(bytes), new Uint8Array([id % 256]), null]];
  return { id, ok: true, tookMs: 0.5, result: { type: 'query', result: { columns: ['a'], rows } } };
}

const written = (): number => statSync(file).size;

it('answers come out as they went in, whatever their sizes and pieces (property)', () => {
  const size = fc.oneof(fc.nat(200), fc.integer({ min: 60_000, max: 70_000 }), fc.constant(200_000));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(size, fc.boolean()), { maxLength: 12 }),
      fc.nat(70_000),
      (answers, piece) => {
        closeSync(fd);
        open();
        const given = answers.map(([bytes], index) => reply(index, bytes));
        for (const [index, one] of given.entries()) {
          pipe.add(one);
          if (answers[index]?.[1] === true) pipe.flush();
        }
        pipe.flush();
        const data = readFileSync(file);
        const frames = new AnswerFrames();
        const taken: ReadReply[] = [];
        for (let at = 0; at < data.length; at += piece + 1)
          taken.push(...frames.take(data.subarray(at, at + piece + 1)));
        expect(taken).toEqual(given);
      },
    ),
    { numRuns: 20 },
  );
});

it('are held until they are flushed, or by the other thread until they are held too long', () => {
  pipe.add(reply(1, 10));
  pipe.add(reply(2, 10));
  expect(written()).toBe(0);
  const other = new AnswerPipe(pipe.memory, fd);
  other.watch(1000, 1);
  const both = written();
  expect(both).toBeGreaterThan(0);
  expect(new AnswerFrames().take(readFileSync(file))).toHaveLength(2);
  pipe.flush();
  other.watch(1, 1);
  expect(written()).toBe(both);
  pipe.add(reply(3, 10));
  pipe.flush();
  expect(written()).toBeGreaterThan(both);
});
