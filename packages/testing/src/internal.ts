/**
 * For the tests of Antiphon's own packages: not part of the public API, and may change with every
 * release.
 */
export { describeTypos, type TakesOptions } from './option-typos.js';
