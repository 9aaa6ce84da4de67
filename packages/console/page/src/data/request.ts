import { token } from './session.js';

/** What the server has refused, or that it could not be reached. */
export class RequestError extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** 0: there was no answer. */
    readonly status: number,
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Throws RequestError; what `signal` aborts with. */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await answerOf(path, { ...(signal && { signal }) })).json() as Promise<T>;
}

/** Throws RequestError. */
export async function postJson<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
  const headers = { 'content-type': 'application/json' };
  const init = { method: 'POST', headers, body: JSON.stringify(body), ...(signal && { signal }) };
  return (await answerOf(path, init)).json() as Promise<T>;
}

export async function answerOf(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (token.value !== undefined) headers.set('authorization', `Bearer ${token.value}`);
  const response = await fetch(path, { ...init, headers, cache: 'no-store', credentials: 'omit' }).catch(
    (error: unknown) => {
      if (init.signal?.aborted === true) throw error;
      throw new RequestError('UNREACHABLE', 'The server does not answer.', 0);
    },
  );
  if (response.ok) return response;
  throw await refusal(response);
}

async function refusal(response: Response): Promise<RequestError> {
  const { status } = response;
  try {
    const { error } = (await response.json()) as { readonly error: { code: string; message: string } };
    return new RequestError(error.code, error.message, status);
  } catch {
    return new RequestError('UNREADABLE', `The server answered with status ${status}.`, status);
  }
}
