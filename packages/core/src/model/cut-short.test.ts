import { expect, it } from 'vitest';
import { cutShort } from './cut-short.js';
import { TaggedValue } from './value.js';

const bytes = (length: number) => new Uint8Array(length).fill(255);

it('cuts long text, bytes and text that is not UTF-8, and says how long they are', () => {
  expect(cutShort('x'.repeat(30), 20, 5)).toEqual({ start: 'xxxxx', length: 30 });
  expect(cutShort(bytes(30), 20, 5)).toEqual({ start: bytes(5), length: 30 });
  expect(cutShort(new TaggedValue('raw-text', bytes(30)), 20, 5)).toEqual({
    ...{ start: bytes(5), length: 30, tag: 'raw-text' },
  });
  for (const short of [
    null,
    true,
    7n,
    1.5,
    'x'.repeat(20),
    bytes(20),
    new TaggedValue('raw-text', bytes(20)),
  ])
    expect(cutShort(short, 20)).toBe(short);
});

it('cuts what is cut already further, of the same whole', () => {
  expect(cutShort({ start: 'x'.repeat(30), length: 500 }, 20)).toEqual({
    start: 'x'.repeat(20),
    length: 500,
  });
  const raw = { start: bytes(30), length: 500, tag: 'raw-text' } as const;
  expect(cutShort(raw, 20)).toEqual({ ...raw, start: bytes(20) });
  expect(cutShort(raw, 30)).toBe(raw);
});
