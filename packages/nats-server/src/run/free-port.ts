import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below every system's range of ports for outgoing connections (Linux 32768 and up). A port inside
 * that range can be taken by any outgoing connection while the server is down, even by a client
 * that tries to reconnect to that very port (it then connects to itself), and the server could not
 * restart on it.
 */
const LOWEST_PORT = 20_000;
const HIGHEST_PORT = 29_999;
const ATTEMPTS = 50;

/**
 * A port on which nothing listens at this moment; undefined when none was found or the host can't
 * be bound at all.
 */
export async function findFreePort(host: string): Promise<number | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = randomInt(LOWEST_PORT, HIGHEST_PORT + 1);
    if (await canListen(host, port)) return port;
  }
  return undefined;
}

function canListen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
