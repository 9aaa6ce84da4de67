import { OpenStream, type StreamOptions } from '../read/stream.js';
import type { SessionPosition } from '../state/session.js';
import type { Params } from '../write/statement.js';
import { insideOf } from './inside.js';
import { placesOf } from './places-of.js';
import type { Replica } from './replica.js';

/** A stream of rows, and a session token: a read that comes after it shows no less. */
export interface PlacedStream {
  readonly stream: OpenStream;
  /** Absent where nobody can tell, as for a query. */
  readonly position?: SessionPosition;
}

/**
 * As `stream`, for what serves a replica to programs elsewhere: it is open when this resolves, and
 * whoever opened it closes it. Throws what `stream` throws; BAD_OPTION for what is not a replica of
 * this build.
 */
export async function placedStream(
  replica: Replica<unknown>,
  sql: string,
  params: Params,
  options: StreamOptions,
): Promise<PlacedStream> {
  const inside = insideOf(replica);
  const { scope } = inside;
  let position: SessionPosition | undefined;
  const stream = await OpenStream.open(scope, sql, params, options, async () => {
    position = await placesOf(inside).ifKnown();
  });
  return { stream, ...(position && { position }) };
}
