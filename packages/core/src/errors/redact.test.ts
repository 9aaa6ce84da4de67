import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { AntiphonError, toAntiphonError } from './antiphon-error.js';
import { redact } from './redact.js';

const SEED = `SUA${'MWZ2'.repeat(13)}ABC`;

describe('redact', () => {
  it.each([
    ['nats://me:hunter2@host:4222', 'nats://***@host:4222'],
    ['nats://hunter2@host', 'nats://***@host'],
    ['at nats://me:hunter2@a:1, tls://you:hunter2@b:2.', 'at nats://***@a:1, tls://***@b:2.'],
    ['nats://a:1,nats://me:hunter2@b:2', 'nats://a:1,nats://***@b:2'],
    ['nats://me:hun/ter2?#hunter2@host', 'nats://***@host'],
    ['"me:hunter2@host:4222" is not valid', '"***@host:4222" is not valid'],
    ['http://me:hunter2@host:8222/varz?token=hunter2&x=1', 'http://***@host:8222/varz?token=***&x=1'],
    ['wss://host?access_token=hunter2', 'wss://host?access_token=***'],
    [`the seed ${SEED} is`, 'the seed *** is'],
    ['jwt eyJhbGciOi.eyJqdGki.c2ln', 'jwt ***'],
    ['{"servers":["nats://me:hunter2@host"]}', '{"servers":["nats://***@host"]}'],
  ])('takes the secrets out of %j', (text, expected) => {
    expect(redact(text)).toBe(expected);
  });

  it.each([
    'nats://127.0.0.1:4222, nats://[::1]:4222',
    'at run (file:///srv/node_modules/@antiphon/nats/dist/index.js:10:5)',
    'transaction eu-1:7 by ops@example.com',
    'amount = amount - 1 WHERE sku = ?',
    'https://docs.nats.io/search?q=x&page=2',
  ])('leaves %j as it is', (text) => {
    expect(redact(text)).toBe(text);
  });
});

describe('AntiphonError', () => {
  it('never shows a secret: not in its message, context, cause or stack', () => {
    const inner = Object.assign(new TypeError('Invalid URL nats://me:hunter2@host'), {
      input: 'nats://me:hunter2@host',
    });
    const error = new AntiphonError('INTERNAL', 'no answer from nats://me:hunter2@host', {
      cause: new Error('dial nats://me:hunter2@host failed', { cause: inner }),
      context: { servers: ['nats://me:hunter2@host'], nested: { url: 'nats://me:hunter2@host' } },
    });
    expect(inspect(error, { depth: null, showHidden: true })).not.toContain('hunter2');
    expect(JSON.stringify(error.context)).not.toContain('hunter2');
    const wrapped = toAntiphonError(inner);
    expect(inspect(wrapped, { depth: null, showHidden: true })).not.toContain('hunter2');
  });

  it('keeps a cause that holds no secret', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:4222'), { port: 4222 });
    expect(new AntiphonError('LOG_UNAVAILABLE', 'no', { cause }).cause).toBe(cause);
  });
});
