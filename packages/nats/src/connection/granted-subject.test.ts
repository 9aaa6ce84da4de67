import { createInbox, nuid } from 'nats';
import { expect, it } from 'vitest';
import { permissionsOf } from '../permissions.js';
import { grantedSubject, lastingSubject } from './granted-subject.js';

const options = { inboxPrefix: '_INBOX', running: true };

/** As it is used: names and numbers for what a permission leaves open. */
function used(permission: string): string {
  return permission.replaceAll('*', () => `x${nuid.next()}`).replace(/>$/, () => `${nuid.next()}.17.2`);
}

it.each(['creator', 'replica'] as const)('what a %s uses is named as it is granted', (role) => {
  const { publish, subscribe } = permissionsOf(role, 'shop', { id: 'eu-1', inboxPrefix: '_INBOX_eu-1' });
  const settings = { ...options, inboxPrefix: '_INBOX_eu-1' };
  for (const permission of publish)
    expect(grantedSubject('publish', used(permission), settings)).toBe(permission);
  for (const permission of subscribe) {
    const subject = permission.endsWith('.beat.*') ? permission : used(permission);
    expect(grantedSubject('subscribe', subject, settings)).toBe(permission);
  }
});

it('what a command uses is named as a reader is granted it, and a question as it was asked', () => {
  const settings = { ...options, running: false };
  for (const permission of permissionsOf('reader', 'shop').publish) {
    const subject = used(permission);
    const asked = permission.startsWith('antiphon.shop.replica.') ? subject : permission;
    expect(grantedSubject('publish', subject, settings)).toBe(asked);
  }
});

it('an answer to whoever asks is named by their inbox, whatever its prefix is', () => {
  for (const prefix of ['_INBOX', '_INBOX_eu-2', 'team.eu-2.inbox'])
    expect(grantedSubject('publish', `${createInbox(prefix)}.7`, options)).toBe(`${prefix}.>`);
});

it('made-up names are the same thing, and a name that stays is one of its own', () => {
  const create = '$JS.API.CONSUMER.CREATE.ANTIPHON_shop';
  expect(lastingSubject('publish', `${create}.clock_A`, '_INBOX')).toBe(`${create}.*`);
  expect(lastingSubject('publish', `${create}.replica_eu-1`, '_INBOX')).toBe(`${create}.replica_eu-1`);
  expect(lastingSubject('publish', 'antiphon.shop.replica.b.ping', '_INBOX')).toBe(
    'antiphon.shop.replica.*.ping',
  );
  expect(lastingSubject('subscribe', 'antiphon.shop.replica.a.ping', '_INBOX')).toBe(
    'antiphon.shop.replica.a.ping',
  );
});
