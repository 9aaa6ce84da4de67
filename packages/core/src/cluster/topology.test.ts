import { describe, expect, it } from 'vitest';
import { describeTopology, formerTopology, MULTI_PRIMARY, parseTopology, roleOf } from './topology.js';

const PRIMARY = { mode: 'primary-replica', primary: 'eu-1' } as const;

describe('parseTopology', () => {
  it.each([{ mode: 'multi-primary' }, PRIMARY])('reads %j', (input) => {
    expect(parseTopology(input)).toEqual(input);
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
  ])('refuses %j', (input) => {
    expect(() => parseTopology(input)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  });

  it.each([
    ['multi-primary', "{ mode: 'multi-primary' }"],
    [{ 'primary-replica': { primary: 'eu-1' } }, "{ mode: 'primary-replica', primary: 'eu-1' }"],
  ])('shows how %j is written now', (input, now) => {
    expect(() => parseTopology(input)).toThrow(
      expect.objectContaining({
        code: 'BAD_OPTION',
        message: expect.stringContaining(`Write ${now}.`) as string,
      }),
    );
  });
});

it('reads what clusters have written down before', () => {
  expect(formerTopology('multi-primary')).toEqual(MULTI_PRIMARY);
  expect(formerTopology({ 'primary-replica': { primary: 'eu-1' } })).toEqual(PRIMARY);
  expect(formerTopology(PRIMARY)).toBeUndefined();
});

it('tells the roles', () => {
  const roles = [roleOf(PRIMARY, 'eu-1'), roleOf(PRIMARY, 'eu-2'), roleOf(MULTI_PRIMARY, 'eu-1')];
  expect(roles).toEqual(['primary', 'replica', 'peer']);
  expect(describeTopology(PRIMARY)).toBe('primary-replica with primary eu-1');
});
