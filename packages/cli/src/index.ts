export { loadConfig, parseConfig, DEFAULT_CONFIG_FILE } from './config/load-config.js';
export type { Config } from './config/config.js';
export { main } from './main.js';
