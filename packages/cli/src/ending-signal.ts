import { EXIT } from './output/exit-code.js';

const NAMES = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Aborted by the first SIGINT, SIGTERM or SIGHUP, so that commands end in order; the second one
 * ends the process without waiting (children and the server end with it).
 */
export function endingSignal(): AbortSignal {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    controller.abort(new Error(`ended by ${name}`));
  };
  for (const name of NAMES) process.on(name, onSignal);
  return controller.signal;
}
