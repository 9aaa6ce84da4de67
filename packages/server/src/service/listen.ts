import { isIP } from 'node:net';
import { AntiphonError, shownOption } from '@antiphon/core';

/** Where a server listens. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/;
const MAX_PORT = 65_535;

/** `127.0.0.1:7070`, `localhost:7070`, `[::1]:7070`. Throws BAD_OPTION. */
export function parseListen(text: unknown): Endpoint {
  const match = typeof text === 'string' ? ADDRESS.exec(text) : null;
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  const isWrong = match?.[1] !== undefined && isIP(match[1]) !== 6;
  if (host !== undefined && !isWrong && port <= MAX_PORT) return { host, port };
  const message = `\`listen\` is ${shownOption(text)}. Give an address and a port, like "127.0.0.1:7070" or "[::1]:7070".`;
  throw new AntiphonError('BAD_OPTION', message);
}

/** Nobody outside of this machine reaches it. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'));
}

/** Of a `Host` header, which may have a port. */
export function hostOf(header: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(header);
  return match?.[1] ?? match?.[2] ?? '';
}
