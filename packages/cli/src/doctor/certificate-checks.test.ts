import { expect, it } from 'vitest';
import { CertificateAuthority, endOf } from '../secure/certificate.js';
import { certificateChecks } from './certificate-checks.js';

const { cert } = CertificateAuthority.create('test').client('eu-1');
const endMs = endOf(cert).getTime();
const day = endOf(cert).toISOString().slice(0, 10);
const DAY_MS = 86_400_000;

it.each([
  [100, 'ok', `nats.tls.cert lasts until ${day}`],
  [31, 'ok', `nats.tls.cert lasts until ${day}`],
  [10, 'warn', `The certificate of \`nats.tls.cert\` ends on ${day}, in 10 days.`],
  [-1, 'fail', `The certificate of \`nats.tls.cert\` has ended on ${day}.`],
])('%i days before its end a certificate is %s', (days, grade, message) => {
  const [check] = certificateChecks({ 'nats.tls.cert': cert }, endMs - days * DAY_MS);
  expect(check).toMatchObject({ grade, message });
});

it('says nothing of what is not there, or cannot be read', () => {
  expect(certificateChecks({ 'nats.tls.cert': undefined, 'nats.tls.ca': '/no/such/file' }, 0)).toEqual([]);
});
