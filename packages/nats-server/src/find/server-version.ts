import { parseServerVersion } from '@antiphon/core';
import { runCommand } from '../command.js';

/**
 * The release that is downloaded when nothing else is found. Streams with three replicas need at
 * least 2.10.27.
 */
export const PINNED_SERVER_VERSION = '2.10.29';

const VERSION_TIMEOUT_MS = 10_000;

/** Asks a binary for its version; undefined when it can't be run or is no nats-server. */
export async function readServerVersion(binary: string, signal?: AbortSignal): Promise<string | undefined> {
  const options = { timeoutMs: VERSION_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
  const { code, output } = await runCommand(binary, ['--version'], options);
  return code === 0 && output.includes('nats-server') ? parseServerVersion(output) : undefined;
}
