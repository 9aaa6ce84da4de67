import type { AntiphonError } from '@antiphon/core';

/** What the shell sees. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** 128 + SIGINT, as a shell reports it. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * A mistake in the command line or in a configuration file is 2; everything else that went wrong is
 * 1.
 */
export function exitCodeOf(error: AntiphonError): ExitCode {
  return error.code === 'BAD_OPTION' ? EXIT.usage : EXIT.failed;
}
