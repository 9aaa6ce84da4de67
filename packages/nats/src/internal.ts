/**
 * For other packages of Antiphon: not part of the public API, and may change with every release.
 */
export { addressesLogIn, parseServers, showServers, type AddressLogin } from './connection/server-address.js';
export { monitorAddress } from './doctor/monitoring.js';
export { createUserKey, type UserKey } from './connection/user-key.js';
export { GUEST_ROLES } from './account-imports.js';
