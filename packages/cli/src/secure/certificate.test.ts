import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import { CertificateAuthority, endOf, type Certified } from './certificate.js';

const HOSTS = ['localhost', 'nats.example.com', '*.example.org', '127.0.0.1', '::1', '2001:db8::a:0:1'];

const authority = CertificateAuthority.create('Antiphon shop');
const server = authority.server('server', [...HOSTS, '::ffff:10.1.2.3']);
const client = authority.client('eu-1');
const parse = ({ cert }: Certified): X509Certificate => new X509Certificate(cert);

it('an authority signs itself, and others, and nothing signs below those', () => {
  const ca = parse(authority.pem);
  expect(ca.ca).toBe(true);
  expect(ca.verify(ca.publicKey)).toBe(true);
  for (const one of [server, client]) {
    const leaf = parse(one);
    expect(leaf.ca).toBe(false);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.checkPrivateKey(createPrivateKey(one.key))).toBe(true);
  }
  const stranger = CertificateAuthority.create('Antiphon shop');
  expect(parse(stranger.client('eu-1')).verify(ca.publicKey)).toBe(false);
});

it('a certificate says what it is for', () => {
  expect(parse(server).keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  expect(parse(client).keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
  expect(parse(client).subject).toBe('CN=eu-1');
  expect(parse(client).issuer).toBe('CN=Antiphon shop');
  const days = (endOf(client.cert).getTime() - Date.now()) / 86_400_000;
  expect(Math.round(days)).toBe(825);
  expect(Date.parse(parse(client).validFrom)).toBeLessThan(Date.now());
});

it('a server is known under each of its names and addresses', () => {
  const leaf = parse(server);
  for (const host of ['localhost', 'nats.example.com', 'a.example.org'])
    expect(leaf.checkHost(host), host).toBeDefined();
  for (const address of ['127.0.0.1', '::1', '2001:db8::a:0:1', '::ffff:10.1.2.3'])
    expect(leaf.checkIP(address), address).toBeDefined();
  expect(leaf.checkHost('example.com')).toBeUndefined();
  expect(leaf.checkIP('127.0.0.2')).toBeUndefined();
});

it.each(['', 'a b', 'host:4222', 'https://host', '-a', 'ä.example', '1.2.3.4.5:'])(
  '%j is not the name of a server',
  (host) => {
    expect(() => authority.server('server', [host])).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  },
);

it('an authority that was kept issues as it did before', () => {
  const kept = CertificateAuthority.from(authority.pem);
  expect(parse(kept.client('eu-2')).verify(parse(authority.pem).publicKey)).toBe(true);
  expect(parse(kept.client('eu-2')).serialNumber).not.toBe(parse(kept.client('eu-2')).serialNumber);
});

it('a server and a client accept each other, by name and purpose', async () => {
  const ca = authority.pem.cert;
  const listening = createServer({ ...server, ca, requestCert: true, rejectUnauthorized: true });
  listening.on('tlsClientError', () => undefined);
  await once(listening.listen(0, '127.0.0.1'), 'listening');
  const { port } = listening.address() as AddressInfo;
  const open = async (own: Certified, servername = 'localhost'): Promise<string> => {
    const socket: TLSSocket = connect({ host: '127.0.0.1', port, ca, ...own, servername });
    return new Promise((resolve) => {
      const end = (text: string): void => {
        socket.destroy();
        resolve(text);
      };
      // In TLS 1.3 the client is done before the server has looked at its certificate.
      socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
      socket.on('close', () => end('closed')).on('data', (data: Buffer) => end(data.toString()));
    });
  };
  listening.on('secureConnection', (socket) => socket.end('welcome'));
  expect(await open(client)).toBe('welcome');
  expect(await open(client, 'other.example')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  expect(await open(server)).not.toBe('welcome');
  expect(await open(CertificateAuthority.create('other').client('eu-1'))).not.toBe('welcome');
  listening.close();
});
