// For the tests of other packages, which start servers in ways that NatsServer does not offer.
export { findFreePort } from './run/free-port.js';
export { withParentDeathSignal } from './run/lifeline.js';
