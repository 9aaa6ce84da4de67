import { isVersionAtLeast } from '@antiphon/core';

export interface ServerConfig {
  readonly serverName: string;
  readonly host: string;
  readonly port: number;
  readonly storeDir: string;
  readonly logFile: string;
  /** All in bytes. */
  readonly maxFileStore?: number | undefined;
  readonly maxMemoryStore?: number | undefined;
  readonly maxPayload?: number | undefined;
  /** `always`: every stored message is fsynced before it is acknowledged (2.10 and later). */
  readonly syncInterval?: 'always' | undefined;
}

const LOG_FILE_BYTES = 16 * 1024 * 1024;
const OLD_LOG_FILES = 2;

/** Does this server know `sync_interval`? An older one refuses to start when it meets the word. */
export function supportsSyncAlways(version: string): boolean {
  return isVersionAtLeast(version, '2.10.0');
}

/** The text of a nats-server configuration file that this version of the server accepts. */
export function serverConfigText(config: ServerConfig, version: string): string {
  const modern = isVersionAtLeast(version, '2.10.0');
  const syncAlways = config.syncInterval === 'always' && supportsSyncAlways(version);
  const lines = [
    '# Written by Antiphon at every start: changes are lost.',
    `server_name: ${quoted(config.serverName)}`,
    `host: ${quoted(config.host)}`,
    `port: ${config.port}`,
    `log_file: ${quoted(config.logFile)}`,
    `logfile_size_limit: ${LOG_FILE_BYTES}`,
    ...(modern ? [`logfile_max_num: ${OLD_LOG_FILES}`] : []),
    ...(config.maxPayload === undefined ? [] : [`max_payload: ${config.maxPayload}`]),
    'jetstream {',
    `  store_dir: ${quoted(config.storeDir)}`,
    ...(config.maxFileStore === undefined ? [] : [`  max_file_store: ${config.maxFileStore}`]),
    ...(config.maxMemoryStore === undefined ? [] : [`  max_memory_store: ${config.maxMemoryStore}`]),
    ...(syncAlways ? ['  sync_interval: always'] : []),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
