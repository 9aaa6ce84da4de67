import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

type Listener = () => void;

/** One listener for all responses of a connection, of which a client may have asked for many. */
const waiting = new WeakMap<Socket, Set<Listener>>();

/**
 * Calls `listener` once, when the answer has gone out whole or its connection has ended; at once
 * where that has happened. What it returns stops that. In Node.js 22, a response that waits behind
 * another one of its connection does not tell of the connection's end.
 */
export function whenOver(response: ServerResponse, listener: Listener): () => void {
  const { socket } = response.req;
  if (isOver(response)) {
    listener();
    return () => undefined;
  }
  const listeners = waiting.get(socket) ?? follow(socket);
  const stop = (): boolean => {
    response.off('close', over);
    return listeners.delete(over);
  };
  const over = (): void => {
    if (stop()) listener();
  };
  listeners.add(over);
  response.once('close', over);
  return stop;
}

/** Nothing that is written any more reaches anybody. */
export function isOver(response: ServerResponse): boolean {
  return response.closed || response.destroyed || response.req.socket.destroyed;
}

function follow(socket: Socket): Set<Listener> {
  const listeners = new Set<Listener>();
  waiting.set(socket, listeners);
  socket.once('close', () => {
    for (const listener of [...listeners]) listener();
  });
  return listeners;
}
