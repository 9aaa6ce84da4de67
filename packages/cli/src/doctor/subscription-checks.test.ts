import { encodeCursor } from '@antiphon/core';
import type { SubscriptionInfo } from '@antiphon/replica';
import { expect, it } from 'vitest';
import { subscriptionChecks } from './subscription-checks.js';

const PLACE = encodeCursor({ generation: 'g', seq: 20, vector: {}, inside: {} });
const HOLDER = { replica: 'eu-1', instance: 'i', leaseMs: 10_000 };
const INFO: SubscriptionInfo = {
  ...{ name: 'mailer', place: PLACE, epoch: 2, holder: HOLDER, lagEntries: 3 },
  ...{ createdAtMs: 0, writtenAtMs: 100_000 },
};

const messageOf = (info: Partial<SubscriptionInfo>, firstSeq = 1, nowMs = 101_000): string => {
  const [check] = subscriptionChecks([{ ...INFO, ...info }], firstSeq, nowMs);
  return `${check?.grade}: ${check?.message}`;
};

it('says where a subscription is active', () => {
  expect(messageOf({})).toBe('ok: subscription mailer: active on eu-1, 3 entries behind');
});

it('names one of which the record cannot be read', () => {
  const [check] = subscriptionChecks([{ ...INFO, place: '', problem: 'It cannot be read.' }], 1, 101_000);
  expect(check).toMatchObject({ grade: 'fail', message: expect.stringContaining('subscription mailer') });
  expect(check?.advice).toContain('antiphon subscriptions --remove mailer');
});

it('warns of one that nobody serves, or whose place the log does not hold', () => {
  const { holder: _, ...unheld } = INFO;
  const [check] = subscriptionChecks([unheld], 1, 101_000);
  expect(check).toMatchObject({ grade: 'warn', message: expect.stringContaining('Nobody is active') });
  expect(check?.advice).toContain('antiphon subscriptions --remove mailer');
  expect(messageOf({}, 1, 300_000)).toMatch(
    /^warn: eu-1 holds .* was last heard of 200 s ago, 3 entries behind\.$/,
  );
  expect(messageOf({}, 21)).toBe(
    'warn: The place of subscription mailer is entry 20, and the log begins at 21.',
  );
  const { lagEntries: __, ...elsewhere } = INFO;
  expect(subscriptionChecks([elsewhere], 1, 101_000)[0]).toMatchObject({
    message: 'The place of subscription mailer is in another log.',
  });
});
