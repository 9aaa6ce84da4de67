import { connect } from 'node:net';

/** What Antiphon reads of the INFO line with which every NATS server greets a connection. */
export interface ServerInfo {
  readonly serverName: string;
  readonly version: string;
  readonly jetstream: boolean;
}

/** Far above any real INFO line; whoever sends more is no NATS server. */
const MAX_INFO_BYTES = 64 * 1024;

/**
 * Connects, reads the greeting and hangs up. Undefined: nothing listens there, or it is no NATS
 * server.
 */
export function probeServer(host: string, port: number, timeoutMs: number): Promise<ServerInfo | undefined> {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect({ host, port });
    const finish = (info: ServerInfo | undefined): void => {
      socket.destroy();
      resolve(info);
    };
    socket.setEncoding('utf8');
    socket.setTimeout(timeoutMs, () => finish(undefined));
    socket.on('error', () => finish(undefined));
    socket.on('close', () => finish(undefined));
    socket.on('data', (chunk: string) => {
      received += chunk;
      const end = received.indexOf('\r\n');
      if (end >= 0) finish(parseInfo(received.slice(0, end)));
      else if (received.length > MAX_INFO_BYTES) finish(undefined);
    });
  });
}

function parseInfo(line: string): ServerInfo | undefined {
  if (!line.startsWith('INFO ')) return undefined;
  try {
    const info = JSON.parse(line.slice('INFO '.length)) as Record<string, unknown>;
    const { server_name: serverName, version, jetstream } = info;
    if (typeof serverName !== 'string' || typeof version !== 'string') return undefined;
    return { serverName, version, jetstream: jetstream === true };
  } catch {
    return undefined;
  }
}
