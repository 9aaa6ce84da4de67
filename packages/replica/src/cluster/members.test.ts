import type { LeaseRecord, Registry } from '@antiphon/core';
import { VirtualClock } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { Members } from './members.js';

const RENEWAL: LeaseRecord = { epoch: 1, holder: 'a', instance: 'i', leaseMs: 2000, n: 7 };

it('knows who is inside of a write as long as the lease that says so lasts', async () => {
  const clock = new VirtualClock();
  const members = new Members({} as Registry, clock);
  expect(members.writingMs('a')).toBeUndefined();
  members.renewed({ ...RENEWAL, writingMs: 3000 });
  await clock.advance(500);
  expect(members.writingMs('a')).toBe(3500);
  expect(members.writingMs('b')).toBeUndefined();
  expect(members.writingMs(undefined)).toBeUndefined();
  await clock.advance(1500);
  expect(members.writingMs('a'), 'nobody renews it').toBeUndefined();
  members.renewed({ ...RENEWAL, writingMs: 9000 });
  expect(members.writingMs('a')).toBe(9000);
  members.renewed(RENEWAL);
  expect(members.writingMs('a'), 'it renews it itself').toBeUndefined();
});
