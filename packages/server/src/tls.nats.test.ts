import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get as getOver, type RequestOptions } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCertificates, type Certificates } from '../../nats/src/testing/certificates.js';
import { createServer, type HttpServer, type ServerTls } from './index.js';
import { get, Served } from './testing/served.js';

let served: Served;
let dir: string;
/** Of two authorities. */
let own: Certificates;
let other: Certificates;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-https-'));
  const make = (name: string): Certificates => {
    mkdirSync(join(dir, name));
    return createCertificates(join(dir, name));
  };
  own = make('own');
  other = make('other');
  served = await Served.start();
});
afterAll(async () => {
  await served[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

const listen = (tls: ServerTls): Promise<HttpServer> =>
  createServer(served.replica(), { listen: '127.0.0.1:0', tls });

/** The status of /livez, or the code of the error. */
function ask(server: HttpServer, { ca, clientCert, clientKey }: Partial<Certificates>): Promise<string> {
  const options: RequestOptions = {
    ...{ agent: false, ca: ca && readFileSync(ca) },
    ...(clientCert && clientKey && { cert: readFileSync(clientCert), key: readFileSync(clientKey) }),
  };
  return new Promise((resolve) => {
    const request = getOver(`${server.url}/livez`, options, (response) => {
      resolve(String(response.statusCode));
      response.resume();
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

it('speaks TLS and nothing else, to whoever trusts its authority', async () => {
  await using server = await listen({ cert: own.serverCert, key: own.serverKey });
  expect(server.url).toMatch(/^https:/);
  expect(await ask(server, { ca: own.ca })).toBe('200');
  expect(await ask(server, { ca: other.ca })).toMatch(/UNABLE_TO_VERIFY|SELF_SIGNED/);
  const plain = connect(server.address);
  let answer = '';
  plain.on('error', () => undefined).on('data', (data) => void (answer += data.toString('latin1')));
  plain.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await once(plain, 'close');
  expect(answer).not.toContain('HTTP');
  expect(await ask(server, { ca: own.ca })).toBe('200');
});

it('asks clients for certificates of their authority, where it is named', async () => {
  await using server = await listen({ cert: own.serverCert, key: own.serverKey, ca: own.ca });
  expect(await ask(server, own)).toBe('200');
  expect(await ask(server, { ca: own.ca })).not.toMatch(/^200/);
  const { clientCert, clientKey } = other;
  expect(await ask(server, { ca: own.ca, clientCert, clientKey })).not.toMatch(/^200/);
});

it('takes renewed files without a restart, and keeps open connections', async () => {
  const tls = { cert: join(dir, 'server.pem'), key: join(dir, 'server.key') };
  const put = ({ serverCert, serverKey }: Certificates): void => {
    copyFileSync(serverCert, tls.cert);
    copyFileSync(serverKey, tls.key);
  };
  put(own);
  await using server = await listen(tls);
  expect(await ask(server, { ca: own.ca })).toBe('200');
  put(other);
  await eventually('it shows the other one', async () => (await ask(server, { ca: other.ca })) === '200');
  expect(await ask(server, { ca: own.ca })).not.toMatch(/^200/);
});

it('a connection that begins no handshake ends', async () => {
  const limits = { headersTimeoutMs: 200 };
  const tls = { cert: own.serverCert, key: own.serverKey };
  await using server = await createServer(served.replica(), { listen: '127.0.0.1:0', tls, limits });
  const silent = connect(server.address)
    .on('error', () => undefined)
    .resume();
  await once(silent, 'close');
  expect(await ask(server, { ca: own.ca })).toBe('200');
});

it('warns once where tokens and data cross a network as plain text', async () => {
  const said: string[] = [];
  const say = (_: object, message: string): void => void said.push(message);
  const logger = { debug: () => undefined, info: say, warn: say, error: say };
  const tokens = [{ name: 'shop', role: 'read', sha256: 'ab'.repeat(32) }] as const;
  const options = { listen: '0.0.0.0:0', tokens, logger };
  await using plain = await createServer(served.replica(), options);
  expect(said).toEqual([expect.stringMatching(/without TLS: .*`http\.tls`/)]);
  expect((await get(plain, '/livez')).status).toBe(200);
  const tls = { cert: own.serverCert, key: own.serverKey };
  await using _ = await createServer(served.replica(), { ...options, tls });
  expect(said).toHaveLength(1);
});

it('an address in use ends with an error, with TLS as well', async () => {
  await using server = await listen({ cert: own.serverCert, key: own.serverKey });
  const again = {
    listen: `127.0.0.1:${server.address.port}`,
    tls: { cert: own.serverCert, key: own.serverKey },
  };
  await expect(createServer(served.replica(), again)).rejects.toThrow(/EADDRINUSE/);
});
