import { expect, it } from 'vitest';
import { reasonsOf } from './quarantine-text.js';

it('shows each reason once, whatever entries it is about, and whoever wrote it down', () => {
  const messages = [
    { message: 'Entry 3 of the log was quarantined: eve is not a member of the cluster.' },
    { message: 'Entry 4 of the log was quarantined: eve is not a member of the cluster.' },
    { message: 'entry 5 of the log was put aside: eve is not a member of the cluster.' },
    { message: 'The log message is not valid.' },
  ];
  expect(reasonsOf(messages)).toEqual([
    'eve is not a member of the cluster.',
    'The log message is not valid.',
  ]);
});
