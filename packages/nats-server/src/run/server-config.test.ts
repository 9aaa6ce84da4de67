import { describe, expect, it } from 'vitest';
import { serverConfigText, type ServerConfig } from './server-config.js';

const config: ServerConfig = {
  serverName: 'one',
  host: '127.0.0.1',
  port: 4222,
  storeDir: '/var/lib/a "quoted" \\ folder',
  logFile: '/var/log/nats.log',
  maxFileStore: 1000,
  maxMemoryStore: 2000,
  maxPayload: 3000,
  syncInterval: 'always',
};

describe('server configuration', () => {
  it('has words of 2.10 only for a server that knows them', () => {
    expect(serverConfigText(config, '2.9.10')).not.toMatch(/sync_interval|logfile_max_num/);
    expect(serverConfigText(config, '2.10.0')).toMatch(/sync_interval: always/);
  });

  it('leaves out limits that were not given', () => {
    const { serverName, host, port, storeDir, logFile } = config;
    const text = serverConfigText({ serverName, host, port, storeDir, logFile }, '2.12.0');
    expect(text).not.toMatch(/max_file_store|max_memory_store|max_payload|sync_interval/);
  });

  it('escapes quotes and backslashes', () => {
    expect(serverConfigText(config, '2.9.10')).toContain(String.raw`"/var/lib/a \"quoted\" \\ folder"`);
  });
});
