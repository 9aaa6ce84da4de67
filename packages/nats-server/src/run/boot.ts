import { closeSync, fstatSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError } from '@antiphon/core';
import { throwIfGivenUp } from '../given-up.js';
import { tailOfLog } from './log-tail.js';
import { serverConfigText } from './server-config.js';
import { probeServer, type ServerInfo } from './server-probe.js';
import { ServerProcess } from './server-process.js';
import type { ServerSettings } from './server-settings.js';
import { isPortTaken, startFailure } from './start-failure.js';
import { claimStore, releaseStore, takeOverStore } from './store-claim.js';

export type BootResult =
  | { readonly kind: 'ready'; readonly server: ServerProcess }
  | { readonly kind: 'failed'; readonly portTaken: boolean; readonly error: AntiphonError };

const PROBE_TIMEOUT_MS = 1000;
/** It is ready after about 20 ms. */
const PROBE_INTERVAL_MS = 5;
const LOG_LINES_IN_ERROR = 12;

/**
 * Starts one server process and waits until it answers on its port. A failed start leaves no
 * process behind.
 *
 * @throws AntiphonError NATS_SERVER_START when the store can't be used; ABORTED.
 */
export async function bootServer(
  settings: ServerSettings,
  port: number,
  signal?: AbortSignal,
): Promise<BootResult> {
  const { storeDir, configFile, logFile } = settings;
  await takeOverStore(storeDir, settings.onStep);
  const logDescriptor = prepareStore(settings, port);
  const logOffset = fstatSync(logDescriptor).size;
  const server = ServerProcess.spawn(settings.binary, configFile, logDescriptor);
  closeSync(logDescriptor);
  if (server.pid !== undefined) claimStore(storeDir, server.pid, configFile);

  const info = await untilReady(server, settings, port, signal);
  if (info?.jetstream === true) return { kind: 'ready', server };

  const exit = server.exit;
  await server.stop(settings.stopTimeoutMs);
  if (server.pid !== undefined) releaseStore(storeDir, server.pid);
  throwIfGivenUp(signal, 'Starting nats-server');
  const log = tailOfLog(logFile, logOffset, LOG_LINES_IN_ERROR);
  const address = `${settings.host}:${port}`;
  const error = startFailure({ ...settings, address, log, exit, answered: info !== undefined });
  return { kind: 'failed', portTaken: exit !== undefined && isPortTaken(log), error };
}

/**
 * Creates the folders, writes the configuration and opens the log for what is said before the
 * server does that.
 */
function prepareStore(settings: ServerSettings, port: number): number {
  const { storeDir, logFile, configFile } = settings;
  try {
    mkdirSync(storeDir, { recursive: true });
    mkdirSync(dirname(logFile), { recursive: true });
    writeFileSync(configFile, serverConfigText({ ...settings, port }, settings.version));
    return openSync(logFile, 'a');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `${storeDir} can't be written (${reason}). Make it writable for this user, or choose another folder.`;
    throw new AntiphonError('NATS_SERVER_START', message, { cause, context: { storeDir, logFile } });
  }
}

/** The server's greeting; undefined when it ended, took too long, or the caller gave up. */
async function untilReady(
  server: ServerProcess,
  settings: ServerSettings,
  port: number,
  signal: AbortSignal | undefined,
): Promise<ServerInfo | undefined> {
  const host = reachableHost(settings.host);
  const ended = server.exited.then(() => undefined);
  const deadline = performance.now() + settings.startTimeoutMs;
  while (server.exit === undefined && signal?.aborted !== true && performance.now() < deadline) {
    const info = await Promise.race([probeServer(host, port, PROBE_TIMEOUT_MS), ended]);
    // Another program's server on that port answers too; ours is then about to end with "address
    // already in use".
    if (info?.serverName === settings.serverName) return info;
    await Promise.race([sleep(PROBE_INTERVAL_MS), ended]);
  }
  return undefined;
}

/**
 * An address to connect to a server that listens on `host`, which may stand for every interface.
 */
export function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
