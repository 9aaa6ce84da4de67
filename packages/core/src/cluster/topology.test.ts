import { describe, expect, it } from 'vitest';
import { describeTopology, parseTopology, roleOf } from './topology.js';

describe('parseTopology', () => {
  it.each([
    ['multi-primary', 'multi-primary'],
    [{ mode: 'multi-primary' }, 'multi-primary'],
    [{ 'primary-replica': { primary: 'eu-1' } }, { 'primary-replica': { primary: 'eu-1' } }],
    [{ mode: 'primary-replica', primary: 'eu-1' }, { 'primary-replica': { primary: 'eu-1' } }],
  ])('reads %j', (input, expected) => {
    expect(parseTopology(input)).toEqual(expected);
  });

  it.each([
    undefined,
    null,
    'primary-replica',
    {},
    [],
    { mode: 'primary-replica' },
    { mode: 'multi-primary', primary: 'eu-1' },
    { mode: 'ring' },
    { mode: 'primary-replica', primary: 5 },
    { mode: 'primary-replica', primary: 'no id' },
    { mode: 'primary-replica', primary: 'eu-1', also: 1 },
    { 'primary-replica': { primary: 'eu-1' }, mode: 'multi-primary' },
    { 'primary-replica': {} },
    { 'primary-replica': { primary: '.' } },
  ])('refuses %j', (input) => {
    expect(() => parseTopology(input)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  });

  it('tells the roles', () => {
    const topology = parseTopology({ mode: 'primary-replica', primary: 'eu-1' });
    expect([roleOf(topology, 'eu-1'), roleOf(topology, 'eu-2'), roleOf('multi-primary', 'eu-1')]).toEqual([
      'primary',
      'replica',
      'peer',
    ]);
    expect(describeTopology(topology)).toBe('primary-replica with primary eu-1');
  });
});
