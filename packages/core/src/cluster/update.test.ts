import { describe, expect, it } from 'vitest';
import { describeUpdate, parseAcks, parseUpdate } from './update.js';

describe('update settings', () => {
  it('fill in what is safe', () => {
    expect(parseUpdate({ mode: 'sync' })).toEqual({
      mode: 'sync',
      acks: 'all',
      minInSync: 2,
      onShortfall: 'reject',
      foreignWrites: 'refuse',
    });
    expect(parseUpdate({ mode: 'sync', acks: 'majority' })).toMatchObject({ minInSync: 1 });
    expect(parseUpdate({ mode: 'async', intervalMs: 5 })).toEqual({ mode: 'async' });
    expect(parseUpdate({})).toEqual({ mode: 'async' });
  });

  it.each([
    ['no object', 'sync', 'update'],
    ['another mode', { mode: 'semi' }, 'update.mode'],
    ['an interval', { mode: 'sync', intervalMs: 5 }, 'update.intervalMs'],
    ['a level', { mode: 'sync', acks: 'most' }, 'update.acks'],
    ['no databases', { mode: 'sync', acks: 0 }, 'update.acks'],
    ['half a database', { mode: 'sync', acks: 1.5 }, 'update.acks'],
    ['nobody in sync', { mode: 'sync', minInSync: 0 }, 'update.minInSync'],
    ['a shortfall', { mode: 'sync', onShortfall: 'ignore' }, 'update.onShortfall'],
    ['foreign writes', { mode: 'sync', foreignWrites: 'allow' }, 'update.foreignWrites'],
  ])('refuse %s, and name it', (_, input, name) => {
    expect(() => parseUpdate(input)).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION', message: expect.stringContaining(name) as string }),
    );
  });

  it('take levels that came over the bus', () => {
    expect(parseAcks(3n)).toBe(3);
    expect(parseAcks('logged')).toBe('logged');
    expect(() => parseAcks('2')).toThrow(/acks/);
  });

  it('describe what replicas must agree on', () => {
    expect(describeUpdate({ mode: 'async' })).toBe('async');
    expect(describeUpdate(parseUpdate({ mode: 'sync', acks: 2 }))).toBe(
      'sync (acks 2, minInSync 1, onShortfall reject, foreignWrites refuse)',
    );
  });
});
