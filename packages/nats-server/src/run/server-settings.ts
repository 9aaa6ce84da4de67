import { join, resolve } from 'node:path';
import {
  AntiphonError,
  checkRequired,
  isVersionAtLeast,
  OLDEST_SERVER_VERSION,
  type OptionNames,
} from '@antiphon/core';
import { v7 } from 'uuid';
import { findNatsServer } from '../find/find-server.js';
import { readServerVersion } from '../find/server-version.js';
import { throwIfGivenUp } from '../given-up.js';
import type { ServerConfig } from './server-config.js';
import type { ServerExit } from './server-process.js';

export interface NatsServerOptions {
  /** Where the streams, the configuration file and the log are kept; created when missing. */
  readonly storeDir: string;
  /** Default: what `findNatsServer` finds on this machine, without installing anything. */
  readonly binary?: string;
  /**
   * May a server be installed or downloaded where this machine has none, as `findNatsServer` does?
   * Has no effect with `binary`.
   *
   * @defaultValue false
   */
  readonly obtain?: boolean;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** -1, the default: a free one, kept over restarts. */
  readonly port?: number;
  /** Limits of JetStream, in bytes; default: the server's own. */
  readonly maxFileStore?: number;
  readonly maxMemoryStore?: number;
  /** The largest message, in bytes; default: the server's own (1 MiB). */
  readonly maxPayload?: number;
  /**
   * fsync every stored message before it is acknowledged. Has no effect below 2.10: see
   * `syncsAlways`.
   */
  readonly syncInterval?: 'always';
  /** Default: `nats-server.log` in the store folder. */
  readonly logFile?: string;
  /** Default 60 s: reading a large store takes its time. */
  readonly startTimeoutMs?: number;
  /** How long it may take to end by itself before it is killed; default 5 s. */
  readonly stopTimeoutMs?: number;
  /** Called when the server ends without having been asked to. */
  readonly onUnexpectedExit?: (exit: ServerExit) => void;
  readonly onStep?: (message: string) => void;
  /** Ends a start that is under way; a server that runs is ended with `stop`. */
  readonly signal?: AbortSignal;
}

/** The options with everything decided but the port, which may still be looked for. */
export interface ServerSettings extends Omit<ServerConfig, 'port'> {
  readonly binary: string;
  readonly version: string;
  readonly configFile: string;
  readonly startTimeoutMs: number;
  readonly stopTimeoutMs: number;
  readonly onUnexpectedExit: (exit: ServerExit) => void;
  readonly onStep: (message: string) => void;
}

const SERVER_OPTIONS: OptionNames<NatsServerOptions> = {
  ...{
    storeDir: true,
    binary: true,
    obtain: true,
    host: true,
    port: true,
    maxFileStore: true,
    maxMemoryStore: true,
  },
  ...{ maxPayload: true, syncInterval: true, logFile: true, startTimeoutMs: true, stopTimeoutMs: true },
  ...{ onUnexpectedExit: true, onStep: true, signal: true },
};
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 5000;

/**
 * @throws AntiphonError NATS_SERVER_NOT_FOUND, or NATS_SERVER_START when the binary is none that
 *   can be used.
 */
export async function settle(options: NatsServerOptions): Promise<ServerSettings> {
  checkRequired(options, SERVER_OPTIONS, 'NatsServer.start()', ['storeDir']);
  const binary = options.binary ?? (await findBinary(options));
  const version = await readServerVersion(binary, options.signal);
  throwIfGivenUp(options.signal, 'Starting nats-server');
  if (version === undefined || !isVersionAtLeast(version, OLDEST_SERVER_VERSION)) {
    const what =
      version === undefined ? 'is not a nats-server that runs on this machine' : `is version ${version}`;
    const message = `${binary} ${what}. Give the path of nats-server ${OLDEST_SERVER_VERSION} or later.`;
    throw new AntiphonError('NATS_SERVER_START', message, { context: { binary } });
  }
  const storeDir = resolve(options.storeDir);
  return {
    binary,
    version,
    storeDir,
    // Tells our server from any other that may listen on the port.
    serverName: `antiphon-${v7()}`,
    host: options.host ?? '127.0.0.1',
    configFile: join(storeDir, 'nats-server.conf'),
    logFile: resolve(options.logFile ?? join(storeDir, 'nats-server.log')),
    maxFileStore: options.maxFileStore,
    maxMemoryStore: options.maxMemoryStore,
    maxPayload: options.maxPayload,
    syncInterval: options.syncInterval,
    startTimeoutMs: options.startTimeoutMs ?? START_TIMEOUT_MS,
    stopTimeoutMs: options.stopTimeoutMs ?? STOP_TIMEOUT_MS,
    onUnexpectedExit: options.onUnexpectedExit ?? (() => undefined),
    onStep: options.onStep ?? (() => undefined),
  };
}

/**
 * Starting a server installs nothing behind anybody's back: that is asked for with `obtain`, or
 * with findNatsServer.
 */
async function findBinary({ obtain = false, onStep, signal }: NatsServerOptions): Promise<string> {
  const found = await findNatsServer({
    systemPackage: obtain,
    download: obtain,
    ...(onStep === undefined ? {} : { onStep }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (found.kind === 'binary') return found.binary;
  throw new AntiphonError('INTERNAL', 'A search without a URL found a URL.');
}
