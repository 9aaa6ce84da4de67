import { expect, it } from 'vitest';
import { takesOf } from './served-bus.js';

const follower = { lifecycle: 'following', role: 'replica', hasFailover: true, isDrained: false } as const;
const primary = { ...follower, lifecycle: 'primary', role: 'primary' } as const;

it.each([
  ['a follower', follower, { reads: true, writes: true }],
  ['a primary', primary, { reads: true, writes: true }],
  ['a follower that is drained', { ...follower, isDrained: true }, { reads: false, writes: true }],
  [
    'a follower where nobody sends writes on',
    { ...follower, hasFailover: false },
    { reads: true, writes: false },
  ],
  ['the sole writer', { ...primary, hasFailover: false }, { reads: true, writes: true }],
  [
    'one of several writers',
    { ...follower, role: 'peer', hasFailover: false },
    { reads: true, writes: true },
  ],
  ['a follower that is behind', { ...follower, lifecycle: 'catching-up' }, { reads: false, writes: true }],
  ['a follower that has stalled', { ...follower, lifecycle: 'stalled' }, { reads: false, writes: false }],
  ['a primary that has stalled', { ...primary, lifecycle: 'stalled' }, { reads: false, writes: true }],
  ['a primary without its lease', { ...primary, lifecycle: 'suspended' }, { reads: false, writes: true }],
  ['one that closes', { ...primary, lifecycle: 'closing' }, { reads: false, writes: false }],
] as const)('%s', (_, standing, takes) => {
  expect(takesOf(standing)).toEqual(takes);
});
