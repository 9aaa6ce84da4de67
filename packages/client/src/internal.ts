/**
 * For other packages of Antiphon: not part of the public API, and may change with every release.
 */
export { accessFor, accessOf, type AccessParts } from './access.js';
export { anotherReplica, nobodyAnswers, witnessFor } from './choose-replica.js';
