import type { ServerResponse } from 'node:http';
import { isOver, whenOver } from './when-over.js';

/**
 * Resolves when the client has taken what came before, or has gone. One that takes nothing for so
 * long loses its connection; one that takes little keeps it.
 */
export async function writeTaken(response: ServerResponse, text: string, nothingMs: number): Promise<void> {
  if (response.write(text) || isOver(response)) return;
  await new Promise<void>((resolve) => {
    const destroy = (): void => void response.destroy();
    const end = (): void => {
      response.setTimeout(0);
      stopFollowing();
      response.off('timeout', destroy).off('drain', end);
      resolve();
    };
    // Of the socket, which sees the bytes go: of a large text, `drain` only tells that all have.
    response.setTimeout(nothingMs);
    response.once('timeout', destroy).once('drain', end);
    const stopFollowing = whenOver(response, end);
  });
}
