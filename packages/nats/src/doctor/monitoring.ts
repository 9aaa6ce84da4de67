import { AntiphonError, redact } from '@antiphon/core';
import type { ServerInfo } from 'nats';

const TIMEOUT_MS = 2000;

/** What a server's monitoring says, or why it says nothing about this server. */
export type Monitoring =
  | { readonly syncsAlways: boolean | undefined; readonly storage?: ServerStorage }
  /** A sentence, and what to do. */
  | { readonly problem: string };

/** What JetStream stores in files on one server, for all accounts. */
export interface ServerStorage {
  readonly storageBytes: number;
  /** Its `max_file_store`. */
  readonly maxStorageBytes: number;
}

/** The part of `/varz` that matters here. */
interface Varz {
  readonly server_id?: string;
  readonly server_name?: string;
  readonly cluster?: { readonly name?: string };
  readonly jetstream?: {
    readonly config?: { readonly sync_always?: boolean; readonly max_storage?: number };
    readonly stats?: { readonly storage?: number };
  };
}

/**
 * The address of a server's monitoring, as somebody gave it in `option`.
 * @throws AntiphonError BAD_OPTION
 */
export function monitorAddress(text: string, option: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new AntiphonError(
    'BAD_OPTION',
    `\`${option}\` is not an address: ${redact(text)}. Give one like http://127.0.0.1:8222.`,
    { context: { option } },
  );
}

/**
 * Asks a server's monitoring port whether the server fsyncs before it acknowledges, and what it
 * stores. What another server does says nothing about this log: the answer has to come from the
 * server that we are connected to, or from its cluster.
 */
export async function askMonitoring(address: URL, server: ServerInfo | undefined): Promise<Monitoring> {
  const shown = address.origin;
  let varz: Varz;
  try {
    varz = await readVarz(address);
  } catch (error) {
    return { problem: `The monitoring at ${shown} does not answer (${reasonOf(error)}). ${CORRECT}` };
  }
  if (varz.server_id === undefined)
    return { problem: `What answers at ${shown} is not the monitoring of a nats-server. ${CORRECT}` };
  if (!isSameServer(varz, server)) {
    const other = `${shown} is the monitoring of another server (${varz.server_name ?? varz.server_id})`;
    return { problem: `${other}, not of ${server?.server_name ?? 'this one'}. ${CORRECT}` };
  }
  const { config, stats } = varz.jetstream ?? {};
  const syncsAlways = config === undefined ? undefined : config.sync_always === true;
  const maxStorageBytes = config?.max_storage;
  if (maxStorageBytes === undefined || maxStorageBytes < 0) return { syncsAlways };
  return { syncsAlways, storage: { storageBytes: stats?.storage ?? 0, maxStorageBytes } };
}

const CORRECT = 'Give --monitor the address that this server has for `http_port`, or leave --monitor out.';

async function readVarz(address: URL): Promise<Varz> {
  const url = new URL('/varz', address);
  const { username, password } = url;
  // fetch() takes no login in an address.
  [url.username, url.password] = ['', ''];
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  const headers = username === '' ? {} : { authorization: `Basic ${login.toString('base64')}` };
  const answer = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const varz: unknown = await answer.json().catch(() => ({}));
  return typeof varz === 'object' && varz !== null ? varz : {};
}

function isSameServer({ server_id: id, cluster }: Varz, server: ServerInfo | undefined): boolean {
  if (server === undefined) return false;
  return id === server.server_id || (server.cluster !== undefined && server.cluster === cluster?.name);
}

/** What is wrong is in the cause; the error itself says only that fetch failed. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error & { readonly cause?: unknown };
  const { code, message: inner } = (cause ?? {}) as { readonly code?: string; readonly message?: string };
  return code ?? inner ?? message;
}
