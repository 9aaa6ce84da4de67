import { useCallback, useEffect, useState } from 'preact/hooks';
import { getJson, messageOf } from '../data/request.js';
import { token } from '../data/session.js';

export type Answer<T> =
  | { readonly state: 'loading'; readonly value?: T }
  | { readonly state: 'here'; readonly value: T }
  | { readonly state: 'failed'; readonly message: string; readonly value?: T };

/** What the server answers at a path, asked again whenever `version` is another one. */
export function useAnswer<T>(path: string | undefined, version: unknown = 0) {
  const [answer, setAnswer] = useState<Answer<T>>({ state: 'loading' });
  const [asked, setAsked] = useState(0);
  useEffect(() => setAnswer({ state: 'loading' }), [path]);
  useEffect(() => {
    if (path === undefined) return undefined;
    const given = new AbortController();
    getJson<T>(path, given.signal).then(
      (value) => setAnswer({ state: 'here', value }),
      (error: unknown) => {
        if (given.signal.aborted) return;
        const message = messageOf(error);
        setAnswer(({ value }) => ({ state: 'failed', message, ...(value !== undefined && { value }) }));
      },
    );
    return () => given.abort();
  }, [path, asked, version, token.value]);
  const again = useCallback(() => setAsked((count) => count + 1), []);
  return { answer, again };
}
