/**
 * For other packages of Antiphon: not part of the public API, and may change with every release.
 */
export { isLoopback, parseListen } from './service/listen.js';
