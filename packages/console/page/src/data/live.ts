import { nothingSeen, observe, type Observed } from '../model/observe.js';
import type { Picture } from './cluster.js';
import { answerOf, messageOf, RequestError } from './request.js';
import { token } from './session.js';
import { EventReader } from './sse.js';
import { Store } from './store.js';

export type Connection =
  | { readonly state: 'connecting' }
  | { readonly state: 'live' }
  /** What is shown is of then. */
  | { readonly state: 'lost'; readonly sinceMs: number; readonly why: string }
  /** The server wants a token, or another one. */
  | { readonly state: 'locked'; readonly why: string };

/** A picture comes every second. */
const SILENCE_MS = 6000;
const RETRY_MS = 1000;

export const connection = new Store<Connection>({ state: 'connecting' });
export const observed = new Store<Observed>(nothingSeen);

/** Follows the cluster for as long as the page is open. */
export async function follow(): Promise<never> {
  for (;;) {
    try {
      await followOnce();
      lost('The server has ended the stream.');
    } catch (error) {
      if (error instanceof RequestError && error.status === 401) {
        await unlocked(error.message);
        continue;
      }
      lost(messageOf(error));
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function followOnce(): Promise<void> {
  const given = new AbortController();
  let timer = setTimeout(() => given.abort(), SILENCE_MS);
  const stop = token.on(() => given.abort());
  try {
    const response = await answerOf('/v1/cluster/stream', { signal: given.signal });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const events = new EventReader();
    for (;;) {
      const piece = await reader?.read();
      if (piece === undefined || piece.done) return;
      clearTimeout(timer);
      timer = setTimeout(() => given.abort(), SILENCE_MS);
      for (const data of events.read(piece.value)) take(JSON.parse(data) as Picture);
    }
  } catch (error) {
    if (given.signal.aborted) throw new Error('Nothing has come from the server for some seconds.');
    throw error instanceof RequestError ? error : new Error('The connection to the server has ended.');
  } finally {
    clearTimeout(timer);
    stop();
    given.abort();
  }
}

function take(picture: Picture): void {
  observed.set(observe(observed.value, picture));
  if (connection.value.state !== 'live') connection.set({ state: 'live' });
}

function lost(why: string): void {
  const { value } = connection;
  const sinceMs = value.state === 'lost' ? value.sinceMs : Date.now();
  connection.set({ state: 'lost', sinceMs, why });
}

/** Until the user gives another token. */
async function unlocked(why: string): Promise<void> {
  connection.set({ state: 'locked', why });
  await new Promise<void>((resolve) => {
    const stop = token.on(() => {
      stop();
      resolve();
    });
  });
  connection.set({ state: 'connecting' });
}
