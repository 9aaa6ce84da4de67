import { expect, it } from 'vitest';
import { EventReader } from './sse.js';

it('gives the data of events, however they come in pieces', () => {
  const text =
    'retry: 2000\n\nevent: cluster\ndata: {"a":1}\n\n: still here\n\nevent: cluster\ndata: {"a":2}\n\n';
  for (let size = 1; size <= text.length; size++) {
    const reader = new EventReader();
    const found: string[] = [];
    for (let at = 0; at < text.length; at += size) found.push(...reader.read(text.slice(at, at + size)));
    expect(found).toEqual(['{"a":1}', '{"a":2}']);
  }
});
