import { expect, it } from 'vitest';
import { createLogger } from './logger.js';
import type { Terminal } from './terminal.js';

it.each([true, false])('takes secrets out of what it writes (json: %s)', (json) => {
  let written = '';
  const terminal = { json, color: false, out: (text: string) => void (written += text) } as Terminal;
  const err = new Error('dial nats://me:hunter2@host failed', {
    cause: new TypeError('Invalid URL nats://me:hunter2@host'),
  });
  createLogger(terminal, { replica: 'eu-1' }).warn(
    { err, servers: ['nats://me:hunter2@host', 'nats://hunter2@host'] },
    'no answer from nats://me:hunter2@host',
  );
  expect(written).toContain('nats://***@host');
  expect(written).not.toContain('hunter2');
});
