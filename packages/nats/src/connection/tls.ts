import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { checkServerIdentity, createSecureContext, type PeerCertificate } from 'node:tls';
import { AntiphonError, checkOptions, type OptionNames } from '@antiphon/core';
import type { TlsOptions } from 'nats';
import { readText } from './login.js';
import type { ServerAddresses } from './server-address.js';

/**
 * An encrypted connection. Each of `ca`, `cert` and `key` is the path of a PEM file, or its
 * content.
 */
export interface NatsTls {
  /**
   * Who signed the server's certificate.
   * @defaultValue the authorities that Node.js trusts
   */
  readonly ca?: string;
  /** This client's certificate, for servers that ask for one; with `key`. */
  readonly cert?: string;
  /** The key of `cert`. */
  readonly key?: string;
  /** The server expects TLS before it says anything (`handshake_first`). */
  readonly handshakeFirst?: boolean;
}

const TLS_OPTIONS: OptionNames<NatsTls> = { ca: true, cert: true, key: true, handshakeFirst: true };
const PEM = '-----BEGIN ';

/**
 * Undefined when nothing asks for TLS; a server that insists on it gets it nevertheless. Files are
 * read again at every connection.
 *
 * @throws AntiphonError BAD_OPTION
 */
export function tlsOptionsFor(
  given: NatsTls | undefined,
  { urls, tls }: Pick<ServerAddresses, 'urls' | 'tls'>,
): TlsOptions | undefined {
  checkOptions(given, TLS_OPTIONS, 'tls');
  if (given === undefined && !tls) return undefined;
  const { ca, cert, key, handshakeFirst } = given ?? {};
  if ((cert === undefined) !== (key === undefined)) {
    throw bad('`tls.cert` and `tls.key` belong together. Give both, or neither.');
  }
  const content = { ca: pem('ca', ca), cert: pem('cert', cert), key: pem('key', key) };
  try {
    createSecureContext(content);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw bad(
      `The certificates and keys of \`tls\` cannot be used (${reason}). Give PEM files that fit together.`,
    );
  }
  const options: TlsOptions & { checkServerIdentity?: IdentityCheck } = {
    ...source('ca', ca),
    ...source('cert', cert),
    ...source('key', key),
    checkServerIdentity: identityCheck(urls),
  };
  if (handshakeFirst === true) options.handshakeFirst = true;
  return options;
}

type IdentityCheck = (hostname: string, certificate: PeerCertificate) => Error | undefined;

/**
 * What Node.js checks instead when it is told no name, as the client does for a server that is an
 * IP address.
 */
const NO_NAME = 'localhost';

function identityCheck(urls: readonly URL[]): IdentityCheck {
  const hosts = urls.map(({ hostname }) => hostname.replace(/^\[(.*)\]$/, '$1'));
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  return (hostname, certificate) => {
    const [first] = addresses;
    if (hostname !== NO_NAME || hosts.includes(NO_NAME) || first === undefined)
      return checkServerIdentity(hostname, certificate);
    const fits = addresses.some((address) => checkServerIdentity(address, certificate) === undefined);
    return fits ? undefined : checkServerIdentity(first, certificate);
  };
}

function source(name: 'ca' | 'cert' | 'key', value: string | undefined): TlsOptions {
  if (value === undefined) return {};
  return value.includes(PEM) ? { [name]: value } : { [`${name}File`]: resolve(value) };
}

function pem(name: 'ca' | 'cert' | 'key', value: string | undefined): string | undefined {
  if (value === undefined || value.includes(PEM)) return value;
  const text = readText(`tls.${name}`, value);
  if (text.includes(PEM)) return text;
  throw bad(`The file of \`tls.${name}\` is not in PEM format: ${value}.`);
}

function bad(message: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', message);
}
