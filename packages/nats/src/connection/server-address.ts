import { AntiphonError } from '@antiphon/core';

/** A user name and password, or a token, that an address carries. */
export type AddressLogin = { readonly user: string; readonly password: string } | { readonly token: string };

export interface ServerAddresses {
  readonly urls: readonly URL[];
  /** For the client: host and port. */
  readonly hosts: readonly string[];
  /** For people: without user names and passwords. */
  readonly shown: string;
  readonly login: AddressLogin | undefined;
  /** One of them is a `tls://` address. */
  readonly tls: boolean;
}

const FORM = 'Write it as nats://host:port.';

/** @throws AntiphonError BAD_OPTION, which never repeats an address: it may hold a password. */
export function parseServers(servers: string | readonly string[]): ServerAddresses {
  const list = (typeof servers === 'string' ? servers.split(',') : servers).map((server) => server.trim());
  const named = list.filter((server) => server !== '');
  if (named.length === 0) {
    throw new AntiphonError(
      'BAD_OPTION',
      'No NATS server is named. Give `servers`, for example nats://127.0.0.1:4222.',
    );
  }
  const urls = named.map((server, index) =>
    parseServer(server, named.length === 1 ? 'the NATS server' : `NATS server ${index + 1}`),
  );
  const login = commonLogin(urls);
  // From here on nobody needs them there.
  for (const url of urls) url.username = url.password = '';
  return {
    urls,
    hosts: urls.map(({ host }) => host),
    shown: urls.map(({ protocol, host }) => `${protocol}//${host}`).join(', '),
    login,
    tls: urls.some(({ protocol }) => protocol === 'tls:'),
  };
}

/**
 * Addresses for people, without what they hold in secrets. Never throws: what is no address is not
 * shown at all.
 */
export function showServers(servers: string | readonly string[]): string {
  try {
    return parseServers(servers).shown;
  } catch {
    return '(not a valid address)';
  }
}

/**
 * Does an address carry a user name, password or token? Never throws: what is no address carries
 * none.
 */
export function addressesLogIn(servers: string | readonly string[]): boolean {
  try {
    return parseServers(servers).login !== undefined;
  } catch {
    return false;
  }
}

/** `which` of them it is. */
function parseServer(server: string, which: string): URL {
  const url = toUrl(server.includes('://') ? server : `nats://${server}`);
  if (url === undefined || url.host === '' || (url.protocol !== 'nats:' && url.protocol !== 'tls:')) {
    throw bad(`The address of ${which} is not valid. ${FORM}`);
  }
  // What follows a `/`, `?`, or `#` is no part of an address: a token that nobody reads, or the
  // rest of a password.
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '') {
    throw bad(
      `The address of ${which} has something after its port. ${FORM} Encode "/", "?", "#", "@" and "," in a user name ` +
        'or password (%2F, %3F, %23, %40, %2C), or give them as `user` and `password`.',
    );
  }
  return url;
}

function toUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    // Its error repeats the text.
    return undefined;
  }
}

/** The client logs in to every server in the same way. */
function commonLogin(urls: readonly URL[]): AddressLogin | undefined {
  const logins = urls.filter(({ username, password }) => username !== '' || password !== '').map(loginOf);
  const [first] = logins;
  if (logins.some((login) => JSON.stringify(login) !== JSON.stringify(first))) {
    throw bad(
      'The addresses of the NATS servers hold different user names, passwords or tokens. ' +
        'Give the same ones for all: a client logs in to every server in the same way.',
    );
  }
  return first;
}

function loginOf({ username, password }: URL): AddressLogin {
  const user = decode(username);
  return password === '' ? { token: user } : { user, password: decode(password) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw bad('A user name or password in an address has a "%" that begins no code. Write it as %25.');
  }
}

function bad(message: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', message);
}
