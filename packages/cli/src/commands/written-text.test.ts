import type { WriteResult } from '@antiphon/replica';
import { describe, expect, it } from 'vitest';
import { showWritten } from './written-text.js';

const WRITTEN: WriteResult<readonly number[]> = {
  outcome: 'committed',
  id: { origin: 'eu-1', counter: 7 },
  position: { generation: 'g', seq: 9 },
  value: [1, 2],
};

function shown(more: Partial<typeof WRITTEN>): { readonly out: string; readonly err: string } {
  const texts = { out: '', err: '' };
  const out = (text: string): void => void (texts.out += text);
  const err = (text: string): void => void (texts.err += text);
  showWritten({ ...WRITTEN, ...more }, 'eu-1', { out, err, color: false });
  return texts;
}

describe('showWritten', () => {
  it('says what changed, and nothing else in an asynchronous cluster', () => {
    expect(shown({})).toEqual({ out: '3 rows changed on eu-1 (transaction eu-1:7)\n', err: '' });
  });

  it('says of a repeated request that it was written before', () => {
    expect(shown({ repeated: true }).out).toBe(
      '3 rows changed when this request was written. It was written before, and not again\n',
    );
  });

  it('names the request where no transaction tells', () => {
    const texts: string[] = [];
    const { id: _, ...written } = WRITTEN;
    const terminal = { out: (text: string) => void texts.push(text), err: () => undefined, color: false };
    showWritten(written, 'eu-1', terminal, 'order-7');
    showWritten(written, 'eu-1', terminal);
    expect(texts).toEqual([
      '3 rows changed on eu-1 (request order-7)\n',
      '3 rows changed on eu-1 (nothing that is replicated changed)\n',
    ]);
  });

  it('says who acknowledged', () => {
    const acks = { level: 'majority', by: ['eu-1', 'eu-2'], missing: ['eu-3'], reached: true } as const;
    expect(shown({ acks })).toMatchObject({
      out: expect.stringContaining('by eu-1, eu-2\n') as string,
      err: '',
    });
  });

  it('I8: warns of what was not reached, and loudly of what was not waited for', () => {
    const acks = { level: 'all', by: ['eu-1'], missing: ['eu-2', 'eu-3'], reached: false } as const;
    expect(shown({ acks }).err).toBe(
      '! Committed, and in the log, but not acknowledged as asked (all) in time: no answer of eu-2, eu-3.\n',
    );
    expect(shown({ acks, degraded: true }).err).toContain('! DEGRADED: too few replicas are in sync');
  });
});
