/**
 * Of this build; in member records and `status`. The same as in package.json, which a test
 * compares.
 */
export const VERSION = '0.1.0';
