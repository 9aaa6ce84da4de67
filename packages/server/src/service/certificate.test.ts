import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ServerCertificate } from './certificate.js';

let dir: string;
const at = (name: string): string => join(dir, name);

/** A certificate that signs itself, as NAME.pem and NAME.key. Needs the openssl command. */
function make(name: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const files = ['-keyout', at(`${name}.key`), '-out', at(`${name}.pem`), '-subj', `/CN=${name}`];
  execFileSync('openssl', ['req', '-x509', ...key, ...files], { stdio: 'pipe' });
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-certificate-'));
  for (const name of ['a', 'b']) make(name);
  writeFileSync(at('text'), 'hunter2');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('is taken from files, or as it is', () => {
  const files = { cert: at('a.pem'), key: at('a.key') };
  const texts = { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
  expect(new ServerCertificate(files).options).toEqual({
    ...texts,
    ...{ requestCert: false, rejectUnauthorized: false },
  });
  expect(new ServerCertificate(texts).options).toMatchObject(texts);
  const withClients = new ServerCertificate({ ...files, ca: at('b.pem') }).options;
  expect(withClients).toMatchObject({ requestCert: true, rejectUnauthorized: true });
});

it.each<[object, RegExp]>([
  [{}, /lacks `cert`, `key`/],
  [{ cert: 'a.pem' }, /lacks `key`/],
  [{ cert: 'a.pem', key: 5 }, /`key` of `tls` of createServer\(\) is 5/],
  [{ cert: 'a.pem', kye: 'a.key' }, /no option "kye"/],
  [{ cert: 'none', key: 'a.key' }, /file of `tls.cert` cannot be read \(ENOENT\)/],
  [{ cert: 'a.pem', key: 'text' }, /file of `tls.key` is not in PEM format/],
  [{ cert: 'a.pem', key: 'b.key' }, /cannot be used .*fit together/],
  [{ cert: 'a.key', key: 'a.pem' }, /cannot be used/],
])('%j is refused', (given, message) => {
  const paths = Object.entries(given).map(([name, file]: [string, unknown]) => [
    name,
    typeof file === 'string' ? at(file) : file,
  ]);
  const make = (): unknown => new ServerCertificate(Object.fromEntries(paths) as never);
  expect(make).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  expect(make).toThrow(message);
  expect(make).not.toThrow(/hunter2|BEGIN/);
});

it('is renewed with its files, once they fit together', async () => {
  const files = { cert: at('own.pem'), key: at('own.key') };
  const put = (ending: string, from: string): void =>
    writeFileSync(at(`own.${ending}`), readFileSync(at(`${from}.${ending}`)));
  put('pem', 'a');
  put('key', 'a');
  const certificate = new ServerCertificate(files);
  const shown: string[] = [];
  const said: string[] = [];
  const say = (_: object, message: string): void => void said.push(message);
  const logger = { debug: say, info: say, warn: say, error: say };
  const server = { setSecureContext: ({ cert }: { cert?: unknown }) => void shown.push(String(cert)) };
  certificate.watch(server, logger, 20);
  put('pem', 'b');
  await eventually('it says what is wrong', () => said.length > 0);
  expect(said[0]).toMatch(/keeps the certificate that it has\. .*cannot be used/);
  expect(shown).toEqual([]);
  put('key', 'b');
  await eventually('it is taken', () => shown.length > 0);
  certificate.close();
  expect(shown).toEqual([readFileSync(at('b.pem'), 'utf8')]);
  expect(said).toHaveLength(2);
  expect(certificate.options.cert).toBe(shown[0]);
});
