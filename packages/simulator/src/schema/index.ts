export { list, quote } from './names.js';
export { randomSchema } from './random-schema.js';
export { randomStatement } from './random-statement.js';
export { randomTrigger } from './random-trigger.js';
export type { Schema, Table } from './schema.js';
