import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { isIP } from 'node:net';
import { AntiphonError } from '@antiphon/core';
import { der } from './der.js';

/** A certificate and the key that belongs to it, each in PEM. */
export interface Certified {
  readonly cert: string;
  readonly key: string;
}

/** What one certificate says (RFC 5280). */
interface Profile {
  /** The common name. */
  readonly name: string;
  readonly days: number;
  readonly extensions: readonly Buffer[];
}

interface Issuer {
  readonly name: string;
  readonly key: KeyObject;
}

const CA_DAYS = 3650;
/** Of all others: they are renewed by `antiphon init --secure --renew`. */
const DAYS = 825;
const DAY_MS = 86_400_000;
/** Clocks of other machines may be behind. */
const EARLIER_MS = 3_600_000;
const SERIAL_BYTES = 16;
const KEY_ID_BYTES = 20;
const PEM_COLUMNS = 64;

const ECDSA_WITH_SHA256 = der.sequence(der.id('1.2.840.10045.4.3.2'));
const COMMON_NAME = '2.5.4.3';
const EXTENSION = {
  keyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  names: '2.5.29.17',
  constraints: '2.5.29.19',
  issuerKeyId: '2.5.29.35',
  purposes: '2.5.29.37',
} as const;
const PURPOSE = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;
/** Bits from the left: 0 digitalSignature, 5 keyCertSign, 6 cRLSign. */
const SIGNS_MESSAGES = der.bits(Buffer.from([0b1000_0000]), 7);
const SIGNS_CERTIFICATES = der.bits(Buffer.from([0b0000_0110]), 1);
const DNS_NAME = /^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i;

/**
 * Issues the certificates of one cluster: for a server, and for clients that show one. Keys are
 * P-256, signatures ECDSA with SHA-256: Node.js makes them, and here is only how a certificate is
 * written (docs/decisions/0098).
 */
export class CertificateAuthority {
  readonly #issuer: Issuer;

  private constructor(
    /** In PEM. The key can issue certificates for anybody: it stays where it was made. */
    readonly pem: Certified,
  ) {
    this.#issuer = { name: commonNameOf(pem.cert), key: createPrivateKey(pem.key) };
  }

  static create(name: string): CertificateAuthority {
    const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const extensions = [
      // No authority below this one.
      extension(EXTENSION.constraints, der.sequence(der.yes(), der.integer(Buffer.from([0]))), true),
      extension(EXTENSION.keyUsage, SIGNS_CERTIFICATES, true),
    ];
    const cert = issue({ name, days: CA_DAYS, extensions }, key, { name, key });
    return new CertificateAuthority({ cert, key: pemOfKey(key) });
  }

  /** Throws BAD_OPTION for one that was made otherwise. */
  static from(pem: Certified): CertificateAuthority {
    return new CertificateAuthority(pem);
  }

  /** For a server that is reached under these host names and IP addresses. Throws BAD_OPTION. */
  server(name: string, hosts: readonly string[]): Certified {
    const names = extension(EXTENSION.names, der.sequence(...hosts.map(hostName)));
    return this.#leaf(name, [purpose(PURPOSE.server), names]);
  }

  client(name: string): Certified {
    return this.#leaf(name, [purpose(PURPOSE.client)]);
  }

  #leaf(name: string, extensions: readonly Buffer[]): Certified {
    const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const all = [
      extension(EXTENSION.constraints, der.sequence(), true),
      extension(EXTENSION.keyUsage, SIGNS_MESSAGES, true),
      ...extensions,
    ];
    return { cert: issue({ name, days: DAYS, extensions: all }, key, this.#issuer), key: pemOfKey(key) };
  }
}

/** When the certificate of a PEM text ends. */
export function endOf(cert: string): Date {
  return new Date(new X509Certificate(cert).validTo);
}

/** A certificate in PEM. */
function issue({ name, days, extensions }: Profile, key: KeyObject, issuer: Issuer): string {
  const nowMs = Date.now();
  const issuerKeyId = der.sequence(der.alternative(0, keyIdOf(issuer.key)));
  const content = der.sequence(
    // Version 3, the one with extensions.
    der.tagged(0, der.integer(Buffer.from([2]))),
    der.integer(randomBytes(SERIAL_BYTES)),
    ECDSA_WITH_SHA256,
    commonName(issuer.name),
    der.sequence(der.time(new Date(nowMs - EARLIER_MS)), der.time(new Date(nowMs + days * DAY_MS))),
    commonName(name),
    publicKeyOf(key),
    der.tagged(
      3,
      der.sequence(
        ...extensions,
        extension(EXTENSION.keyId, der.bytes(keyIdOf(key))),
        extension(EXTENSION.issuerKeyId, issuerKeyId),
      ),
    ),
  );
  const signature = sign('sha256', content, issuer.key);
  return pemOf('CERTIFICATE', der.sequence(content, ECDSA_WITH_SHA256, der.bits(signature)));
}

function commonName(name: string): Buffer {
  return der.sequence(der.set(der.sequence(der.id(COMMON_NAME), der.text(name))));
}

/** The name that an authority issues under has to be the same, byte for byte. */
function commonNameOf(cert: string): string {
  const name = /^CN=([^\n+]+)$/.exec(new X509Certificate(cert).subject)?.[1];
  if (name !== undefined) return name;
  const message =
    'The authority was not made by `antiphon init --secure`. Issue certificates where it was made.';
  throw new AntiphonError('BAD_OPTION', message);
}

function extension(id: string, content: Uint8Array, isCritical = false): Buffer {
  return der.sequence(der.id(id), ...(isCritical ? [der.yes()] : []), der.bytes(content));
}

function purpose(id: string): Buffer {
  return extension(EXTENSION.purposes, der.sequence(der.id(id)));
}

/** Throws BAD_OPTION. */
function hostName(host: string): Buffer {
  const version = isIP(host);
  if (version !== 0) return der.alternative(7, version === 4 ? ipv4(host) : ipv6(host));
  if (DNS_NAME.test(host)) return der.alternative(2, Buffer.from(host, 'ascii'));
  const message = `${JSON.stringify(host)} is neither a host name nor an IP address. Give one, without a port.`;
  throw new AntiphonError('BAD_OPTION', message);
}

function ipv4(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

/** Of a valid address: `::` stands for as many zeros as are missing. */
function ipv6(address: string): Buffer {
  const hexadecimal = address.replace(/\d+\.\d+\.\d+\.\d+$/, (end) => {
    return ipv4(end)
      .toString('hex')
      .replace(/^(.{4})/, '$1:');
  });
  const [head = [], tail = []] = hexadecimal
    .split('::')
    .map((half) => (half === '' ? [] : half.split(':').map((group) => Number.parseInt(group, 16))));
  const zeros = new Array<number>(8 - head.length - tail.length).fill(0);
  return Buffer.from([...head, ...zeros, ...tail].flatMap((group) => [group >> 8, group & 0xff]));
}

function publicKeyOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' });
}

/** RFC 7093: any hash of the key serves that tells keys apart. */
function keyIdOf(key: KeyObject): Buffer {
  return createHash('sha256').update(publicKeyOf(key)).digest().subarray(0, KEY_ID_BYTES);
}

function pemOfKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function pemOf(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(new RegExp(`.{1,${PEM_COLUMNS}}`, 'g')) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}
