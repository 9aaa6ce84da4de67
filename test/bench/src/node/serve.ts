import type { Answer, Call } from './protocol.js';

type Methods = Readonly<Record<string, (request: never) => Promise<unknown>>>;

/** Answers calls on the IPC channel; the process ends with its parent. */
export function serve(methods: Methods): void {
  process.on('message', (message) => void answer(methods, message as Call));
  process.on('disconnect', () => process.exit(1));
  // A Ctrl-C in the terminal is the parent's to handle.
  process.on('SIGINT', () => undefined);
}

async function answer(methods: Methods, { call, method, request }: Call): Promise<void> {
  const send = (message: Answer): void => void process.send?.(message);
  try {
    const handler = methods[method];
    if (handler === undefined) throw new Error(`no method ${method}`);
    send({ call, value: await handler(request as never) });
  } catch (error) {
    send({ call, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}
