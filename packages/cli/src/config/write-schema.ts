import { writeFileSync } from 'node:fs';
import { configJsonSchemaText } from './json-schema.js';

// `npm run schema -w @antiphon/cli`: run it after a change of schema.ts; a test fails until it was.
writeFileSync(new URL('../../schema/antiphon.schema.json', import.meta.url), configJsonSchemaText());
